"""A prompt as a picture: the images as the model gets them, each over its piece of the text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mfv_dsl.data.template import END_OF_CHUNK, IMAGE

_MARGIN, _LINE = 20, 20
_LEAST = 200  # pixels a panel is wide; smaller images are magnified to it
_INK, _PALE, _RIGHT = (30, 30, 40), (120, 120, 130), (60, 150, 90)


@dataclass(frozen=True)
class PromptRow:
    """One prompt: pictures (height, width, 3) uint8 as the model gets them, the text that goes with
    each, and the answer that is wanted."""

    title: str
    pictures: Sequence[np.ndarray]
    texts: Sequence[str]
    answer: str


def prompt_picture(rows: Sequence[PromptRow]) -> Image.Image:
    """The prompts one below the other."""
    sizes = [picture.shape[:2] for row in rows for picture in row.pictures]
    tallest, widest = (max(sides) for sides in zip(*sizes, strict=True))
    times = max(1, -(-_LEAST // widest))
    width = widest * times
    letters = width // 8
    longest = max(len(row.pictures) for row in rows)
    lines = max(len(_lines(text, letters)) for row in rows for text in row.texts) + 1
    height = _MARGIN + 2 * _LINE + tallest * times + _LINE * lines
    canvas = Image.new(
        "RGB", (_MARGIN + longest * (width + _MARGIN), height * len(rows) + _MARGIN), "white"
    )
    draw = ImageDraw.Draw(canvas)
    larger = f", shown {times} times as large" if times > 1 else ""
    size = f"{widest} by {tallest} pixels{larger}"
    for number, row in enumerate(rows):
        top = number * height + _MARGIN
        draw.text((_MARGIN, top), row.title, fill=_INK, font=ImageFont.load_default(16))
        draw.text((_MARGIN, top + _LINE), size, fill=_PALE, font=ImageFont.load_default(12))
        for i, (picture, text) in enumerate(zip(row.pictures, row.texts, strict=True)):
            left = _MARGIN + i * (width + _MARGIN)
            shape = picture.shape[1] * times, picture.shape[0] * times
            view = Image.fromarray(picture).resize(shape, Image.Resampling.NEAREST)
            canvas.paste(view, (left, top + 2 * _LINE))
            down = top + 2 * _LINE + tallest * times + 6
            for line in _lines(text, letters):
                draw.text((left, down), line, fill=_INK, font=ImageFont.load_default(14))
                down += _LINE
            if i == len(row.pictures) - 1:
                draw.text((left, down), row.answer, fill=_RIGHT, font=ImageFont.load_default(14))
    return canvas


def _lines(text: str, letters: int) -> list[str]:
    """A piece of a prompt in lines that fit under its picture."""
    pieces = text.replace(IMAGE, f"{IMAGE}\n").replace(END_OF_CHUNK, f"\n{END_OF_CHUNK}")
    return [line for piece in pieces.split("\n") for line in textwrap.wrap(piece, letters)]
