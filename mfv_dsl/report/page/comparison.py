"""Runs side by side: their accuracies, and paired differences where the items are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mfv_dsl.base.columns import ALL, free_name
from mfv_dsl.base.numbers import percent
from mfv_dsl.report.figures.conditions import called
from mfv_dsl.report.page.interval_figures import ACCURACY, Bar, eval_bars, interval_figure
from mfv_dsl.report.page.item_sample import condition_words
from mfv_dsl.report.page.rows import PageFigure, Row, settled
from mfv_dsl.report.page.tables import Group, PageTable

if TYPE_CHECKING:
    from mfv_dsl.execute.item_lines import ItemLine
    from mfv_dsl.execute.recorded_run import RecordedRun
    from mfv_dsl.execute.run_comparison import RunDifference

Pairs = Sequence[tuple["RecordedRun", Sequence["RunDifference"]]]


def comparison_tables(runs: Sequence[RecordedRun], pairs: Pairs) -> list[PageTable]:
    """The accuracies of all runs beside each other, and for each run but the first its paired
    differences from that."""
    tables = [_accuracies(runs)]
    for run, differences in pairs:
        if differences:
            tables.append(_differences(runs[0], run, differences))
    return tables


def comparison_figures(runs: Sequence[RecordedRun], pairs: Pairs) -> list[PageFigure]:
    """The same as figures: over all relations, where an eval has several."""
    accuracies = eval_bars(runs, ACCURACY)[0]
    every = free_name(ALL, {one.relation for _, found in pairs for one in found})
    changes = []
    for run, differences in pairs:
        words = condition_words(runs[0])
        pooled = {_key(one, words) for one in differences if one.relation is None}
        for one in differences:
            is_shown = one.relation is None or _key(one, words) not in pooled
            if is_shown and None not in (one.difference, one.low, one.high):
                shown = every if one.relation is None else one.relation
                name = f"{', '.join(filter(None, _key(one, words)))} ({shown})"
                changes.append(Bar(name, run.name, one.difference, one.low, one.high))
    figures = [
        interval_figure("Accuracy of every eval, in every run", "accuracy", accuracies),
        interval_figure(
            f"Paired differences in accuracy from {runs[0].name}", "difference", changes, "+"
        ),
    ]
    return [figure for figure in figures if figure is not None]


def _key(one: RunDifference, words: Callable[[ItemLine], str]) -> tuple[str, str]:
    return one.condition.eval, words(one.condition)


def comparison_notes(runs: Sequence[RecordedRun], pairs: Pairs) -> list[str]:
    """What the tables cannot say: how they compare, and which runs they cannot."""
    notes = [
        "Differences are paired: on the same items, right in the later run less right in "
        f"{runs[0].name}, with 95 % intervals (Tango's); p is that of the exact sign test "
        "(McNemar's test), one test a row, without a correction for their number. What was chosen "
        "for each relation counts as one condition.",
    ]
    for run, differences in pairs:
        if not differences:
            notes.append(
                f"{run.name} and {runs[0].name} have no condition of an eval of one name in "
                "common of which both keep the items, so that nothing is compared item by item."
            )
    return notes


def _accuracies(runs: Sequence[RecordedRun]) -> PageTable:
    """A row for every condition and relation, a column for every run."""
    relations = {row.relation for run in runs for row in run.results.rows}
    every = free_name(ALL, relations)
    cells: dict[str, dict[tuple[str, str], dict[str, str]]] = {}
    rows = [(run, Row(row, every)) for run in runs for row in run.results.rows]
    labels = called([settled(row, run) for run, row in rows], but=("eval",))
    for (run, row), label in zip(rows, labels, strict=True):
        of_eval = cells.setdefault(row["eval"], {})
        of_row = of_eval.setdefault((row.shown, label), {})
        of_row[run.name] = (
            f"failed: {row['error']['code']}" if row.get("error")
            else percent(row["accuracy"], row["ci_low"], row["ci_high"])
        )  # fmt: skip
    groups = tuple(
        Group(
            tuple(
                (relation, label, *(texts.get(run.name, "") for run in runs))
                for (relation, label), texts in of_eval.items()
            ),
            name,
        )
        for name, of_eval in cells.items()
    )
    columns = ("relation", "condition", *(run.name for run in runs))
    words = (True, True, *(False for _ in runs))
    return PageTable(
        "Accuracy in per cent with 95 % intervals", columns, words, groups
    ).without_empty()


def _differences(
    first: RecordedRun, run: RecordedRun, differences: Sequence[RunDifference]
) -> PageTable:
    every = free_name(ALL, {one.relation for one in differences})
    words = condition_words(first)
    groups: dict[str, list[tuple[str, ...]]] = {}
    for one in differences:
        shown = (one.reason, "") if one.difference is None or one.low is None or one.high is None \
            else (percent(one.difference, one.low, one.high, "+"), _p(one.p or 0.0))  # fmt: skip
        groups.setdefault(one.condition.eval, []).append(
            (every if one.relation is None else one.relation, words(one.condition), f"{one.n:,}",
             *shown)
        )  # fmt: skip
    return PageTable(
        f"{run.name} less {first.name}: paired difference in accuracy, in points of per cent",
        ("relation", "condition", "items", "difference", "p"), (True, True, False, False, False),
        tuple(Group(tuple(rows), name) for name, rows in groups.items()),
    ).without_empty()  # fmt: skip


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 0.0001 else "< 0.0001"
