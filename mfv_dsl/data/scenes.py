"""The dataset ``scenes(...)``: rendered scenes of shapes or of things, drawn from a seed."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.origin import Origin
from mfv_dsl.base.short import short
from mfv_dsl.data.choices import Choice
from mfv_dsl.data.items import SPLITS, Item

if TYPE_CHECKING:
    import numpy as np

    from mfv_dsl.data.render import Looks
    from mfv_dsl.data.thing_scenes import ThingScene
    from mfv_dsl.data.world import Layouts

RELATIONS = (
    "left", "right", "above", "below", "above_left", "above_right", "below_left", "below_right",
)  # fmt: skip
OBJECTS = ("familiar", "novel", "all")
KINDS = ("shapes", "things")
#: Items of a relation and split that are drawn at once, at most: more take minutes and gigabytes.
MOST = 100_000
_VERSION = 1  # raise when the same arguments would give other pictures or items


def facts(
    relations: Sequence[str] = RELATIONS,
    seed: int = 0,
    count: int = 240,
    objects: str = "familiar",
    size: int | None = None,
    kinds: str = "shapes",
) -> DatasetFacts:
    """Facts of ``scenes(...)`` without drawing anything; arguments as in a recipe.

    MfvError: MFV7101 for a relation that cannot be drawn, MFV7102 for none or one named twice,
    MFV7103 for a size, MFV7104 for a count, MFV7105 for objects or kinds that there are not.

    >>> facts(["left", "right"], count=10).description
    'rendered scenes, 10 a relation and split, familiar objects'
    """
    unknown = [relation for relation in relations if relation not in RELATIONS]
    if unknown:
        raise MfvError(
            "MFV7101",
            f"scenes() cannot draw the relation `{unknown[0]}`",
            help=f"its relations are {', '.join(RELATIONS)}",
        )
    if not relations or len(set(relations)) < len(relations):
        raise MfvError("MFV7102", "scenes() needs one or more relations, each named once")
    if size is not None and (size % 4 or size < 20):
        raise MfvError(
            "MFV7103", f"a scene's size must be a multiple of 4, at least 20; got {size}"
        )
    if not 2 <= count <= MOST:
        raise MfvError(
            "MFV7104",
            f"scenes() draws from 2 to {MOST:,} items a relation and split; got {count:,}",
            argument="count",
        )  # fmt: skip
    if objects not in OBJECTS:
        raise MfvError("MFV7105", f"scenes() knows the objects {', '.join(OBJECTS)}; got {objects}")
    if kinds not in KINDS:
        raise MfvError("MFV7105", f"scenes() draws {' or '.join(KINDS)}; got {kinds}")
    identity = ["scenes", _VERSION, list(relations), seed, count, objects, size]
    of_things = ""
    if kinds != "shapes":
        identity.append(kinds)
        of_things = f" of {kinds}"
    return DatasetFacts(
        relations=tuple(relations),
        splits=SPLITS,
        hash=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        description=f"rendered scenes{of_things}, {count} a relation and split, {objects} objects",
        counts={relation: dict.fromkeys(SPLITS, count) for relation in relations},
        asks=("choice",),
        options=4.0,
    )


def _item(image: str, query: str, relation: str, neighbours: Mapping[str, str]) -> Item:
    """An item, with the choice between the objects around its query; their order, that of the
    alphabet, tells nothing of where they are."""
    answer, options = neighbours[relation], tuple(sorted(neighbours.values()))
    choice = Choice(options, options.index(answer))
    return Item(image, query, answer, relation, neighbours, choice=choice)


def dataset(**arguments: Any) -> Scenes | ThingScenes:
    """The dataset ``scenes(...)``."""
    return (ThingScenes if arguments.get("kinds") == "things" else Scenes)(**arguments)


class _Rendered(ABC):
    """What rendered scenes of both kinds have; a pool is what is drawn for one relation and split,
    its items last."""

    at_once = 256

    def __init__(self, **arguments: Any) -> None:
        about = facts(**arguments)
        self.origin = Origin("scenes", arguments)
        self.relations, self.splits, self.hash = about.relations, about.splits, about.hash
        self.seed: int = arguments.get("seed", 0)
        self.count: int = arguments.get("count", 240)
        self.objects: str = arguments.get("objects", "familiar")
        self.size: int | None = arguments.get("size")
        self._pools: dict[tuple[str, str], Any] = {}

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={short(value)}" for name, value in self.origin.arguments.items())
        return f"<scenes({given})>"

    def items(self, relation: str, split: str) -> tuple[Item, ...]:
        items: tuple[Item, ...] = self._pool(relation, split)[-1]
        return items

    def pictures(self, images: Sequence[str], size: int) -> list[np.ndarray]:
        pictures = []
        for image in images:
            relation, split, number = image.split("/")
            pool = self._pool(relation, split)
            pictures.append(self._picture(pool, int(number), self.size or size))
        return pictures

    def _pool(self, relation: str, split: str) -> Any:
        """What is drawn for a relation and split, drawn when it is first asked for."""
        if (relation, split) not in self._pools:
            if relation not in self.relations or split not in self.splits:
                raise KeyError(f"no items for relation {relation!r}, split {split!r}")
            self._pools[relation, split] = self._draw(relation, split)
        return self._pools[relation, split]

    @abstractmethod
    def _draw(self, relation: str, split: str) -> Any:
        """Draw a pool."""

    @abstractmethod
    def _picture(self, pool: Any, number: int, side: int) -> np.ndarray:
        """The picture of a pool's item, (side, side, 3)."""


class Scenes(_Rendered):
    """Rendered scenes of coloured shapes: ``count`` items for each relation and split.

    ``objects`` says which kinds of object the query and the answer are: ``familiar`` ones,
    ``novel`` ones (which the bundled model never met in an in-context sequence), or ``all``.
    """

    def cell(self, image: str) -> int:
        """The cell of an image's query object: 0 to 15, row by row from the top left."""
        from mfv_dsl.data.world import GRID

        relation, split, number = image.split("/")
        row, column = self._pool(relation, split)[0].anchor[int(number)]
        return int(GRID * row + column)

    def _picture(
        self, pool: tuple[Layouts, Looks, tuple[Item, ...]], number: int, side: int
    ) -> np.ndarray:
        from mfv_dsl.data.render import render

        layouts, looks, _ = pool
        here = slice(number, number + 1)
        return render(layouts[here].grid, looks[here], side)[0]

    def _draw(self, relation: str, split: str) -> tuple[Layouts, Looks, tuple[Item, ...]]:
        import numpy as np

        from mfv_dsl.data import world
        from mfv_dsl.data.render import sample_looks

        rng = np.random.default_rng(
            world.seed_of("scenes", _VERSION, self.seed, relation, split, self.objects)
        )
        diagonal = relation in world.DIAGONAL
        layouts = world.sample_layouts(
            rng,
            self.count,
            diagonal,
            split,
            world.FAMILIAR_KINDS if self.objects == "familiar" else world.KINDS,
            novel=relation if self.objects == "novel" else None,
        )
        neighbours = {
            name: layouts.neighbour_kind(name)
            for name in (world.DIAGONAL if diagonal else world.CARDINAL)
        }
        queries = layouts.anchor_kind()
        items = tuple(
            _item(
                f"{relation}/{split}/{i}",
                world.KINDS[queries[i]],
                relation,
                {name: world.KINDS[kinds[i]] for name, kinds in neighbours.items()},
            )
            for i in range(self.count)
        )
        return layouts, sample_looks(rng, self.count), items


class ThingScenes(_Rendered):
    """Rendered scenes of drawn things: ``count`` items for each relation and split.

    ``objects`` says which kinds of thing the query and the answer are: ``familiar``, ``novel``
    (held out) or ``all``.
    """

    at_once = 1

    def _picture(
        self, pool: tuple[tuple[ThingScene, ...], tuple[Item, ...]], number: int, side: int
    ) -> np.ndarray:
        from mfv_dsl.data.thing_scenes import paint

        return paint(pool[0][number], side)

    def _draw(self, relation: str, split: str) -> tuple[tuple[ThingScene, ...], tuple[Item, ...]]:
        """Scenes whose arrangement belongs to the split: no arrangement is in two splits."""
        import numpy as np

        from mfv_dsl.data import thing_scenes, world

        seed = world.seed_of("things", _VERSION, self.seed, relation, split, self.objects)
        rng = np.random.default_rng(seed)
        diagonal = relation in world.DIAGONAL
        scenes: list[ThingScene] = []
        while len(scenes) < self.count:
            kinds = thing_scenes.sample_kinds(rng, self.objects, diagonal, (relation,))
            if SPLITS[thing_scenes.arrangement(kinds, diagonal) % len(SPLITS)] == split:
                scenes.append(thing_scenes.place(rng, kinds, diagonal))
        items = tuple(
            _item(
                f"{relation}/{split}/{number}",
                scene.anchor.kind,
                relation,
                {name: thing.kind for name, thing in scene.neighbours.items()},
            )
            for number, scene in enumerate(scenes)
        )
        return tuple(scenes), items
