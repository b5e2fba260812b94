"""A scene beside the model's likeliest answers under several conditions, as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

#: A condition's title, its likeliest answers with their probabilities, best first, and the answer
#: that is right under it, if one is.
Panel = tuple[str, Sequence[tuple[str, float]], str | None]

_SCENE, _PANEL, _ROW, _MARGIN = 320, 300, 40, 24
_LINE = 34  # letters of a title in one line
_INK, _PALE, _BAR, _RIGHT = (30, 30, 40), (120, 120, 130), (170, 190, 225), (60, 150, 90)


def answers_picture(scene: np.ndarray, question: str, panels: Sequence[Panel]) -> Image.Image:
    """Draw ``scene`` (height, width, 3) uint8 with ``question`` under it and one panel a condition.

    Bars are probabilities; the right answer's is green.
    """
    width = _MARGIN * (2 + len(panels)) + _SCENE + _PANEL * len(panels)
    height = 2 * _MARGIN + _SCENE + 40
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    smooth = max(scene.shape[:2]) > _SCENE
    view = ImageOps.contain(
        Image.fromarray(scene), (_SCENE, _SCENE),
        Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST,
    )  # fmt: skip
    canvas.paste(view, (_MARGIN, _MARGIN))
    draw.text((_MARGIN, _MARGIN + _SCENE + 12), question, fill=_INK, font=_font(17))
    for number, (title, answers, right) in enumerate(panels):
        left = 2 * _MARGIN + _SCENE + number * (_PANEL + _MARGIN)
        lines, size = (title, 17) if len(title) <= _LINE else (_wrapped(title), 14)
        draw.text((left, _MARGIN), lines, fill=_INK, font=_font(size))
        for i, (name, probability) in enumerate(answers):
            top = _MARGIN + 44 + i * (_ROW + 10)
            colour = _RIGHT if name == right else _BAR
            length = max(2, round(probability * (_PANEL - 60)))
            draw.rectangle((left, top + 20, left + length, top + _ROW), fill=colour)
            draw.text((left, top), name, fill=_INK, font=_font(14))
            draw.text(
                (left + length + 8, top + 21),
                f"{100 * probability:.0f} %",
                fill=_PALE,
                font=_font(14),
            )
    return canvas


def _wrapped(title: str) -> str:
    """A long title in two lines, cut where that does not do."""
    return "\n".join(textwrap.wrap(title, _LINE + 6, max_lines=2, placeholder=" …"))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
