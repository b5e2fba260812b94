"""Curves: accuracy against what an eval sweeps, training by epoch, lengths by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mfv_dsl.report.figures.lettering import fitting, letters_in, longest
from mfv_dsl.report.figures.style import (
    COLOURS,
    COLUMN,
    LEVELS,
    LINES,
    MARKERS,
    Drawing,
    finish,
    footnote,
    legend,
    legend_columns,
    new_figure,
    styled,
)


@dataclass(frozen=True)
class Curve:
    """A series: ``y`` at ``x``, where known with the bounds of its intervals; ``marked`` are places
    to be marked by a star.  Without ``x`` it is one value, drawn as a level line."""

    name: str
    x: Sequence[Any]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    marked: Sequence[int] = ()


def curves_figure(
    panels: Mapping[str, Sequence[Curve]],
    x: str,
    y: str | Sequence[str],
    width: float = COLUMN,
    limits: tuple[float | None, float | None] = (None, None),
    note: str = "",
    share_y: bool = True,
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """Curves in panels by title, with intervals as bands and one legend for all.

    Args:
        panels: The curves of each; those of one name look the same in all panels.
        x: What runs along.
        y: What runs up, one text for all panels or one each.
        width: Inches.
        limits: The ends of the axis that runs up, None where they follow from the values.
        note: What is said below.
        share_y: Whether all panels have the same axis.

    Returns:
        The figure and its axes, one a panel.
    """
    names = list(dict.fromkeys(curve.name for curves in panels.values() for curve in curves))
    style = {name: _style(place) for place, name in enumerate(names)}
    shown = dict(zip(names, fitting(names, letters_in(width - 0.5, 7)), strict=True))
    across = max(1, min(len(panels), int(width / (1.45 if share_y else 2.0))))
    across = min(across, ceil(len(panels) / ceil(len(panels) / across)))
    down = ceil(len(panels) / across)
    lines = sum(text.count("\n") + 1 for text in shown.values())
    below = 0.16 * ceil(lines / legend_columns(list(shown.values()), width))
    tall = 1.9 if len(panels) == 1 else 1.25 if share_y else 0.95
    with styled():
        figure = new_figure(width, down * (tall + 0.22) + (below if len(names) > 1 else 0) + 0.3)
        grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=share_y)
        axes = grid.ravel()
        letters = letters_in(width / across - 0.5, 8)
        words = _words(panels)
        labels = [y] * len(panels) if isinstance(y, str) else list(y)
        for place, (panel, (title, curves)) in enumerate(
            zip(axes, zip(fitting(list(panels), letters), panels.values(), strict=True),
                strict=False)
        ):  # fmt: skip
            for curve in curves:
                _draw(panel, curve, style[curve.name], shown[curve.name], words)
            if title.strip():
                panel.set_title(title, pad=5)
            _name_axes(panel, words, place, across, len(panels), x, labels[place], share_y)
            low, high = limits
            panel.set_ylim(bottom=low, top=high)
        for panel in axes[len(panels) :]:
            panel.remove()
        if len(names) > 1:
            _legend(figure, axes[: len(panels)], names, shown, width)
        if note:
            footnote(figure, note)
        finish(figure, list(axes[: len(panels)]), 0.7 * tall, down)
    return figure, axes[: len(panels)]


def _style(place: int) -> dict[str, Any]:
    """The look of the series at a place: colour, then the sort of line and mark tell them apart;
    ``level`` is the sort of line where it is one value."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": LINES[place // len(COLOURS) % len(LINES)],
        "marker": MARKERS[place % len(MARKERS)],
        "level": LEVELS[place // len(COLOURS) % len(LEVELS)],
    }


def _words(panels: Mapping[str, Sequence[Curve]]) -> list[str]:
    """The values along where not all are numbers: numbers first, in their order."""
    values = [value for curves in panels.values() for curve in curves for value in curve.x]
    if all(isinstance(value, int | float) for value in values):
        return []
    numbers = sorted({value for value in values if isinstance(value, int | float)})
    words = dict.fromkeys(value for value in values if not isinstance(value, int | float))
    return [*(f"{value:g}" for value in numbers), *map(str, words)]


def _place(value: Any, words: Sequence[str]) -> float:
    if not words:
        return float(value)
    return float(words.index(f"{value:g}" if isinstance(value, int | float) else str(value)))


def _draw(
    panel: Axes, curve: Curve, style: Mapping[str, Any], name: str, words: Sequence[str]
) -> None:
    colour = style["color"]
    if not len(curve.y):
        return  # it has no finite number
    if not len(curve.x):
        panel.axhline(curve.y[0], color=colour, linestyle=style["level"], linewidth=1, label=name)
        if curve.low and curve.low[0] is not None and curve.high[0] is not None:
            panel.axhspan(curve.low[0], curve.high[0], color=colour, alpha=0.08, linewidth=0)
        return
    order = sorted(range(len(curve.x)), key=lambda i: _place(curve.x[i], words))
    x = [_place(curve.x[i], words) for i in order]
    y = [curve.y[i] for i in order]
    marked = {place for place, i in enumerate(order) if i in set(curve.marked)}
    single = {} if len(x) <= 24 else {"markevery": ceil(len(x) / 24)}
    look = {key: value for key, value in style.items() if key != "level"}
    panel.plot(x, y, label=name, **look, **single, clip_on=False, zorder=3)
    bounds = [
        (place, curve.low[i], curve.high[i])
        for place, i in zip(x, order, strict=True)
        if curve.low and curve.low[i] is not None and curve.high[i] is not None
    ]
    if len(bounds) == 1:
        ((place, low, high),) = bounds
        panel.plot([place, place], [low, high], color=colour, linewidth=0.8)
    elif bounds:
        places, lows, highs = (np.array(part, dtype=float) for part in zip(*bounds, strict=True))
        finite = np.isfinite(lows) & np.isfinite(highs)
        panel.fill_between(
            places, lows, highs, where=list(finite), color=colour, alpha=0.18, linewidth=0
        )
    if marked:
        panel.plot(
            [x[i] for i in sorted(marked)], [y[i] for i in sorted(marked)], linestyle="none",
            marker="*", markersize=8, color=colour, markeredgecolor="white",
            markeredgewidth=0.5, clip_on=False, zorder=4,
        )  # fmt: skip


def _name_axes(
    panel: Axes, words: Sequence[str], place: int, across: int, count: int, x: str, y: str,
    share_y: bool,
) -> None:  # fmt: skip
    if words:
        shown = fitting(words, 16)
        room = letters_in(panel.get_figure().get_figwidth() / across - 0.5, 7)
        crowded = sum(map(longest, [[word] for word in shown])) + 2 * len(shown) > room
        panel.set_xticks(range(len(words)), shown, rotation=90 if crowded else 0)
        panel.set_xlim(-0.5, len(words) - 0.5)
    else:
        _number_ticks(panel)
    if place + across >= count:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel(x, labelpad=2)
    if place % across == 0 or not share_y:
        panel.set_ylabel(y, labelpad=2)
    panel.yaxis.set_major_locator(MaxNLocator(nbins=5))
    panel.grid(axis="y", linewidth=0.4, color="#e0e0e0")
    panel.set_axisbelow(True)


def _number_ticks(panel: Axes) -> None:
    """Ticks at the values themselves where they are few and stand apart, else at round numbers."""
    along = [
        line.get_xdata() for line in panel.lines if line.get_marker() not in ("", "None", None)
    ]
    values = sorted({float(v) for line in along for v in np.atleast_1d(line) if isfinite(v)})
    gaps = [b - a for a, b in pairwise(values)]
    if gaps and len(values) <= 6 and min(gaps) >= 0.14 * (values[-1] - values[0]):
        panel.set_xticks(values, [f"{value:g}" for value in values])
        return
    whole = all(value.is_integer() for value in values)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole, min_n_ticks=1))


def _legend(
    figure: Drawing, axes: Sequence[Axes], names: Sequence[str], shown: Mapping[str, str],
    width: float,
) -> None:  # fmt: skip
    """One legend for all panels, in the order of the names."""
    found: dict[str, Any] = {}
    for panel in axes:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    legend(figure, {shown[name]: found[shown[name]] for name in names if shown[name] in found},
           width)  # fmt: skip
