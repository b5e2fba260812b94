"""Tables of numbers as colours: what heat maps of heads, confusions and similarities share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage

from mfv_dsl.report.figures.style import NOTHING

_STEPS = (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 80, 100)


@dataclass(frozen=True)
class Scale:
    """A colour map with the values of its two ends."""

    colours: str
    low: float
    high: float

    @classmethod
    def around_zero(cls, values: np.ndarray, colours: str) -> Scale:
        """From the largest absolute value below zero to it above zero."""
        finite = np.abs(values[np.isfinite(values)])
        most = float(finite.max()) if finite.size else 1.0
        return cls(colours, -(most or 1.0), most or 1.0)


def only_finite(values: np.ndarray) -> np.ndarray:
    """Numbers as floats, NaN in place of those that are not finite."""
    numbers = np.asarray(values, dtype=float)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def heat_map(
    axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], scale: Scale
) -> AxesImage:
    """Draw ``values`` (rows, columns) into ``axes``, the first row at the top; NaN is grey."""
    colours = colormaps[scale.colours].with_extremes(bad=NOTHING)
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap=colours, norm=Normalize(scale.low, scale.high),
        interpolation="nearest", aspect="auto",
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    return image


def thinned(axis: Any, numbers: Sequence[int], length: float, each: float = 0.16) -> None:
    """Ticks of an axis ``length`` inches long for numbered rows, as many as are readable where one
    takes ``each`` inches."""
    room = max(1, int(length / each))
    step = next((s for s in _STEPS if -(-len(numbers) // s) <= room), _STEPS[-1])
    places = range(0, len(numbers), step)
    axis.set_ticks(list(places), [str(numbers[place]) for place in places])


def write_numbers(
    axes: Axes, values: np.ndarray, texts: Sequence[Sequence[str]], scale: Scale, size: float
) -> None:
    """Write each cell's text into it, light on dark colours."""
    colours = colormaps[scale.colours]
    norm = Normalize(scale.low, scale.high)
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            if not np.isfinite(values[i, j]):
                continue
            red, green, blue, _ = colours(norm(values[i, j]))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            axes.text(
                j, i, text, ha="center", va="center", fontsize=size,
                color="white" if dark else "black",
            )  # fmt: skip
