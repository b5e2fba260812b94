"""``mfv data make``: rendered scenes as files, in the layout of the official synthetic images.

Image *i* is a function of the seed and of *i* alone, so that the files do not depend on how many
processes draw them.  ``metadata.csv`` is written last: a folder that has it is complete.
"""

from __future__ import annotations

import csv
import io
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mfv_dsl.base.disk import disk_trouble, folder_for
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.data import thing_scenes, world
from mfv_dsl.data.items import SPLITS
from mfv_dsl.data.metadata_csv import TABLE
from mfv_dsl.data.render import render, sample_looks
from mfv_dsl.data.scenes import facts

_VERSION = 1  # raise when the same arguments would give other files
#: format -> how Pillow writes it: quick before small, and no loss that matters
FORMATS: Mapping[str, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1},
    "jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


@dataclass(frozen=True)
class Order:
    """What is to be made; ``size`` to ``objects`` mean what they mean in ``scenes(...)``.

    MfvError (MFV7118, and those of ``scenes``) for what cannot be made.
    """

    out: Path
    count: int
    size: int = 800
    relations: tuple[str, ...] = world.CARDINAL
    seed: int = 0
    kinds: str = "things"
    objects: str = "familiar"
    format: str = "png"

    def __post_init__(self) -> None:
        facts(self.relations, objects=self.objects, size=self.size, kinds=self.kinds)
        if self.format not in FORMATS:
            raise MfvError(
                "MFV7118", f"images are not written as `{self.format}`",
                help=f"the formats are {', '.join(FORMATS)}",
            )  # fmt: skip
        if self.count < 1:
            raise MfvError("MFV7118", f"{self.count} images cannot be made")
        if self.kinds == "shapes" and self.objects == "novel":
            raise MfvError(
                "MFV7118", "no picture can be made of novel shapes alone: there are only "
                f"{len(world.NOVEL_KINDS)}", help="use kinds things, or objects familiar or all",
            )  # fmt: skip


@dataclass(frozen=True)
class PictureObject:
    """An object of a picture: name, middle and size in pixels."""

    name: str
    x: int
    y: int
    side: int


def make(order: Order, workers: int, done: Callable[[int], None]) -> None:
    """Draw and write all images, then the table.

    Args:
        order: What to make, and the folder.
        workers: How many processes draw.
        done: Called with the number of images that are finished since the call before.

    Raises:
        MfvError: MFV7118 if the folder already holds a dataset, or cannot be made.
    """
    if (order.out / TABLE).exists():
        raise MfvError(
            "MFV7118", f"{order.out} already holds a dataset",
            help="name another folder by --out, or remove it first",
        )  # fmt: skip
    with folder_for(order.out, what="cannot make", code="MFV7118"), disk_trouble(order.out):
        _make(order, workers, done)


def unfinished(order: Order) -> str:
    """What is left of an order that was not finished."""
    images = len(list(order.out.glob(f"image_*.{order.format}")))
    return (
        f"{images} of {order.count} images are in {order.out}, which is no dataset yet; "
        "they are drawn again, the same"
    )


def _make(order: Order, workers: int, done: Callable[[int], None]) -> None:
    rows = []
    for row in _rows(order, workers):
        rows.append(row)
        done(1)
    names = [f"{relation}_object" for relation in order.relations]
    objects = ["anchor", *names, "random_object1"]
    columns = ["image_name", *objects, *(f"{n}_pos" for n in objects),
               *(f"{n}_size" for n in objects)]  # fmt: skip
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_atomically(order.out / TABLE, text.getvalue().encode())


def _rows(order: Order, workers: int) -> Iterator[dict[str, str]]:
    """The rows of the table in order, each when its image is written."""
    work = partial(_write, order)
    if workers < 2:
        yield from map(work, range(order.count))
        return
    # "spawn", because forking a process that has threads may hang it
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        with _deaf_to_interrupts():
            rows = pool.map(work, range(order.count), chunksize=8)
        yield from rows


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that are started within do not hear Ctrl-C: the one that started them ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write(order: Order, number: int) -> dict[str, str]:
    """Draw and write one image; its row of the table."""
    rng = np.random.default_rng(
        world.seed_of("make", _VERSION, order.seed, order.kinds, order.objects, number)
    )
    straight = [relation for relation in order.relations if relation in world.CARDINAL]
    slanted = [relation for relation in order.relations if relation in world.DIAGONAL]
    diagonal = bool(slanted) and (not straight or number % 2 == 1)
    relations = slanted if diagonal else straight
    draw = _shapes if order.kinds == "shapes" else _things
    picture, objects = draw(rng, order, diagonal, relations, number)
    name = f"image_{number + 1}.{order.format}"
    data = io.BytesIO()
    Image.fromarray(picture).save(data, **FORMATS[order.format])
    write_atomically(order.out / name, data.getvalue(), durable=False)
    row = {"image_name": name}
    for role, thing in objects.items():
        row |= {role: thing.name, f"{role}_pos": f"{thing.x} {thing.y}",
                f"{role}_size": f"{thing.side} {thing.side}"}  # fmt: skip
    return row


def _things(
    rng: np.random.Generator, order: Order, diagonal: bool, relations: list[str], number: int
) -> tuple[np.ndarray, dict[str, PictureObject]]:
    kinds = thing_scenes.sample_kinds(rng, order.objects, diagonal, relations)
    scene = thing_scenes.place(rng, kinds, diagonal)
    roles = {"anchor": scene.anchor, "random_object1": scene.distractor}
    roles |= {f"{relation}_object": scene.neighbours[relation] for relation in relations}
    size = order.size
    return thing_scenes.paint(scene, size), {
        role: PictureObject(thing.kind, round(thing.x * size), round(thing.y * size),
                    round(thing.side * size))
        for role, thing in roles.items()
    }  # fmt: skip


def _shapes(
    rng: np.random.Generator, order: Order, diagonal: bool, relations: list[str], number: int
) -> tuple[np.ndarray, dict[str, PictureObject]]:
    """A layout of one of the four splits, so none that the bundled model was trained on."""
    kinds = world.FAMILIAR_KINDS if order.objects == "familiar" else world.KINDS
    layout = world.sample_layouts(rng, 1, diagonal, SPLITS[number % len(SPLITS)], kinds)
    looks = sample_looks(rng, 1)
    row, column = (int(place) for place in layout.anchor[0])
    cells = {"anchor": (row, column)}
    around = world.DIAGONAL if diagonal else world.CARDINAL
    beside = {name: (row + world.OFFSETS[name][0], column + world.OFFSETS[name][1])
              for name in around}  # fmt: skip
    cells |= {f"{relation}_object": beside[relation] for relation in relations}
    others = {cells["anchor"], *beside.values()}
    full = zip(*np.nonzero(layout.grid[0] != world.EMPTY), strict=True)
    (distractor,) = [(int(y), int(x)) for y, x in full if (int(y), int(x)) not in others]
    cells["random_object1"] = distractor
    cell = order.size / world.GRID
    return render(layout.grid, looks, order.size)[0], {
        role: PictureObject(
            world.KINDS[layout.grid[0, y, x]],
            round((x + 0.5 + looks.jitter[0, y, x, 1] / 10) * cell),
            round((y + 0.5 + looks.jitter[0, y, x, 0] / 10) * cell),
            round(0.8 * cell),
        )
        for role, (y, x) in cells.items()
    }
