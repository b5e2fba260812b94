"""Arrays in containers, as files of other tools hold them: which there are, and what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mfv_dsl.library.unpickle import Numbers, Record, plain

_SHOWN = 8  # arrays that a text names
_DEEPEST = 20  # containers within containers that are looked into


def shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of an array of numbers; None for other things, single numbers among them."""
    value = plain(value)
    if not is_numeric(value):
        return None
    count = value.count if isinstance(value, Numbers) else value.size
    return None if count == 1 else tuple(value.shape)


def is_numeric(value: Any) -> bool:
    if isinstance(value, Numbers):
        return value.storage.code not in (None, "b1")
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


def is_vector(shape: tuple[int, ...]) -> bool:
    """Whether all but one of its axes have the size 1."""
    return bool(shape) and 0 not in shape and sum(size > 1 for size in shape) == 1


def name_of(value: Any, longest: int = 80) -> str:
    """A key or a word of a file as text, cut where it is long."""
    try:
        text = str(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a number of very many digits"
    return text if len(text) <= longest else f"{text[:longest]}…"


def described(value: Any) -> str:
    """What a value is, in a few words."""
    value = plain(value)
    shape = value.shape if isinstance(value, Numbers | np.ndarray) else None
    if shape is not None:
        return f"an array of shape ({', '.join(map(str, shape))})"
    if isinstance(value, Record):
        return f"a {value.name}"
    if isinstance(value, bool | int | float | str):
        return str(value)[:40] if isinstance(value, str) else f"a {type(value).__name__}"
    return {"_Dict": "a dict", "NoneType": "nothing"}.get(
        type(value).__name__, f"a {type(value).__name__}"
    )


def entries(tree: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The arrays in containers, each container once, with their paths and shapes."""
    waiting: list[tuple[str, Any, int]] = [("", plain(tree), 0)]
    seen: set[int] = set()
    while waiting:
        path, value, depth = waiting.pop()
        if (shape := shape_of(value)) is not None:
            yield path.removeprefix("/"), shape
            continue
        if id(value) in seen or depth > _DEEPEST:
            continue
        seen.add(id(value))
        value = value.state if isinstance(value, Record) else value
        parts = list(value.items()) if isinstance(value, dict) else []
        if isinstance(value, list | tuple):
            parts = list(enumerate(value))
        waiting += [(f"{path}/{name_of(key, 60)}", plain(part), depth + 1)
                    for key, part in reversed(parts)]  # fmt: skip


def listed(tree: Any) -> str:
    names = [f"{path} ({', '.join(map(str, shape))})" for path, shape in entries(tree)]
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*names[:_SHOWN], *more]) or "no arrays"
