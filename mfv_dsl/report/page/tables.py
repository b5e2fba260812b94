"""The tables of a report, with the numbers and the rounding of ``mfv run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.text import Text

from mfv_dsl.base.columns import RESULT_COLUMNS
from mfv_dsl.report.columns import confusion_columns, result_columns
from mfv_dsl.report.tables import numbers_table, tuning_table, weights_table

if TYPE_CHECKING:
    from rich.table import Table

    from mfv_dsl.execute.recorded_run import RecordedRun

_WORDS = frozenset(name for name, column in RESULT_COLUMNS.items() if column.words)


@dataclass(frozen=True)
class Group:
    """Rows that belong together, under a title and what the recipe's comments say of it."""

    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    doc: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table: what it shows, the titles of its columns, which of them hold words, and its rows;
    the first column names a row.  ``note`` is said below."""

    caption: str
    columns: tuple[str, ...]
    words: tuple[bool, ...]
    groups: tuple[Group, ...]
    note: str = ""

    @classmethod
    def plain(
        cls, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1,
        note: str = "",
    ) -> PageTable:  # fmt: skip
        """A table of one group, whose first columns, as many as ``words``, hold words."""
        left = tuple(place < words for place in range(len(columns)))
        return cls(caption, tuple(columns), left, (Group(tuple(map(tuple, rows))),), note)

    def without_empty(self) -> PageTable:
        """The table without columns that no row has anything in."""
        rows = [row for group in self.groups for row in group.rows]
        kept = [place for place in range(len(self.columns)) if any(row[place] for row in rows)]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            words=tuple(self.words[place] for place in kept),
            groups=tuple(
                replace(group, rows=tuple(tuple(row[p] for p in kept) for row in group.rows))
                for group in self.groups
            ),
        )

    @property
    def n_rows(self) -> int:
        """How many rows there are in all groups."""
        return sum(len(group.rows) for group in self.groups)


def run_tables(run: RecordedRun) -> list[PageTable]:
    """All tables of a run, but those of its items and heads."""
    results, docs = run.results, run.results.docs
    tables = []
    if results.rows:
        columns = result_columns(results.rows, run.metrics)
        caption = "Accuracy in per cent with 95 % intervals"
        tables.append(_by_eval(caption, columns, docs))
        confusion = confusion_columns(results.rows, run.metrics)
        if confusion is not None:
            caption = "Answers in per cent, by the relation they are right for"
            tables.append(_by_eval(caption, confusion, {}))
    if results.weights:
        tables.append(_of_rich("Mean weights of blends", weights_table(results.weights), 3))
    if results.numbers:
        tables.append(_of_rich("Numbers of reports", numbers_table(results.numbers), 1))
    if results.tunes:
        caption = "Trained vectors: the epoch that was chosen on validation prompts"
        tables.append(_of_rich(caption, tuning_table(results.tunes), 1))
    return tables


def _by_eval(
    caption: str, columns: Mapping[str, Sequence[str]], docs: Mapping[str, str]
) -> PageTable:
    """A table with a group for every eval, whose name is the group's title."""
    names, others = columns["eval"], [name for name in columns if name != "eval"]
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name, *cells in zip(names, *(columns[other] for other in others), strict=True):
        groups.setdefault(name, []).append(tuple(cells))
    words = tuple(name in _WORDS for name in others)
    return PageTable(
        caption, tuple(others), words,
        tuple(
            Group(tuple(rows), name, " ".join(docs.get(name, "").split()))
            for name, rows in groups.items()
        ),
    )  # fmt: skip


def _of_rich(caption: str, table: Table, filled: int) -> PageTable:
    """A table that the command line draws; its first columns, as many as ``filled``, are blank
    where they say what the row above says."""
    columns = [[_plain(cell) for cell in column.cells] for column in table.columns]
    for cells in columns[:filled]:
        for place in range(1, len(cells)):
            cells[place] = cells[place] or cells[place - 1]
    return PageTable(
        caption,
        tuple(_plain(column.header) for column in table.columns),
        tuple(column.justify == "left" for column in table.columns),
        (Group(tuple(zip(*columns, strict=True))),),
    )


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
