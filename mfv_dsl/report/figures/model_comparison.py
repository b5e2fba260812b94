"""Models compared by how their relations lie to one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfv_dsl.base.numbers import decimals
from mfv_dsl.report.figures.heat_maps import Scale, heat_map, write_numbers
from mfv_dsl.report.figures.lettering import fitting, inches_of, letters_in, longest
from mfv_dsl.report.figures.style import (
    COLOURS,
    PAGE,
    SEQUENTIAL,
    Drawing,
    finish,
    new_figure,
    styled,
)


def arrangement_figure(
    relations: Sequence[str], matrices: Mapping[str, np.ndarray], width: float = PAGE
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """The dissimilarities of the same relations in each model, side by side; of two models also
    those of the one against those of the other.

    Args:
        relations: Their names.
        matrices: By model the dissimilarities, (relations, relations).
        width: Inches.

    Returns:
        The figure and its axes, one a model, and that of the points where there are two.
    """
    shown = fitting(list(relations), 14)
    aside = inches_of(longest(shown), 7)
    panels = len(matrices) + (len(matrices) == 2)
    side = max((width - aside - 0.9 - 0.35 * (panels - 1)) / panels, 0.6)
    upper = np.triu_indices(len(relations), 1)
    most = max(float(matrix.max()) for matrix in matrices.values())
    scale = Scale(SEQUENTIAL, 0.0, most or 1.0)
    with styled():
        figure = new_figure(width, side + aside + 0.5)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        titles = fitting(list(matrices), letters_in(side, 8), 3)
        for place, (panel, title, matrix) in enumerate(
            zip(axes, titles, matrices.values(), strict=False)
        ):
            image = heat_map(panel, matrix, shown if place == 0 else [], shown, scale)
            panel.tick_params(axis="x", rotation=90)
            panel.set_title(title)
            panel.set_box_aspect(1)
            if side / len(relations) >= 0.24:
                texts = [[decimals(value) for value in row] for row in matrix]
                write_numbers(panel, matrix, texts, scale, 5.5)
        bar = figure.colorbar(image, ax=list(axes[: len(matrices)]), aspect=25, pad=0.02)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=2)
        bar.set_label("dissimilarity")
        if len(matrices) == 2:
            panel = axes[-1]
            one, other = matrices.values()
            panel.plot(one[upper], other[upper], "o", color=COLOURS[0])
            panel.set_xlabel(titles[0])
            panel.set_ylabel(titles[1])
            panel.set_box_aspect(1)
        finish(figure, list(axes), 0.5 * side)
    return figure, axes
