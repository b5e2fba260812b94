"""A scene that somebody put together object by object, to ask one question about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.data.items import Item, Prompt

if TYPE_CHECKING:
    import numpy as np


class DrawnScene:
    """A dataset of one scene and no items.

    ``cells`` are the kinds of objects (``red circle``) of the 4 × 4 cells, row by row from the top
    left, with empty texts where nothing stands; ``seed`` draws what is accidental in the picture:
    tint, noise and how far objects are from the middle of their cells.

    Raises MfvError: MFV7133 for another number of cells or a kind that there is not.

    >>> scene = DrawnScene(["red circle", "blue square", *[""] * 14])
    >>> scene.objects, dict(scene.neighbours("red circle"))
    (('red circle', 'blue square'), {'right': 'blue square'})
    """

    relations: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    at_once = 1
    hash = ""

    def __init__(self, cells: Sequence[str], seed: int = 0) -> None:
        from mfv_dsl.data.world import GRID, KINDS

        if len(cells) != GRID**2:
            raise MfvError("MFV7133", f"a scene has {GRID**2} cells, and these are {len(cells)}")
        for kind in cells:
            if kind and kind not in KINDS:
                raise MfvError(
                    "MFV7133", f"scenes have no `{kind}`",
                    help=did_you_mean(kind, KINDS, f"there are {', '.join(KINDS)}"),
                )  # fmt: skip
        self.cells, self.seed = tuple(cells), seed

    @classmethod
    def random(cls, seed: int, diagonal: bool = False) -> DrawnScene:
        """A scene drawn as those of ``scenes()`` are: one object with its four neighbours, straight
        or ``diagonal``, and another object elsewhere."""
        import numpy as np

        from mfv_dsl.data.world import EMPTY, FAMILIAR_KINDS, KINDS, sample_layouts, seed_of

        rng = np.random.default_rng(seed_of("drawn scene", seed, diagonal))
        grid = sample_layouts(rng, 1, diagonal, "test", FAMILIAR_KINDS).grid[0]
        return cls(["" if kind == EMPTY else KINDS[kind] for kind in grid.ravel()], seed)

    @property
    def objects(self) -> tuple[str, ...]:
        """The kinds of objects in it, each once."""
        return tuple(dict.fromkeys(filter(None, self.cells)))

    def neighbours(self, query: str) -> Mapping[str, str]:
        """What stands around an object by relation; nothing where it stands nowhere, or twice."""
        from mfv_dsl.data.world import GRID, OFFSETS

        places = [number for number, kind in enumerate(self.cells) if kind == query]
        if not query or len(places) != 1:
            return {}
        row, column = divmod(places[0], GRID)
        around = {}
        for relation, (down, right) in OFFSETS.items():
            y, x = row + down, column + right
            if 0 <= y < GRID and 0 <= x < GRID and self.cells[GRID * y + x]:
                around[relation] = self.cells[GRID * y + x]
        return around

    def middle(self) -> str:
        """The object with most neighbours, the first of several; empty in an empty scene."""
        return max(self.objects, key=lambda kind: len(self.neighbours(kind)), default="")

    def question(self, query: str) -> Prompt:
        """The zero-shot prompt that asks about ``query``, whose neighbours are known."""
        return Prompt((), Item("scene", query, query, "", self.neighbours(query)))

    def items(self, relation: str, split: str) -> tuple[Item, ...]:
        return ()

    def pictures(self, images: Sequence[str], size: int) -> list[np.ndarray]:
        import numpy as np

        from mfv_dsl.data.render import render, sample_looks
        from mfv_dsl.data.world import EMPTY, GRID, KINDS, seed_of

        looks = sample_looks(np.random.default_rng(seed_of("drawn scene", self.seed)), 1)
        kinds = [KINDS.index(kind) if kind else EMPTY for kind in self.cells]
        grid = np.array(kinds, np.int8).reshape(1, GRID, GRID)
        side = max(5 * GRID, size - size % GRID)
        return [render(grid, looks, side)[0] for _ in images]
