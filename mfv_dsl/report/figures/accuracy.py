"""Accuracy, and what else rows hold, against a layer, a scale, a number of heads or any sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfv_dsl.base.columns import ALL, free_name
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.report.figures.conditions import (
    CONDITION,
    Row,
    axes_of,
    called,
    is_number,
    measured,
    without_draws,
)
from mfv_dsl.report.figures.curves import Curve, curves_figure
from mfv_dsl.report.figures.style import COLUMN, Drawing

_IN_ONE_PANEL, _MOST_PANELS, _MOST_CURVES = 8, 12, 40


@dataclass(frozen=True)
class Quantity:
    """What of a row is drawn: its name, the columns of it and of its interval, and the factor that
    it is shown with."""

    label: str
    column: str
    low: str = ""
    high: str = ""
    factor: float = 1.0

    def of(self, row: Row) -> tuple[float, float | None, float | None]:
        """Its value and the bounds of its interval, None where there are none."""
        low, high = (row.get(name) for name in (self.low, self.high))
        return self.factor * row[self.column], self._scaled(low), self._scaled(high)

    def _scaled(self, bound: Any) -> float | None:
        return self.factor * bound if is_number(bound) else None


def quantity(name: str, rows: Sequence[Row]) -> Quantity:
    """The quantity that a user calls ``accuracy``, ``difference`` (from zero-shot), ``p`` or
    ``vs_NAME`` (difference from another eval).  Raises MfvError (MFV6131) for another, or one that
    no row has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    against = [
        column for column in columns
        if column.startswith("vs_") and any(f"{column}{end}" in columns for end in ("_low", ".low"))
    ]  # fmt: skip
    known = {
        "accuracy": Quantity("accuracy (%)", "accuracy", "ci_low", "ci_high", 100),
        "difference": Quantity(
            "change from zero-shot (points)", "difference", "difference_low", "difference_high", 100
        ),
        "p": Quantity("p(answer)", "mean_p_answer"),
    }
    for column in against:
        of = "." if f"{column}.low" in columns else "_"
        label = f"change from {column.removeprefix('vs_')} (points)"
        known[column] = Quantity(label, column, f"{column}{of}low", f"{column}{of}high", 100)
    if name == "mean_p_answer":
        name = "p"
    if name not in known:
        raise MfvError(
            "MFV6131", f"the rows have no value `{name}` to draw",
            help=did_you_mean(name, known, f"there are: {', '.join(known)}"),
        )  # fmt: skip
    return known[name]


def accuracy_figure(
    rows: Sequence[Row],
    x: str | None = None,
    value: str = "accuracy",
    width: float = COLUMN,
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """Rows of ``results.csv`` (or of ``choices.csv``) against a field that they sweep.

    Relations have panels of their own where several evals were swept.  An eval without the field is
    a level dotted line, and so is what guessing among options gives (``chance``).  Intervals are
    those of the rows.

    Args:
        rows: The rows by column, ``relation`` None for all relations together.
        x: The field that runs along; if left out the first that is swept of layer, scale, k, shots,
            and sweeps by name.
        value: ``accuracy``, ``difference``, ``p`` or ``vs_NAME``.
        width: Inches.

    Raises:
        MfvError: MFV6130 where nothing is swept or nothing was measured, MFV6131 for a field or
            value that is not there.
    """
    what = quantity(value, rows)
    kept, failed = measured(rows, what.column)
    fields = sweepable(kept)
    if not kept:
        raise MfvError(
            "MFV6130", "no row has numbers to draw", help="`mfv table` shows why they failed"
        )
    if x is None and not fields:
        raise MfvError(
            "MFV6130", "no eval sweeps a layer, a scale, a number of heads or anything else",
            help="`--kind evals` compares evals; of what was tried to settle `choose` there is "
            "`--kind choices`",
        )  # fmt: skip
    if x is not None and x not in fields:
        raise _no_field(x, fields, kept)
    along = x or fields[0]
    kept, aside = _of_sweep(_named(without_draws(kept, along)), along)
    panels, note = _panels(kept, along, what)
    notes = [note, failed, f"Not drawn, as they have one {along}: {aside}." if aside else ""]
    limits = (0, 100) if what.column == "accuracy" else (None, None)
    label = {"k": "heads", "shots": "demonstrations"}.get(along, along)
    return curves_figure(panels, label, what.label, width, limits, " ".join(filter(None, notes)))


def _of_sweep(rows: Sequence[Row], x: str) -> tuple[list[Row], str]:
    """The rows of evals that sweep ``x``, and of those with one condition on every relation, which
    are levels to compare with; and the names of the other evals, if these are not all."""
    evals: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        evals.setdefault((row.get("run"), row["eval"]), []).append(row)
    drawn, aside = [], []
    for (_, name), own in evals.items():
        single = len(own) == len({row["relation"] for row in own})
        if x in sweepable(own) or single:
            drawn += own
        else:
            aside.append(name)
    return (drawn, ", ".join(dict.fromkeys(aside)))


def sweepable(rows: Sequence[Row]) -> list[str]:
    """The fields with several values within one eval and relation, those of conditions first."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.get("run"), row["eval"], row.get("relation")), []).append(row)
    order = ("layer", "scale", "k", "shots", *axes_of(rows), "vector")
    found = {
        field
        for group in groups.values()
        for field in order
        if len({str(row.get(field)) for row in group if row.get(field) not in (None, "")}) > 1
    }
    return [field for field in order if field in found]


def _no_field(x: str, fields: Sequence[str], rows: Sequence[Row]) -> MfvError:
    known = dict.fromkeys((*CONDITION, *axes_of(rows)))
    what = "is not swept by any eval" if x in known else "is no field of the rows"
    there = f"swept are: {', '.join(fields)}" if fields else "nothing is swept"
    return MfvError(
        "MFV6131", f"`{x}` {what}", help=did_you_mean(x, fields, there),
        argument="x",
    )  # fmt: skip


def _named(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows with a name for all relations together."""
    everything = free_name(ALL, {row.get("relation") for row in rows})
    return [
        {**row, "relation": everything if row.get("relation") is None else row["relation"]}
        for row in rows
    ]


def _panels(
    rows: Sequence[Row], x: str, what: Quantity
) -> tuple[Mapping[str, Sequence[Curve]], str]:
    """Curves by the title of their panel, and what must be said."""
    names = called(rows, but=(x,))
    series: dict[tuple[str, str], list[Row]] = {}
    for name, row in zip(names, rows, strict=True):
        series.setdefault((row["relation"], name), []).append(row)
    relations = list(dict.fromkeys(relation for relation, _ in series))
    conditions = list(dict.fromkeys(name for _, name in series))
    pooled = free_name(ALL, {row["relation"] for row in rows if row["relation"] != ALL})
    note = ""
    if len(relations) > _MOST_PANELS and pooled in relations:
        note = f"All {len(relations) - 1} relations together."
        relations = [pooled]
    if len(relations) > 1:  # all relations come last
        relations.sort(key=lambda name: name == pooled)
    if len(conditions) > _MOST_CURVES or len(relations) > 3 * _MOST_PANELS:
        raise MfvError(
            "MFV6132", f"{len(conditions)} curves on {len(relations)} relations are too much for "
            "one figure",
            help="choose some by --eval, --relation or --where",
        )  # fmt: skip
    panels: dict[str, list[Curve]] = {}
    shown: dict[str, list[Row]] = {}
    if len(conditions) == 1 and len(relations) <= _IN_ONE_PANEL:
        (condition,) = conditions
        own = {relation: series[relation, condition] for relation in relations}
        panels[condition] = [_curve(name, found, x, what) for name, found in own.items()]
        shown[condition] = [row for found in own.values() for row in found]
    else:
        for relation in relations:
            own = {n: series[relation, n] for n in conditions if (relation, n) in series}
            panels[relation] = [_curve(name, found, x, what) for name, found in own.items()]
            shown[relation] = [row for found in own.values() for row in found]
    if what.column == "accuracy":
        chance = free_name("chance", {*relations, *conditions})
        for panel, found in shown.items():
            panels[panel] += _level(chance, found)
    return panels, note


def _level(name: str, rows: Sequence[Row]) -> list[Curve]:
    """A line at what guessing among options gives, where all that have options have as many."""
    values = {round(100 * row["chance"], 2) for row in rows if is_number(row.get("chance"))}
    return [Curve(name, (), [*values])] if len(values) == 1 else []


def _curve(name: str, rows: Sequence[Row], x: str, what: Quantity) -> Curve:
    values = [what.of(row) for row in rows]
    y, low, high = (list(part) for part in zip(*values, strict=True))
    along = [row.get(x) for row in rows]
    if all(place in (None, "") for place in along):
        if len(rows) > 1:
            raise _several(name, x)
        return Curve(name, (), y, low, high)
    if len(set(map(str, along))) < len(along):
        raise _several(name, x)
    marked = [place for place, row in enumerate(rows) if row.get("chosen") in (True, "True")]
    return Curve(name, along, y, low, high, marked)


def _several(name: str, x: str) -> MfvError:
    return MfvError(
        "MFV6131", f"`{name}` has several values for one and the same `{x}`",
        help="choose one by --where, as in --where shots=0",
    )  # fmt: skip
