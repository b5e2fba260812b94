"""Strokes that drawn things are made of, and an anti-aliased picture of them.

Coordinates are parts of the thing's square, x to the right and y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]  # left, top, right, bottom

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


def sketch(strokes: Sequence[Stroke], side: int, light: float = 1.0) -> Image.Image:
    """The strokes, each over those before it, as an RGBA picture of ``side`` pixels; ``light`` is a
    factor of all colours."""
    large = side * _SAMPLES
    picture = Image.new("RGBA", (large, large))
    on = ImageDraw.Draw(picture)
    for stroke in strokes:
        red, green, blue = (min(255, round(level * light)) for level in stroke.colour)
        stroke.draw(on, large, (red, green, blue))
    return picture.reduce(_SAMPLES)


def _scaled(numbers: Sequence[float], side: float) -> list[float]:
    return [number * (side - 1) for number in numbers]
