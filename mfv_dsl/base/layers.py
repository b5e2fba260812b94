"""Decoder layers that are written to together, as one value: ``{3, 5}``."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SET = re.compile(r"\{(\d+(?:, \d+)+)\}")


def together(layers: Iterable[int]) -> int | str:
    """Layers as one value, which is the same whatever their order; of one layer its number.

    >>> together([5, 3]), together([4])
    ('{3, 5}', 4)
    """
    numbers = sorted(set(layers))
    return numbers[0] if len(numbers) == 1 else f"{{{', '.join(map(str, numbers))}}}"


def numbers_of(layer: object) -> tuple[int, ...]:
    """The numbers of the layers that a value stands for; none for ``native`` and for no layer.

    >>> numbers_of("{3, 5}"), numbers_of(4), numbers_of("native"), numbers_of(None)
    ((3, 5), (4,), (), ())
    """
    if isinstance(layer, int):
        return (layer,)
    found = _SET.fullmatch(layer) if isinstance(layer, str) else None
    return tuple(map(int, found[1].split(", "))) if found else ()
