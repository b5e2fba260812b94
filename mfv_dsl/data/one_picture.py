"""A picture of the user's own, to ask one question about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mfv_dsl.data.images import read_rgb
from mfv_dsl.data.items import Item, Prompt

if TYPE_CHECKING:
    import numpy as np


class OnePicture:
    """A dataset of one image file and no items; the image's id is its path."""

    relations: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    at_once = 1
    hash = ""

    def __init__(self, path: str | Path) -> None:
        self.name = str(Path(path))
        self.picture = read_rgb(Path(path))

    @classmethod
    def of(cls, file: BinaryIO, name: str) -> OnePicture:
        """The picture in an open file, which errors call ``name``."""
        picture = cls.__new__(cls)
        picture.name, picture.picture = name, read_rgb(file, name)
        return picture

    def items(self, relation: str, split: str) -> tuple[Item, ...]:
        return ()

    def pictures(self, images: Sequence[str], size: int) -> list[np.ndarray]:
        return [self.picture for _ in images]

    def question(self, query: str) -> Prompt:
        """The zero-shot prompt that asks about ``query``.

        Nothing knows its answer, so the query stands in the answer's place, and nothing is to be
        scored against it.
        """
        return Prompt((), Item(self.name, query, query, ""))
