"""How many weights the parts of a model have, from the headers of its files.  No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

from mfv_dsl.base.files import open_regular
from mfv_dsl.base.texts import parse_json

_OUTPUT = ("lm_head.weight", "embed_out.weight")
_EMBEDDINGS = ("embed_in.weight", "embed_tokens.weight", "wte.weight")
_VISION = ("vision", "visual", "perceiver", "projector", "connector", "merger")


class WeightCounts(NamedTuple):
    """Weights of ``all`` the model, of a decoder ``layer`` on average, of the ``output`` head, and
    of what encodes pictures (``vision``); zeros where they cannot be read."""

    all: int = 0
    layer: int = 0
    output: int = 0
    vision: int = 0


def count_weights(files: Iterable[Path], n_layers: int) -> WeightCounts:
    """The weights in safetensors ``files`` of a model of ``n_layers`` decoder layers.

    An output head that has no weights of its own is the input embedding.  Files of another kind, or
    ones that cannot be read, give zeros: nothing but estimates follows from these numbers.
    """
    total = output = embedding = vision = 0
    for file in files:
        for name, size in _sizes(file):
            total += size
            if name.endswith(_OUTPUT):
                output += size
            elif name.endswith(_EMBEDDINGS):
                embedding += size
            elif any(part in name for part in _VISION):
                vision += size
    layers = total - vision - output - embedding
    return WeightCounts(total, layers // max(1, n_layers), output or embedding, vision)


def shapes_in(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of everything in a safetensors ``file``, from its header.

    Raises OSError for a file that cannot be read, and ValueError, KeyError, TypeError or
    AttributeError for one of another kind.
    """
    with open_regular(file) as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= file.stat().st_size:
            raise ValueError("no safetensors")
        for name, entry in parse_json(stream.read(length).decode()).items():
            if name != "__metadata__":
                yield name, tuple(entry["shape"])


def _sizes(file: Path) -> list[tuple[str, int]]:
    """The tensors of a file, each with how many numbers it has; none where it cannot be read."""
    try:
        return [(name, prod(shape)) for name, shape in shapes_in(file)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError):
        return []
