"""The rows of a run as figures take them, and what a figure of a report is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.columns import ALL, free_name
from mfv_dsl.execute.recorded_run import CHOSEN
from mfv_dsl.report.figures.conditions import measured
from mfv_dsl.report.page.tables import PageTable

if TYPE_CHECKING:
    from mfv_dsl.execute.recorded_run import RecordedRun
    from mfv_dsl.execute.rows import ResultRow

_NO_FIELDS = ("answers", "answers_other", "against", "off_task")


class Row(dict[str, Any]):
    """The fields of a row as ``results.csv`` has them, sweeps among them; ``row`` is all of it, and
    ``shown`` what its relation is called."""

    def __init__(self, row: ResultRow, every: str) -> None:
        fields = row.to_json()
        axes = fields.pop("axes", {})
        kept = {name: value for name, value in fields.items() if name not in _NO_FIELDS}
        super().__init__({**axes, **kept})
        self.row, self.shown = row, every if row.relation is None else row.relation


@dataclass(frozen=True)
class PageFigure:
    """A figure: how it is drawn (``lines``, ``intervals``, ``matrix`` or ``heads``), its numbers,
    and the same numbers as a table; ``note`` is said below."""

    kind: str
    title: str
    data: Mapping[str, Any]
    table: PageTable
    note: str = ""


def run_rows(run: RecordedRun) -> list[Row]:
    """The rows of a run."""
    rows = run.results.rows
    every = free_name(ALL, {row.relation for row in rows})
    return [Row(row, every) for row in rows]


def measured_rows(rows: Sequence[Any]) -> tuple[list[Row], str]:
    """The rows that can be drawn, and what must be said of the others."""
    kept, note = measured(rows)
    return [row for row in kept if isinstance(row, Row)], note


def settled(row: Row, run: RecordedRun) -> dict[str, Any]:
    """A row's fields, with one value for what was settled for each relation."""
    chosen = dict.fromkeys(run.choose.get(row["eval"], ()), CHOSEN)
    return {**row, **{name: value for name, value in chosen.items() if name in row}}
