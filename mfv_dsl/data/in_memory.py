"""The dataset ``in_memory("name", hash="…")``: items that a Python program holds.

:func:`mfv_dsl.dataset` makes one of a program's own objects; this call is what a recipe calls it,
its hash being that of all its items and pictures.  It is found as long as the program holds it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from weakref import WeakValueDictionary

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.origin import Origin
from mfv_dsl.data.image_files import ImageFile
from mfv_dsl.data.images import MAX_PIXELS, read_rgb
from mfv_dsl.data.json_values import BadValue
from mfv_dsl.data.table import FileDataset, Table

if TYPE_CHECKING:
    import numpy as np


class MemoryDataset(FileDataset):
    """A table with pictures of which some are in memory, by their names."""

    def __init__(self, table: Table, pixels: Mapping[str, np.ndarray], name: str) -> None:
        super().__init__(table)
        self.pixels = pixels
        self.origin = Origin("in_memory", {"name": name, "hash": table.hash})
        _OPENED[name, table.hash] = self

    def pictures(self, images: Sequence[str], size: int) -> list[np.ndarray]:
        """As large as they were given."""
        return [
            self.pixels[image]
            if image in self.pixels
            else read_rgb(self.table.images[image].open(), image)
            for image in images
        ]


#: The datasets that this program holds, by name and hash.
_OPENED: WeakValueDictionary[tuple[str, str], MemoryDataset] = WeakValueDictionary()


def dataset(name: str, hash: str) -> MemoryDataset:
    """The dataset of this name and hash; MfvError (MFV7143) where the program holds none."""
    opened = _OPENED.get((name, hash))
    if opened is None:
        raise MfvError(
            "MFV7143", f"the dataset `{name}` is in the memory of a Python program, not in files",
            help="run the recipe from that program, with `dataset=mfv_dsl.dataset(items)`; or put "
            "the items into files, which `pairs` reads",
        )  # fmt: skip
    return opened


def facts(name: str, hash: str) -> DatasetFacts:
    """What is known of the dataset; raises as :func:`dataset`."""
    return dataset(name, hash).table.facts


# -- pictures of a program's own ------------------------------------------------------------------
def pixels_of(picture: Any) -> np.ndarray:
    """A picture as (height, width, 3) uint8 that nobody can change.

    ``picture`` is one of Pillow's, bytes of an image file, an array of numpy (height, width, 3) or
    (height, width), or a tensor of torch, (3, height, width) or (height, width, 3); numbers are
    whole from 0 to 255, or fractions from 0 to 1.  Raises BadValue for anything else.
    """
    import numpy as np

    if isinstance(picture, bytes):
        try:
            array = read_rgb(io.BytesIO(picture), "of bytes")
        except MfvError as error:
            raise BadValue(error.message) from None
    elif hasattr(picture, "convert") and hasattr(picture, "mode"):
        if picture.width * picture.height > MAX_PIXELS:
            raise BadValue(f"the image has {picture.width:,} × {picture.height:,} pixels")
        if picture.mode.startswith(("I", "F")):
            raise BadValue(f"the image has values of more than 8 bits (mode {picture.mode})")
        array = np.asarray(picture.convert("RGB"))
    else:
        array = _of_numbers(picture)
    array = np.array(array, dtype=np.uint8, order="C")  # a copy: what is hashed stays
    array.setflags(write=False)
    return array


def _of_numbers(picture: Any) -> np.ndarray:
    import numpy as np

    is_tensor = type(picture).__module__.partition(".")[0] == "torch"
    if is_tensor:
        picture = picture.detach().cpu()
        array = (picture.float() if picture.is_floating_point() else picture).numpy()
        if array.ndim == 3 and array.shape[0] in (1, 3):
            array = np.moveaxis(array, 0, -1)
    elif isinstance(picture, np.ndarray):
        array = picture
    else:
        raise BadValue(f"its image is a {type(picture).__name__}, neither a picture nor a path")
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise BadValue(f"its image has the shape {tuple(picture.shape)}, not (height, width, 3)")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise BadValue(f"the image has {array.shape[1]:,} × {array.shape[0]:,} pixels")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "fiu":
        raise BadValue(f"its image has numbers of the kind {array.dtype}, not uint8 or fractions")
    most = 1 if array.dtype.kind == "f" else 255
    if not (float(array.min()) >= 0 and float(array.max()) <= most):  # nor is NaN
        raise BadValue(f"its image has numbers beyond 0 to {most}: undo what normalises it")
    return np.rint(array * 255) if most == 1 else array


def kept(array: np.ndarray) -> tuple[str, ImageFile]:
    """The name of a picture in memory, which its pixels make, and what opens it as a file."""
    digest = hashlib.sha256(f"{array.shape}".encode() + array.tobytes()).hexdigest()
    return f"memory/{digest[:32]}", ImageFile(partial(_png, array), array.nbytes, content=digest)


def _png(array: np.ndarray) -> BinaryIO:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    file.seek(0)
    return file


def path_of(picture: Any) -> str | None:
    """The path that a picture is given by; None where it is given itself."""
    return str(picture) if isinstance(picture, str | Path) else None
