"""Accuracy along what evals sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfv_dsl.base.columns import cell
from mfv_dsl.base.numbers import percent
from mfv_dsl.base.pivot import NONE
from mfv_dsl.report.figures.conditions import axes_of, called, is_number, swept, without_draws
from mfv_dsl.report.page.rows import PageFigure, Row, measured_rows
from mfv_dsl.report.page.tables import PageTable

#: Fields that a curve may run along.
_ALONG = ("layer", "scale", "k", "shots")


def run_curves(rows: Sequence[Row]) -> dict[str, PageFigure]:
    """By eval, accuracy along what it sweeps, for those that do."""
    names = dict.fromkeys(row["eval"] for row in rows)
    return {
        name: figure
        for name in names
        if (figure := _curve(name, [row for row in rows if row["eval"] == name])) is not None
    }


def _curve(name: str, rows: Sequence[Row]) -> PageFigure | None:
    """Accuracy along what an eval sweeps; None where it sweeps nothing that is a number."""
    rows = [row for row in rows if not row.get("error")]
    along = [
        field
        for field in swept(rows)
        if (field in _ALONG or field in axes_of(rows)) and _n_numbers(rows, field) > 1
    ]
    if not along:
        return None
    x = max(along, key=lambda field: _n_numbers(rows, field))
    drawn = without_draws(rows, x)
    kept, note = measured_rows([row for row in drawn if is_number(row.get(x))])
    others = dict.fromkeys(cell(row.get(x)) or NONE for row in drawn if not is_number(row.get(x)))
    if others:
        note = f"Not drawn, but in the table above: {x} {', '.join(others)}. {note}".strip()
    labels = called(kept, but=("eval", x))
    series: dict[str, list[Row]] = {}
    for row, label in zip(kept, labels, strict=True):
        series.setdefault(", ".join(filter(None, (row.shown, label))), []).append(row)
    lines = [
        {
            "name": line, "x": [row[x] for row in own], "y": [row["accuracy"] for row in own],
            "low": [row["ci_low"] for row in own], "high": [row["ci_high"] for row in own],
            "text": [percent(row["accuracy"], row["ci_low"], row["ci_high"]) for row in own],
            "main": _is_pooled(own),
        }
        # those over all relations first
        for line, unordered in sorted(series.items(), key=lambda one: not _is_pooled(one[1]))
        for own in [sorted(unordered, key=lambda row: float(row[x]))]
    ]  # fmt: skip
    if not lines:
        return None
    return PageFigure(
        "lines", f"{name}: accuracy by {x}", {"x": x, "y": "accuracy", "percent": True,
        "series": lines}, table_of_lines(f"{name}: accuracy by {x}", x, lines), note,
    )  # fmt: skip


def _is_pooled(rows: Sequence[Row]) -> bool:
    """Whether rows are over all relations."""
    return rows[0]["relation"] is None


def _n_numbers(rows: Sequence[Row], field: str) -> int:
    """How many numbers a field has on one and the same relation."""
    by_relation: dict[str, set[float]] = {}
    for row in rows:
        if is_number(row.get(field)):
            by_relation.setdefault(row.shown, set()).add(row[field])
    return max(map(len, by_relation.values()), default=0)


def table_of_lines(caption: str, x: str, lines: Sequence[Mapping[str, Any]]) -> PageTable:
    """A row for every place along, a column for every line."""
    places = sorted({place for line in lines for place in line["x"]})
    cells = [dict(zip(line["x"], line["text"], strict=True)) for line in lines]
    rows = [[f"{place:g}", *(cell.get(place, "") for cell in cells)] for place in places]
    return PageTable.plain(caption, [x, *(line["name"] for line in lines)], rows, words=0)
