"""Effects of attention heads as heat maps: layers down, heads across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from mfv_dsl.base.numbers import decimals
from mfv_dsl.report.figures.heat_maps import Scale, heat_map, only_finite, thinned, write_numbers
from mfv_dsl.report.figures.lettering import fitting, letters_in
from mfv_dsl.report.figures.style import (
    COLUMN,
    DIVERGING,
    SEQUENTIAL,
    Drawing,
    finish,
    footnote,
    new_figure,
    styled,
)

#: What the colours stand for, by what heads are ranked by.
UNITS = {
    "aie": "average indirect effect on p(answer)",
    "gradient": "estimated effect on p(answer)",
    "relp": "estimated effect on the answer's logit",
    "lrp": "relevance to the answer's logit",
    "mask": "weight in a learned mask",
    "probe": "balanced accuracy of a linear probe",
    "votes": "share of examples classified correctly",
    "norm": "length of the mean output",
}
_LONGEST_BAR = 2.6  # inches
_LENGTHS = ("norm", "mask", "probe", "votes")  # never below zero
_NUMBERED = 0.27, 0.125  # inches a cell is wide and high at least if its number is written in it


def heads_figure(
    panels: Mapping[str, np.ndarray],
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    by: str = "aie",
    width: float = COLUMN,
    note: str = "",
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """Heat maps (layers, heads) by title, with one scale of colours, white at zero.

    Args:
        panels: Arrays of one shape, NaN (grey) where there is no head.
        layers: The numbers of the rows, from 0 if left out.
        heads: Those of the columns.
        by: What the numbers are: a key of :data:`UNITS`, or a text.
        width: Inches.
        note: What is said below.

    Returns:
        The figure and its axes, one a panel.
    """
    arrays = [only_finite(values) for values in panels.values()]
    shape = arrays[0].shape
    layers, heads = (
        list(range(size)) if given is None else list(given)
        for size, given in zip(shape, (layers, heads), strict=True)
    )
    across = _columns(len(arrays), width)
    down = ceil(len(arrays) / across)
    side = (width - 0.85) / across - 0.12
    tall = float(np.clip(side * shape[0] / max(shape[1], 1), 0.45 * side, 1.5 * side))
    tall = max(min(tall, 0.5 * shape[0]), min(0.13 * shape[0], 1.5 * side), 0.3)
    with styled():
        figure = new_figure(width, down * (tall + 0.24) + 0.42)
        grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        axes = grid.ravel()
        scale = Scale.around_zero(np.stack(arrays), DIVERGING)
        if by in _LENGTHS:
            scale = Scale(SEQUENTIAL, 0.0, scale.high)
        letters = letters_in(side, 8)
        titles = fitting(list(panels), letters)
        image = None
        for panel, values, title in zip(axes, arrays, titles, strict=False):
            image = heat_map(panel, values, (), (), scale)
            panel.set_title(title if len(panels) > 1 or title else "", pad=3)
            thinned(panel.yaxis, layers, tall)
            thinned(panel.xaxis, heads, side, 0.2)
            cell = side / shape[1], tall / shape[0]
            if all(a >= b for a, b in zip(cell, _NUMBERED, strict=True)):
                texts = [[decimals(value) for value in row] for row in np.nan_to_num(values)]
                write_numbers(panel, values, texts, scale, 5.5)
        for place, panel in enumerate(axes):
            if place >= len(arrays):
                panel.remove()
            elif place + across >= len(arrays):
                panel.tick_params(labelbottom=True)
                panel.set_xlabel("head", labelpad=2)
            if place < len(arrays) and place % across == 0:
                panel.set_ylabel("layer", labelpad=2)
        assert image is not None
        long = min(1.0, _LONGEST_BAR / (down * (tall + 0.24)))
        bar = figure.colorbar(
            image, ax=list(axes[: len(arrays)]), aspect=25, pad=0.03, shrink=long, anchor=(0, 1),
        )  # fmt: skip
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=2)
        unit = UNITS.get(by, by)
        bar.set_label(fitting([unit], letters_in(long * (down * tall + 0.2), 8), 3)[0])
        if note:
            footnote(figure, note)
        finish(figure, list(axes[: len(arrays)]), 0.7 * tall, down)
    return figure, axes[: len(arrays)]


def _columns(count: int, width: float) -> int:
    """How many panels stand side by side."""
    most = max(1, int(width / 1.5))
    if count <= most:
        return count
    return min(most, ceil(count / ceil(count / most)))
