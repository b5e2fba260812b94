"""Items, prompts and the protocol of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mfv_dsl.data.choices import Choice

if TYPE_CHECKING:
    import numpy as np

#: The splits of every dataset that does not name its own.
SPLITS = ("extract", "train", "validation", "test")


@dataclass(frozen=True)
class Item:
    """An image, a query object, and the object that stands in ``relation`` to it.

    ``neighbours`` names, for every relation that the image shows of the query object, the object
    that would be its answer; it includes ``relation`` itself.  ``place`` is where the item stands
    in its file, such as ``line 3``.  ``choice`` is the question with options that the set asks
    about the image, None where it asks none.
    """

    image: str
    query: str
    answer: str
    relation: str
    neighbours: Mapping[str, str] = field(default_factory=dict, compare=False)
    place: str = field(default="", compare=False, repr=False)
    choice: Choice | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Prompt:
    """Demonstrations, then a query whose answer is wanted.  The relation is never named.

    ``whole``: the queries are no names but whole texts, such as a question and its options, and are
    written as such.
    """

    demonstrations: tuple[Item, ...]
    query: Item
    whole: bool = False

    @property
    def images(self) -> tuple[str, ...]:
        """Image ids in the order they are shown, the query's last."""
        return (*(item.image for item in self.demonstrations), self.query.image)


class Dataset(Protocol):
    """Items by relation and split, and their pictures.

    ``at_once`` is how many pictures are best loaded in one go, at most 256: one where each takes
    time and memory of its own, many where they are rendered together.
    """

    at_once: int
    relations: tuple[str, ...]
    splits: tuple[str, ...]
    hash: str

    def items(self, relation: str, split: str) -> Sequence[Item]:
        """All items of one relation and split, in a fixed order."""

    def pictures(self, images: Sequence[str], size: int) -> list[np.ndarray]:
        """Pictures by image id, each (height, width, 3) uint8.

        ``size`` is the side that the asking model wants; datasets of files ignore it.
        """
