"""Result rows as columns of text, for every kind of table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.numbers import percent

if TYPE_CHECKING:
    from mfv_dsl.execute.results import ResultRow

LEFT = ("eval", "relation", "vector", "control")  # columns of words


def result_columns(
    rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    """Columns by title; accuracies in per cent with 95 % intervals.  What no row has is left out,
    and the scale where it is 1 in all.  ``metrics`` are what each eval reports."""

    def cells(metric: str, shown: Callable[[ResultRow], str]) -> list[str]:
        return [shown(row) if metric in metrics[row.eval] else "" for row in rows]

    columns = _conditions(rows) | {
        "n": [str(row.n) for row in rows],
        "accuracy %": cells("accuracy", lambda r: percent(r.accuracy, r.ci_low, r.ci_high)),
        "p(answer)": cells("p_answer", lambda r: f"{r.mean_p_answer:.2f}"),
        "vs zero-shot": cells("accuracy", _from_zero_shot),
    }
    for name in dict.fromkeys(name for row in rows for name in row.against):
        columns[f"vs {name}"] = cells("accuracy", partial(_from, name))
    return {name: cells for name, cells in columns.items() if any(cells)}


def confusion_columns(
    rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]]
) -> tuple[list[ResultRow], dict[str, list[str]]]:
    """The rows of evals that report their confusion, and columns by title: of a relation the items
    in per cent whose answer was that relation's object."""
    shown = [row for row in rows if row.answers and "confusion" in metrics[row.eval]]
    named = dict.fromkeys(name for row in shown for name in row.answers if name != "other")
    columns = _conditions(shown)
    for name in (*named, "other"):
        columns[f"→ {name}"] = [
            f"{100 * row.answers[name]:.0f}" if name in row.answers else "" for row in shown
        ]
    return shown, {name: cells for name, cells in columns.items() if any(cells)}


def _conditions(rows: Sequence[ResultRow]) -> dict[str, list[str]]:
    """The columns that say which condition a row is."""
    scaled = any(row.scale not in (None, 1) for row in rows)
    return {
        "eval": [row.eval for row in rows],
        "relation": [row.relation for row in rows],
        "vector": [shown(row.vector) for row in rows],
        "control": [row.control for row in rows],
        "shots": [str(row.shots) for row in rows],
        "k": [shown(row.k) for row in rows],
        "layer": [shown(row.layer) for row in rows],
        "scale": [shown(row.scale) if scaled else "" for row in rows],
    }


def _from_zero_shot(row: ResultRow) -> str:
    """The difference from zero-shot; nothing where the two are the same."""
    gain = (row.difference, row.difference_low, row.difference_high)
    return percent(*gain, "+") if any(gain) else ""


def _from(name: str, row: ResultRow) -> str:
    """The difference from another eval, where the row's eval is compared with it."""
    gain = row.against.get(name)
    return "" if gain is None else percent(gain.difference, gain.low, gain.high, "+")


def shown(value: Any) -> str:
    """A value in a table's cell; nothing for None."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
