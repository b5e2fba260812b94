"""Pictures with what goes with them: a prompt as a model gets it, answers before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mfv_dsl.data.template import END_OF_CHUNK, IMAGE
from mfv_dsl.report.figures.lettering import fitting, letters_in, wrapped
from mfv_dsl.report.figures.style import (
    COLOURS,
    PAGE,
    PALE,
    RIGHT,
    Drawing,
    finish,
    new_figure,
    styled,
)
from mfv_dsl.report.prompt_row import PromptRow

_TEXT = 7  # points of what stands under pictures
_LINE = _TEXT * 1.35 / 72


@dataclass(frozen=True)
class Panel:
    """The likeliest answers under one condition with their probabilities, best first, and the
    answer that is right under it, if one is."""

    title: str
    answers: Sequence[tuple[str, float]]
    right: str | None = None


def prompt_figure(
    rows: Sequence[PromptRow], width: float = PAGE
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """Prompts one below the other, each picture over its piece of the text; the wanted answer is
    green.

    Returns:
        The figure and its axes, (prompts, pictures), without those that hold nothing (None).
    """
    longest = max(len(row.pictures) for row in rows)
    across = min(longest, max(1, int(width / 0.6)))
    lines_of = [ceil(len(row.pictures) / across) for row in rows]
    side = min(width / across - 0.1, 1.6)
    letters = max(8, letters_in(side, _TEXT))
    tall = max(picture.shape[0] / picture.shape[1] for row in rows for picture in row.pictures)
    most = max(
        len(_lines(text, letters)) + (place == len(row.texts) - 1)
        for row in rows for place, text in enumerate(row.texts)
    )  # fmt: skip
    block = side * tall + most * _LINE + 0.1
    sizes = {picture.shape[:2] for row in rows for picture in row.pictures}
    high = sum(lines_of) * block + 0.45 * len(rows)
    axes = np.full((len(rows), longest), None, dtype=object)
    with styled():
        figure = new_figure(width, high)
        figure.set_layout_engine("none")
        top = high
        for number, row in enumerate(rows):
            title = fitting([row.title], letters_in(width - 0.1, 8))[0]
            figure.text(0.05 / width, (top - 0.06) / high, title, va="top")
            figure.text(
                0.05 / width, (top - 0.2) / high, _sizes(sizes), va="top", color=PALE, fontsize=6.5
            )
            top -= 0.38
            for place, (picture, text) in enumerate(zip(row.pictures, row.texts, strict=True)):
                down, right = divmod(place, across)
                left = 0.05 + right * min(width / across, side + 0.1)
                foot = top - down * block - side * tall
                share = picture.shape[0] / picture.shape[1] * side
                foot += side * tall - share
                box = (left / width, foot / high, side / width, share / high)
                panel = figure.add_axes(box)
                _show(panel, picture)
                last = row.answer if place == len(row.pictures) - 1 else None
                _write(panel, _lines(text, letters), last, letters, share)
                axes[number, place] = panel
            top -= lines_of[number] * block + 0.07
        finish(figure)
    return figure, axes


def _sizes(sizes: set[tuple[int, int]]) -> str:
    if len(sizes) == 1:
        ((height, width),) = sizes
        return f"{width} by {height} pixels"
    return "pictures of several sizes"


def _show(panel: Axes, picture: np.ndarray) -> None:
    small = max(picture.shape[:2]) <= 128
    panel.imshow(picture, interpolation="nearest" if small else "antialiased", aspect="auto")
    panel.set_axis_off()


def _write(
    panel: Axes, lines: Sequence[str], answer: str | None, letters: int, high: float
) -> None:
    """Lines under a picture that is ``high`` inches high, and the answer below them."""
    start = -0.04 / high
    panel.text(
        0, start, "\n".join(lines), transform=panel.transAxes, va="top", fontsize=_TEXT,
        linespacing=1.2,
    )  # fmt: skip
    if answer is not None:
        panel.text(
            0, start - len(lines) * _LINE / high, fitting([answer], letters, 1)[0], va="top",
            transform=panel.transAxes, fontsize=_TEXT, color=RIGHT, fontweight="bold",
        )  # fmt: skip


def _lines(text: str, letters: int) -> list[str]:
    """A piece of a prompt in lines that fit under its picture."""
    pieces = text.replace(IMAGE, f"{IMAGE}\n").replace(END_OF_CHUNK, f"\n{END_OF_CHUNK}")
    return [line for piece in pieces.split("\n") if piece for line in wrapped(piece, letters)]


def answers_figure(
    picture: np.ndarray, question: str, panels: Sequence[Panel], width: float = PAGE
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """A picture (height, width, 3) uint8 with its question, beside it a panel of bars for each
    condition; the right answer's bar is green.

    Returns:
        The figure, and its axes: the picture's, then one a panel.
    """
    most = max(len(panel.answers) for panel in panels)
    across = max(1, min(len(panels) + 1, int(width / 1.5)))
    down = ceil((len(panels) + 1) / across)
    side = width / across
    letters = letters_in(side - 0.2, 8)
    titles = fitting([panel.title for panel in panels], letters, 3)
    heading = max(title.count("\n") + 1 for title in titles)
    asked = wrapped(question, letters)
    ratio = picture.shape[0] / picture.shape[1]
    high = max(0.3 * most + 0.3, min(side * ratio, 2.2) + 0.05)
    with styled():
        figure = new_figure(width, down * (high + 0.16 * max(heading, len(asked)) + 0.15))
        grid = figure.subplots(down, across, squeeze=False)
        axes = grid.ravel()
        axes[0].imshow(
            picture, interpolation="nearest" if max(picture.shape[:2]) <= 128 else "antialiased"
        )
        axes[0].set_xticks([])
        axes[0].set_yticks([])
        axes[0].spines[:].set_visible(False)
        axes[0].set_xlabel("\n".join(asked), loc="left")
        for bars, panel, title in zip(axes[1:], panels, titles, strict=False):
            _probabilities(bars, panel, side)
            bars.set_title(title, pad=4)
            bars.set_ylim(most - 0.5, -0.75)
        for panel in axes[len(panels) + 1 :]:
            panel.remove()
        finish(figure)
    return figure, axes[: len(panels) + 1]


def _probabilities(axes: Axes, panel: Panel, side: float) -> None:
    """Bars of probabilities, each under its answer."""
    names = fitting([name for name, _ in panel.answers], letters_in(side - 0.2, 7), 1)
    for place, (name, (answer, probability)) in enumerate(zip(names, panel.answers, strict=True)):
        colour = RIGHT if answer == panel.right else COLOURS[5]
        axes.barh(place + 0.12, probability, height=0.34, color=colour)
        axes.text(0, place - 0.12, name, va="bottom", fontsize=7)
        axes.text(
            probability + 0.02, place + 0.12, f"{100 * probability:.0f} %", va="center",
            fontsize=6.5, color=PALE,
        )  # fmt: skip
    axes.set_xlim(0, 1.3)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
