"""The synthetic world: kinds of objects, relations, and layouts on a grid.

A *kind* is a colour and a shape (``"red circle"``).  A *layout* is a ``(4, 4)`` grid of kind
numbers, ``EMPTY`` where nothing stands.  A cardinal layout has an anchor with a neighbour in each
of the four directions; a diagonal layout has the four diagonal neighbours instead.  Both have one
distractor elsewhere.  Kinds within a layout are all different.

Splits are disjoint by construction: the split of a layout is a function of the layout itself
(:func:`bucket`), so no arrangement of objects can appear in two splits, nor in the pre-training
data of the bundled model and in any split.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

GRID = 4
EMPTY = -1

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (34, 150, 60),
    "blue": (38, 84, 210),
    "yellow": (240, 190, 20),
}
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring")
KINDS: tuple[str, ...] = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)

#: Kinds that the bundled model has seen named, but never inside an in-context sequence.
NOVEL_KINDS: tuple[str, ...] = ("red diamond", "green cross", "blue ring", "yellow triangle")
FAMILIAR_KINDS: tuple[str, ...] = tuple(kind for kind in KINDS if kind not in NOVEL_KINDS)

#: relation -> (row, column) offset from the query object to the answer object
OFFSETS: dict[str, tuple[int, int]] = {
    "left": (0, -1),
    "right": (0, 1),
    "above": (-1, 0),
    "below": (1, 0),
    "above_left": (-1, -1),
    "above_right": (-1, 1),
    "below_left": (1, -1),
    "below_right": (1, 1),
}
CARDINAL = ("left", "right", "above", "below")
DIAGONAL = ("above_left", "above_right", "below_left", "below_right")
RELATIONS = CARDINAL + DIAGONAL

#: split -> the buckets (of 10) that belong to it
SPLIT_BUCKETS: dict[str, tuple[int, ...]] = {
    "pretrain": (0, 1, 2, 3, 4, 5),
    "extract": (6,),
    "train": (7,),
    "validation": (8,),
    "test": (9,),
}

_HASH_WEIGHTS = np.random.Generator(np.random.PCG64(20251002)).integers(
    1, 2**63, size=(GRID * GRID, len(KINDS) + 1), dtype=np.uint64
)


@dataclass(frozen=True)
class Layouts:
    """``n`` layouts: ``grid`` (n, 4, 4) int8 of kind numbers, ``anchor`` (n, 2) row and column."""

    grid: np.ndarray
    anchor: np.ndarray

    def __len__(self) -> int:
        return len(self.grid)

    def __getitem__(self, index: object) -> Layouts:
        return Layouts(self.grid[index], self.anchor[index])

    def anchor_kind(self) -> np.ndarray:
        """Kind number of each layout's anchor, (n,)."""
        return self.grid[np.arange(len(self)), self.anchor[:, 0], self.anchor[:, 1]]

    def neighbour_kind(self, relation: str) -> np.ndarray:
        """Kind number of the object in ``relation`` to each anchor, (n,); EMPTY where none."""
        row, column = OFFSETS[relation]
        return self.grid[np.arange(len(self)), self.anchor[:, 0] + row, self.anchor[:, 1] + column]


def bucket(grid: np.ndarray) -> np.ndarray:
    """The bucket, 0 to 9, of each layout in ``grid`` (n, 4, 4): a hash of what stands where."""
    cells = grid.reshape(len(grid), -1).astype(np.int64) + 1
    mixed = _HASH_WEIGHTS[np.arange(GRID * GRID)[None, :], cells].sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return (mixed % np.uint64(10)).astype(np.int64)


def seed_of(*parts: object) -> np.random.SeedSequence:
    """A seed made of names and numbers, the same on every platform and Python version."""
    words = [zlib.crc32(repr(part).encode()) for part in parts]
    return np.random.SeedSequence(words)


def sample_layouts(
    rng: np.random.Generator,
    n: int,
    diagonal: bool | np.ndarray,
    split: str,
    kinds: tuple[str, ...] = KINDS,
    novel: str | None = None,
) -> Layouts:
    """Draw ``n`` layouts of one split.

    The anchor is in any inner cell.  ``diagonal`` says, once or per layout, whether its neighbours
    stand diagonally.  With ``novel`` the anchor and its neighbour in that relation are of
    :data:`NOVEL_KINDS`.
    """
    numbers = np.array([KINDS.index(kind) for kind in kinds], dtype=np.int8)
    if len(numbers) < 6:
        raise ValueError(f"a scene needs 6 different kinds of object, only {len(numbers)} given")
    diagonal = np.broadcast_to(np.asarray(diagonal, dtype=bool), (n,))
    allowed = np.isin(np.arange(10), SPLIT_BUCKETS[split])
    grid = np.empty((n, GRID, GRID), dtype=np.int8)
    anchor = np.empty((n, 2), dtype=np.int64)
    todo = np.arange(n)
    while len(todo):
        fresh_grid, fresh_anchor = _draw(rng, diagonal[todo], numbers, novel)
        good = allowed[bucket(fresh_grid)]
        grid[todo[good]], anchor[todo[good]] = fresh_grid[good], fresh_anchor[good]
        todo = todo[~good]
    return Layouts(grid, anchor)


def _draw(
    rng: np.random.Generator,
    diagonal: np.ndarray,
    numbers: np.ndarray,
    novel: str | None,
) -> tuple[np.ndarray, np.ndarray]:
    n = len(diagonal)
    rows = np.arange(n)
    grid = np.full((n, GRID, GRID), EMPTY, dtype=np.int8)
    anchor = rng.integers(1, GRID - 1, size=(n, 2))
    order = rng.random((n, len(numbers)))
    if novel is not None:
        pair = rng.random((n, len(NOVEL_KINDS))).argsort(axis=1)[:, :2]
        columns = np.flatnonzero(np.isin(numbers, [KINDS.index(kind) for kind in NOVEL_KINDS]))
        order[rows[:, None], columns[pair]] = (-2.0, -1.0)  # the two that come first
    chosen = numbers[order.argsort(axis=1)[:, :6]]
    if novel is not None:
        place = 1 + (DIAGONAL if novel in DIAGONAL else CARDINAL).index(novel)
        chosen[:, [1, place]] = chosen[:, [place, 1]]
    grid[rows, anchor[:, 0], anchor[:, 1]] = chosen[:, 0]
    straight = np.array([OFFSETS[relation] for relation in CARDINAL])
    slanted = np.array([OFFSETS[relation] for relation in DIAGONAL])
    offsets = np.where(diagonal[:, None, None], slanted[None], straight[None])
    for i in range(4):
        grid[rows, anchor[:, 0] + offsets[:, i, 0], anchor[:, 1] + offsets[:, i, 1]] = chosen[
            :, i + 1
        ]
    # the distractor: one of the cells still empty
    keys = rng.random((n, GRID * GRID))
    keys[grid.reshape(n, -1) != EMPTY] = -1.0
    grid.reshape(n, -1)[rows, keys.argmax(axis=1)] = chosen[:, 5]
    return grid, anchor
