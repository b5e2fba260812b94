"""Relations of boxes on an image, by thresholds that are declared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mfv_dsl.base.errors import MfvError


@dataclass(frozen=True)
class Box:
    """A box by its sides, in pixels from the upper left corner of the image."""

    left: float
    top: float
    right: float
    bottom: float

    @cached_property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    @cached_property
    def center(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def shared_area(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return width * height if width > 0 and height > 0 else 0.0


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share, as a part of what they cover together: 0 to 1.

    >>> overlap(Box(0, 0, 2, 1), Box(1, 0, 3, 1)) == 1 / 3
    True
    """
    shared = shared_area(one, other)
    together = one.area + other.area - shared
    if together <= 0:  # boxes without an area
        return float(one == other)
    return shared / together


@dataclass(frozen=True)
class Thresholds:
    """What it takes for a box to stand in a relation to another.

    ``margin``: centres are at least so far apart, as a part of the image's width (left, right) or
    height (above, below).  ``cone``: they are so many times as far apart in that direction as in
    the other, in pixels.  ``apart``: the boxes share at most so much of the smaller one's area.
    ``inside``: so much of the inner box's area lies in the outer one, which is larger.
    ``overlap``: boxes of which none is inside the other share so much of what they cover together.
    """

    margin: float = 0.1
    cone: float = 1.0
    apart: float = 0.1
    inside: float = 0.9
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if self.cone < 1:
            raise MfvError(
                "MFV7122", f"`cone` is {self.cone:g}, so a box could be both left of another and "
                "above it", help="give 1 or more", argument="cone",
            )  # fmt: skip


#: The relations by geometry.
RELATIONS = ("left", "right", "above", "below", "inside", "overlapping")


def relation_between(
    one: Box, other: Box, width: float, height: float, thresholds: Thresholds
) -> str | None:
    """The relation in which ``one`` stands to ``other`` on an image of a size, None where it is
    none of :data:`RELATIONS`.  There is at most one.

    >>> relation_between(Box(0, 0, 10, 10), Box(50, 0, 60, 10), 100, 100, Thresholds())
    'left'
    """
    shared = shared_area(one, other)
    smaller = min(one.area, other.area)
    if smaller <= 0:
        return None
    if one.area < other.area and shared >= thresholds.inside * one.area:
        return "inside"
    if other.area < one.area and shared >= thresholds.inside * other.area:
        return None  # the other is inside this one
    if overlap(one, other) >= thresholds.overlap:
        return "overlapping"
    if shared > thresholds.apart * smaller:
        return None
    across = one.center[0] - other.center[0]
    down = one.center[1] - other.center[1]
    if abs(across) >= thresholds.margin * width and abs(across) > thresholds.cone * abs(down):
        return "left" if across < 0 else "right"
    if abs(down) >= thresholds.margin * height and abs(down) > thresholds.cone * abs(across):
        return "above" if down < 0 else "below"
    return None
