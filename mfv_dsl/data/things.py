"""The things that ``scenes(kinds=things)`` draws: their strokes, and anti-aliased pictures of them.

``things.json`` holds the strokes of every thing.  Its ``colours`` are named levels of red, green
and blue; ``familiar`` and ``novel`` (held out) give for every thing its strokes, each over those
before it: a ``shape`` of :data:`SHAPES` with the fields of that class.  Coordinates are parts of
the thing's square, x to the right and y downwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]  # left, top, right, bottom

_FILE = Path(__file__).with_name("things.json")
_SAMPLES = 4  # a side of a pixel is drawn with so many


class Stroke(Protocol):
    """One filled shape or line."""

    @property
    def colour(self) -> Colour: ...

    def draw(self, on: ImageDraw.ImageDraw, side: float, colour: Colour) -> None:
        """Draw it in a square of ``side`` pixels."""


@dataclass(frozen=True)
class Ellipse:
    colour: Colour
    box: Box

    def draw(self, on: ImageDraw.ImageDraw, side: float, colour: Colour) -> None:
        on.ellipse(_scaled(self.box, side), fill=colour)


@dataclass(frozen=True)
class Rectangle:
    colour: Colour
    box: Box
    radius: float = 0.0

    def draw(self, on: ImageDraw.ImageDraw, side: float, colour: Colour) -> None:
        on.rounded_rectangle(_scaled(self.box, side), self.radius * side, fill=colour)


@dataclass(frozen=True)
class Polygon:
    colour: Colour
    points: tuple[float, ...]  # x, y, x, y, …

    def draw(self, on: ImageDraw.ImageDraw, side: float, colour: Colour) -> None:
        on.polygon(_scaled(self.points, side), fill=colour)


@dataclass(frozen=True)
class Line:
    """A line with round ends and corners."""

    colour: Colour
    width: float
    points: tuple[float, ...]

    def draw(self, on: ImageDraw.ImageDraw, side: float, colour: Colour) -> None:
        points = _scaled(self.points, side)
        width = max(1, round(self.width * side))
        on.line(points, fill=colour, width=width, joint="curve")
        radius = width / 2
        for x, y in zip(points[::2], points[1::2], strict=True):
            on.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


@dataclass(frozen=True)
class Arc:
    """Part of an ellipse's edge, between two angles in degrees, clockwise from the right."""

    colour: Colour
    width: float
    box: Box
    start: float
    end: float

    def draw(self, on: ImageDraw.ImageDraw, side: float, colour: Colour) -> None:
        width = max(1, round(self.width * side))
        on.arc(_scaled(self.box, side), self.start, self.end, fill=colour, width=width)


@dataclass(frozen=True)
class Slice:
    """Part of an ellipse between two angles in degrees, clockwise from the right."""

    colour: Colour
    box: Box
    start: float
    end: float

    def draw(self, on: ImageDraw.ImageDraw, side: float, colour: Colour) -> None:
        on.pieslice(_scaled(self.box, side), self.start, self.end, fill=colour)


@dataclass(frozen=True)
class Hole:
    """An ellipse where nothing is left of the strokes before it."""

    box: Box
    colour: Colour = (0, 0, 0)

    def draw(self, on: ImageDraw.ImageDraw, side: float, colour: Colour) -> None:
        on.ellipse(_scaled(self.box, side), fill=(0, 0, 0, 0))


#: shape in ``things.json`` -> its class
SHAPES: Mapping[str, type[Stroke]] = {
    shape.__name__.lower(): shape for shape in (Ellipse, Rectangle, Polygon, Line, Arc, Slice, Hole)
}


@dataclass(frozen=True)
class Drawings:
    """The strokes of every thing by its name: 32 ``familiar`` ones, and 10 held out (``novel``)."""

    familiar: Mapping[str, tuple[Stroke, ...]]
    novel: Mapping[str, tuple[Stroke, ...]]

    @property
    def all(self) -> Mapping[str, tuple[Stroke, ...]]:
        return {**self.familiar, **self.novel}


@cache
def drawings() -> Drawings:
    """The drawings that come with mfv-dsl, read when first asked for.

    >>> drawings().familiar["orange"][0]
    Ellipse(colour=(238, 132, 30), box=(0.1, 0.1, 0.92, 0.92))
    """
    tables = json.loads(_FILE.read_text(encoding="utf-8"))
    colours = tables["colours"]
    return Drawings(*(
        {name: tuple(_stroke(row, colours) for row in rows) for name, rows in tables[part].items()}
        for part in ("familiar", "novel")
    ))  # fmt: skip


def _stroke(row: Mapping[str, Any], colours: Mapping[str, Sequence[int]]) -> Stroke:
    """The stroke that a row of ``things.json`` describes; its colour is a name or three levels."""
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in row.items()
        if name != "shape"
    }
    if isinstance(row.get("colour"), str):
        fields["colour"] = tuple(colours[row["colour"]])
    return SHAPES[row["shape"]](**fields)


def sketch(strokes: Sequence[Stroke], side: int, light: float = 1.0) -> Image.Image:
    """A picture of strokes, each over those before it.

    Args:
        strokes: The strokes of one thing.
        side: The picture's side in pixels.
        light: A factor of all colours.

    Returns:
        An RGBA picture, (side, side), transparent where no stroke is.
    """
    large = side * _SAMPLES
    picture = Image.new("RGBA", (large, large))
    on = ImageDraw.Draw(picture)
    for stroke in strokes:
        red, green, blue = (min(255, round(level * light)) for level in stroke.colour)
        stroke.draw(on, large, (red, green, blue))
    return picture.reduce(_SAMPLES)


def _scaled(numbers: Sequence[float], side: float) -> list[float]:
    return [number * (side - 1) for number in numbers]
