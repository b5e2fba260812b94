"""What a check of a dataset found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mfv_dsl.report.grid import grid

if TYPE_CHECKING:
    from mfv_dsl.data.check import Report
    from mfv_dsl.data.statistics import Statistics


def data_tables(report: Report) -> list[Table]:
    """Items by relation and split, how prompts share images, and findings; those that there are."""
    tables = []
    if report.counts:
        table = _table("items", ["relation", *next(iter(report.counts.values()))])
        for relation, by_split in report.counts.items():
            table.add_row(relation, *(f"{count:,}" for count in by_split.values()))
        tables.append(table)
    if report.reuse:
        table = _table("images in prompts", [
            "split", "prompts", "effective", "images shown", "different", "most often",
        ])  # fmt: skip
        for split, reuse in report.reuse.items():
            numbers = (reuse.queries, round(reuse.effective), reuse.shown, reuse.different)
            table.add_row(split, *(f"{number:,}" for number in (*numbers, reuse.most)))
        tables.append(table)
    if report.dropped:
        table = _table("left out", ["rule", "number"])
        for rule, count in report.dropped.items():
            table.add_row(rule, f"{count:,}")
        tables.append(table)
    if report.findings:
        table = _table("found", ["", "code", "where", "what"], left=4)
        for finding in report.findings:
            row = (finding.severity, finding.code, finding.place, finding.message)
            table.add_row(*map(Text, row))  # names from files are no markup
        tables.append(table)
    return tables


def statistics_tables(statistics: Statistics) -> list[Table]:
    """Relations with their priors, and the most frequent objects and pairs."""
    table = _table("relations", [
        "relation", "items", "images", "queries", "answers", "most frequent", "prior",
        "prior of query",
    ])  # fmt: skip
    for row in statistics.relations:
        counts = (row.items, row.images, row.queries, row.answers)
        parts = (row.most_frequent, row.prior, row.prior_of_query)
        table.add_row(
            row.relation, *(f"{count:,}" for count in counts), *(f"{part:.3f}" for part in parts)
        )
    tables = [table]
    for title, counts_of in (("objects", statistics.objects), ("pairs", statistics.pairs)):
        listed = _table(f"most frequent {title}", [title, "times"])
        for name, count in counts_of.items():
            listed.add_row(Text(name), f"{count:,}")
        tables.append(listed)
    return tables


def _table(title: str, columns: list[str], left: int = 1) -> Table:
    """A table whose first ``left`` columns hold words."""
    table = grid({}, title)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < left else "right", overflow="fold")
    return table
