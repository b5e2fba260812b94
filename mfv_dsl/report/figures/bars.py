"""Bars of evals with intervals, and beside them paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mfv_dsl.base.columns import ALL, free_name
from mfv_dsl.base.errors import MfvError
from mfv_dsl.report.figures.accuracy import Quantity, quantity
from mfv_dsl.report.figures.conditions import Row, called, is_number, measured, without_draws
from mfv_dsl.report.figures.lettering import fitting, letters_in
from mfv_dsl.report.figures.style import (
    COLOURS,
    COLUMN,
    PALE,
    Drawing,
    finish,
    footnote,
    legend,
    new_figure,
    styled,
)

_MOST_ROWS = 100
_MOST_RELATIONS = len(COLOURS)


def evals_figure(
    rows: Sequence[Row],
    value: str = "accuracy",
    against: str = "difference",
    width: float = COLUMN,
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """A bar for every condition of every eval with its interval; beside it the paired difference
    from zero-shot, or from another eval, with the interval of the row.

    Where rows over all relations are there, those are drawn, and the single relations of evals that
    have one alone; rows of several relations that are not pooled stand side by side in colours.

    Args:
        rows: Rows of ``results.csv`` by column, ``relation`` None for all relations together.
        value: ``accuracy`` or ``p``.
        against: ``difference`` or ``vs_NAME``.
        width: Inches.

    Raises:
        MfvError: MFV6130 where nothing was measured, MFV6131 for a value that is not there,
            MFV6132 for more conditions than a figure can hold.
    """
    left, right = quantity(value, rows), quantity(against, rows)
    kept, failed = measured(rows, left.column)
    if not kept:
        raise MfvError(
            "MFV6130", "no row has numbers to draw", help="`mfv table` shows why they failed"
        )
    kept = _pooled(without_draws(kept))
    relations = _relations(kept)
    groups: dict[str, dict[str, Row]] = {}
    for name, row in zip(called(kept), kept, strict=True):
        groups.setdefault(name, {})[row["relation"]] = row
    coloured = len(relations) <= _MOST_RELATIONS and any(len(one) > 1 for one in groups.values())
    lines = _lines(groups, coloured)
    if len(lines) > _MOST_ROWS:
        raise MfvError(
            "MFV6132", f"{len(lines)} conditions are too many for one figure",
            help="choose some by --eval, --relation or --where",
        )  # fmt: skip
    colours = dict(zip(relations, COLOURS, strict=False)) if coloured else {}
    with_chance = left.column == "accuracy" and any(is_number(row.get("chance")) for row in kept)
    chance = "Dotted: chance, of choosing an option at random." if with_chance else ""
    note = " ".join(filter(None, [failed, chance]))
    return _drawn(lines, colours, left, right, width, note)


#: One bar: what stands beside it (empty where it belongs to the bar above), its relation, its row.
_Line = tuple[str, str, Row]


def _pooled(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of evals with rows over all relations these, of others all rows, with names of relations."""
    everything = free_name(ALL, {row.get("relation") for row in rows})
    whole = {(row.get("run"), row["eval"]) for row in rows if row.get("relation") is None}
    return [
        {**row, "relation": everything if row.get("relation") is None else row["relation"]}
        for row in rows
        if row.get("relation") is None or (row.get("run"), row["eval"]) not in whole
    ]


def _relations(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["relation"] for row in rows))


def _lines(groups: Mapping[str, Mapping[str, Row]], coloured: bool) -> list[_Line]:
    """The bars from the top: where relations have no colours of their own, each has its name."""
    alone = len({relation for group in groups.values() for relation in group}) == 1
    lines: list[_Line] = []
    for name, group in groups.items():
        for place, (relation, row) in enumerate(group.items()):
            if coloured:
                lines.append((name if place == 0 else "", relation, row))
            else:
                shown = name if alone or name.endswith(relation) else f"{name}: {relation}"
                lines.append((shown, relation, row))
    return lines


def _drawn(
    lines: Sequence[_Line], colours: Mapping[str, str], left: Quantity, right: Quantity,
    width: float, note: str,
) -> tuple[Drawing, np.ndarray[Any, Any]]:  # fmt: skip
    letters = letters_in(0.36 * width, 7)
    names = fitting([name for name, *_ in lines if name], letters, 3)
    shown, places, place = iter(names), [], 0.0
    for name, *_ in lines:  # a gap goes before each group, and room for long names
        extra = 0.55 * next(shown).count("\n") if name else 0.0
        place += extra + (1.0 if not colours else (1.4 if name else 0.85))
        places.append(place)
    high = 0.19 * (places[-1] - places[0] + 1.4)
    with styled():
        below = 0.18 if colours else 0.0
        room = letters_in(0.3 * width, 8)
        labels = fitting([left.label, right.label], room, 3)
        foot = 0.27 + 0.14 * max(label.count("\n") + 1 for label in labels)
        figure = new_figure(width, high + foot + below)
        figure.get_layout_engine().set(wspace=0.08)  # type: ignore[union-attr]
        axes = figure.subplots(1, 2, sharey=True)
        _bars(axes[0], lines, places, colours, left)
        _differences(axes[1], lines, places, colours, right)
        axes[0].set_yticks([p for p, (name, *_) in zip(places, lines, strict=True) if name], names)
        axes[0].set_ylim(places[-1] + 0.7, places[0] - 0.7)
        for panel, label in zip(axes, labels, strict=True):
            panel.tick_params(axis="y", length=0)
            panel.spines["left"].set_visible(False)
            panel.xaxis.set_major_locator(MaxNLocator(nbins=4))
            panel.set_xlabel(label, labelpad=2)
            panel.grid(axis="x", linewidth=0.4, color="#e0e0e0")
            panel.set_axisbelow(True)
        if colours:
            shown = fitting(list(colours), letters_in(width - 0.42, 7))
            handles = {
                name: Patch(color=colour)
                for name, colour in zip(shown, colours.values(), strict=True)
            }
            legend(figure, handles, width)
        if note:
            footnote(figure, note)
        finish(figure, axes, 0.6 * high)
    return figure, axes


def _bars(
    panel: Axes, lines: Sequence[_Line], places: Sequence[float], colours: Mapping[str, str],
    what: Quantity,
) -> None:  # fmt: skip
    for place, (_, relation, row) in zip(places, lines, strict=True):
        value, low, high = what.of(row)
        colour = colours.get(relation, COLOURS[0])
        control = {"facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
        look = control if row.get("control") else {"color": colour, "alpha": 0.65}
        panel.barh(place, value, height=0.62, **look)
        if low is not None and high is not None:
            panel.plot([low, high], [place, place], color="black", linewidth=0.9)
        if what.column == "accuracy" and is_number(row.get("chance")):
            at = 100 * row["chance"]
            panel.plot([at, at], [place - 0.4, place + 0.4], color="black", linestyle=":")
    if what.column == "accuracy":
        panel.set_xlim(0, 100)


def _differences(
    panel: Axes, lines: Sequence[_Line], places: Sequence[float], colours: Mapping[str, str],
    what: Quantity,
) -> None:  # fmt: skip
    panel.axvline(0, color=PALE, linewidth=0.7)
    for place, (_, relation, row) in zip(places, lines, strict=True):
        if not is_number(row.get(what.column)):
            continue
        value, low, high = what.of(row)
        colour = colours.get(relation, COLOURS[0])
        if low is not None and high is not None:
            panel.plot([low, high], [place, place], color=colour, linewidth=1)
        open_ = {"markerfacecolor": "white"} if row.get("control") else {}
        panel.plot(value, place, "o", color=colour, clip_on=False, **open_)
