"""Scenes of drawn things: where they stand, and the picture of them, at any size.

An anchor stands near the middle, a neighbour on each of its four sides (or, in diagonal scenes,
off each of its four corners), and one distractor farther away than all of them.  Places and sizes
are parts of the picture's side; squares of two things never meet.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mfv_dsl.data.things import drawings, sketch
from mfv_dsl.data.world import CARDINAL, DIAGONAL, OFFSETS

_SIDES = (0.14, 0.20)  # of a thing's square
_MIDDLE = 0.10  # how far the anchor strays from the middle
_ASIDE = 0.02  # how far a neighbour strays from its line
_GAP = 0.01  # between squares, at least
_LIGHT = (0.92, 1.08)
_PAPER = (222, 254)  # grey levels of the background
_TRIES = 50


@dataclass(frozen=True)
class Thing:
    """A thing in a picture: its middle, the side of its square, and how light it is."""

    kind: str
    x: float
    y: float
    side: float
    light: float

    def apart(self, other: Thing) -> bool:
        """Whether the two squares are apart."""
        far = max(abs(self.x - other.x), abs(self.y - other.y))
        return far >= (self.side + other.side) / 2 + _GAP

    def distance(self, other: Thing) -> float:
        return float(np.hypot(self.x - other.x, self.y - other.y))

    @property
    def inside(self) -> bool:
        """Whether the whole square is in the picture."""
        low, high = self.side / 2, 1 - self.side / 2
        return low <= self.x <= high and low <= self.y <= high


@dataclass(frozen=True)
class ThingScene:
    """``neighbours`` by relation; ``paper`` is the background's colour."""

    anchor: Thing
    neighbours: dict[str, Thing]
    distractor: Thing
    paper: tuple[int, int, int]

    @property
    def things(self) -> tuple[Thing, ...]:
        return (self.anchor, *self.neighbours.values(), self.distractor)


def sample_kinds(
    rng: np.random.Generator, objects: str, diagonal: bool, relations: Collection[str]
) -> tuple[str, ...]:
    """Draw what a scene is made of.

    Args:
        rng: What draws.
        objects: ``familiar``: no kind is held out; ``novel``: the anchor and the neighbours in
            ``relations`` are; ``all``: any may be.
        diagonal: Whether the neighbours stand off the anchor's corners.
        relations: The relations that are asked about.

    Returns:
        Six different kinds: the anchor's, the four neighbours', the distractor's.
    """
    sides = DIAGONAL if diagonal else CARDINAL
    things = drawings()
    if objects != "novel":
        names = list(things.familiar if objects == "familiar" else things.all)
        return tuple(names[i] for i in rng.permutation(len(names))[:6])
    novel = list(things.novel)
    held_out = [novel[i] for i in rng.permutation(len(novel))]
    kinds = {role: held_out.pop() for role in ("anchor", *sides)
             if role == "anchor" or role in relations}  # fmt: skip
    others = [name for name in things.all if name not in kinds.values()]
    rest = iter(others[i] for i in rng.permutation(len(others)))
    return tuple(kinds.get(role) or next(rest) for role in ("anchor", *sides, "distractor"))


def arrangement(kinds: tuple[str, ...], diagonal: bool) -> int:
    """A number that says what stands where; scenes of one arrangement belong to one split."""
    return zlib.crc32(repr((kinds, diagonal)).encode())


def place(rng: np.random.Generator, kinds: tuple[str, ...], diagonal: bool) -> ThingScene:
    """A scene of these six kinds; its sizes, places and colours are drawn."""
    while True:
        scene = _attempt(rng, kinds, DIAGONAL if diagonal else CARDINAL)
        if scene is not None:
            return scene


def _attempt(
    rng: np.random.Generator, kinds: tuple[str, ...], relations: tuple[str, ...]
) -> ThingScene | None:
    sides, lights = rng.uniform(*_SIDES, size=6), rng.uniform(*_LIGHT, size=6)
    x, y = rng.uniform(0.5 - _MIDDLE, 0.5 + _MIDDLE, size=2)
    anchor = Thing(kinds[0], x, y, sides[0], lights[0])
    neighbours = {}
    for i, relation in enumerate(relations, 1):
        down, across = OFFSETS[relation]
        step = (sides[0] + sides[i]) / 2 + rng.uniform(_GAP, 3 * _GAP)
        dx, dy = rng.uniform(-_ASIDE, _ASIDE, size=2)
        neighbours[relation] = Thing(
            kinds[i], x + across * step + (0 if across else dx),
            y + down * step + (0 if down else dy), sides[i], lights[i],
        )  # fmt: skip
    near = (anchor, *neighbours.values())
    farthest = max(anchor.distance(thing) for thing in near)
    paper = tuple(int(level) for level in rng.integers(*_PAPER, size=3))
    for _ in range(_TRIES):
        x, y = rng.uniform(sides[5] / 2, 1 - sides[5] / 2, size=2)
        distractor = Thing(kinds[5], x, y, sides[5], lights[5])
        everything = (*near, distractor)
        pairs = ((a, b) for i, a in enumerate(everything) for b in everything[:i])
        if (
            anchor.distance(distractor) > farthest
            and all(thing.inside for thing in everything)
            and all(a.apart(b) for a, b in pairs)
        ):
            return ThingScene(anchor, neighbours, distractor, (paper[0], paper[1], paper[2]))
    return None


def paint(scene: ThingScene, size: int) -> np.ndarray:
    """The picture of a scene, (size, size, 3) uint8."""
    canvas = Image.new("RGB", (size, size), scene.paper)
    strokes = drawings().all
    for thing in scene.things:
        side = round(thing.side * size)
        picture = sketch(strokes[thing.kind], side, thing.light)
        corner = round(thing.x * size - side / 2), round(thing.y * size - side / 2)
        canvas.paste(picture, corner, picture)
    return np.asarray(canvas)
