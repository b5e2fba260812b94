"""A table of numbers as a picture: blue below zero, white at zero, red above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mfv_dsl.base.numbers import decimals

_LOW, _ZERO, _HIGH = (
    np.array(colour) for colour in ((38, 84, 190), (255, 255, 255), (196, 36, 36))
)
_INK, _PALE, _NOTHING = (30, 30, 40), (120, 120, 130), (225, 225, 230)
_MARGIN = 24
#: side of a cell in pixels: with its number in it, and, for large tables, without
_WITH_NUMBER, _BARE = 46, 14
_MOST_NUMBERED = 24  # columns


def heat_map(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str
) -> Image.Image:
    """Draw ``values`` (rows, columns); the strongest colours are the largest absolute value.
    NaN, where there is nothing, is grey."""
    numbered = values.shape[1] <= _MOST_NUMBERED
    side = _WITH_NUMBER if numbered else _BARE
    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    left = _MARGIN + 8 + round(max(font.getlength(row) for row in rows))
    longest = round(max(small.getlength(column) for column in columns)) if numbered else 0
    upright = longest > side  # long names of columns stand on end
    above = _MARGIN + 34 + ((longest if upright else 16) if numbered else 0)
    width = max(left + side * len(columns), _MARGIN + round(font.getlength(title))) + _MARGIN
    canvas = Image.new("RGB", (width, above + side * len(rows) + _MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=font)
    most = float(np.nan_to_num(np.abs(values)).max()) or 1.0
    for j, name in enumerate(columns if numbered else ()):
        middle = round(left + (j + 0.5) * side)
        if upright:
            _draw_upright(canvas, (middle, above - 6), name, small)
        else:
            draw.text((middle, above - 6), name, fill=_PALE, font=small, anchor="ms")
    for i, name in enumerate(rows):
        top = above + i * side
        draw.text((left - 8, top + side / 2), name, fill=_PALE, font=font, anchor="rm")
        for j, value in enumerate(values[i]):
            place = (left + j * side, top, left + (j + 1) * side - 2, top + side - 2)
            if np.isnan(value):
                draw.rectangle(place, fill=_NOTHING)
                continue
            draw.rectangle(place, fill=_colour(float(value) / most), outline=(225, 225, 230))
            if numbered:
                centre = (left + (j + 0.5) * side - 1, top + side / 2)
                ink = "white" if abs(value) > 0.6 * most else _INK
                draw.text(centre, decimals(float(value)), fill=ink, font=small, anchor="mm")
    return canvas


def _draw_upright(
    canvas: Image.Image,
    foot: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Draw ``text`` upwards from ``foot``."""
    width, height = round(font.getlength(text)) + 2, 16
    flat = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(flat).text((0, height // 2), text, fill=_PALE, font=font, anchor="lm")
    canvas.paste(flat.rotate(90, expand=True), (foot[0] - height // 2, foot[1] - width))


def _colour(share: float) -> tuple[int, int, int]:
    """The colour of a value, -1 to 1."""
    end = _HIGH if share > 0 else _LOW
    red, green, blue = np.rint(_ZERO + (end - _ZERO) * abs(share)).astype(int)
    return int(red), int(green), int(blue)
