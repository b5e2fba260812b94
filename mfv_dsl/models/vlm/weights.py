"""How much memory a model's weights take, from the heads of its files; no torch."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

from mfv_dsl.base.facts import PRECISIONS
from mfv_dsl.models.vlm.folder import weight_files
from mfv_dsl.models.weight_counts import shapes_in

#: What ``quantize`` may say, and the bytes that a number of a decoder layer's matrices then takes,
#: its share of the scales included.
PACKED = {"nf4": 0.5 + 4 / 64, "int8": 1.0}
#: Matrices of decoder layers by their names in files; of vision towers and adapters they differ in
#: what stands before.
_LAYER = re.compile(r"(?P<before>.*?)\b(layers|blocks)\.\d+\..*\.weight")
_OTHERS = ("vis", "vit", "encoder", "perceiver", "connector")


def weight_bytes(folder: Path, dtype: str, quantize: str = "none") -> int:
    """About how many bytes the weights in ``folder`` take where they run in ``dtype``; 0 where a
    file's head cannot be read."""
    try:
        sizes = [
            (_is_packed(name, shape), prod(shape))
            for file in weight_files(folder) for name, shape in shapes_in(file)
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):  # loading says what is wrong
        return 0
    inside = sum(size for packed, size in sizes if packed)
    return held_bytes(sum(size for _, size in sizes), inside, dtype, quantize)


def held_bytes(parameters: float, inside: float, dtype: str, quantize: str = "none") -> int:
    """The bytes of ``parameters``, of which ``inside`` are in the matrices of decoder layers."""
    plain = PRECISIONS[dtype]
    return round((parameters - inside) * plain + inside * PACKED.get(quantize, plain))


def _is_packed(name: str, shape: tuple[int, ...]) -> bool:
    match = _LAYER.fullmatch(name)
    return len(shape) == 2 and match is not None and not any(o in match["before"] for o in _OTHERS)
