"""Where heads look, drawn over the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfv_dsl.report.figures.lettering import fitting, letters_in
from mfv_dsl.report.figures.style import PAGE, Drawing, finish, footnote, new_figure, styled

_COLOURS = "Reds"
_OPAQUE = 0.75  # of the patch with the largest weight; where no weight is the picture is as it is
_LARGEST = 1.7  # inches of a picture's side


@dataclass(frozen=True)
class Look:
    """One panel: a ``picture`` (height, width, 3) uint8 and the ``weights`` (rows, columns) of its
    patches."""

    title: str
    picture: np.ndarray
    weights: np.ndarray


def attention_figure(
    rows: Sequence[Sequence[Look]], width: float = PAGE, note: str = ""
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """Pictures with the weights of their patches over them: a row a head, with one scale of colours
    for the row, from zero.

    Args:
        rows: The panels of each head, as many in each row.
        width: Inches.
        note: What is said below.

    Returns:
        The figure and its axes, (rows, panels).
    """
    across = max(map(len, rows))
    side = min(_LARGEST, (width - 0.7) / across - 0.1)
    with styled():
        figure = new_figure(min(width, across * (side + 0.1) + 0.7), len(rows) * (side + 0.3) + 0.1)
        axes = figure.subplots(len(rows), across, squeeze=False)
        for looks, panels in zip(rows, axes, strict=True):
            most = max(float(look.weights.max()) for look in looks) or 1.0
            titles = fitting([look.title for look in looks], letters_in(side, 8), 2)
            for look, panel, title in zip(looks, panels, titles, strict=False):
                image = _draw(panel, look, most)
                panel.set_title(title, pad=3)
            bar = figure.colorbar(image, ax=list(panels), pad=0.01, aspect=12, shrink=0.9)
            bar.outline.set_visible(False)  # type: ignore[operator]
            bar.ax.tick_params(length=2)
            for panel in panels[len(looks) :]:
                panel.remove()
        if note:
            footnote(figure, note)
        finish(figure)
    return figure, axes


def _draw(panel: Any, look: Look, most: float) -> Any:
    """The picture, and over it its patches, the stronger the larger their weights are."""
    height, width = look.picture.shape[:2]
    panel.imshow(look.picture, interpolation="nearest")
    image = panel.imshow(
        look.weights, cmap=_COLOURS, vmin=0, vmax=most, alpha=_OPAQUE * look.weights / most,
        interpolation="nearest", extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )  # fmt: skip
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    return image
