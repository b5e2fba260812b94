"""Objects in a few words: what stands in a tensor or a list of thousands is not written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import PurePath
from typing import Any

_LONGEST, _ITEMS = 60, 6


def short(value: object) -> str:
    """A value in at most a line.

    >>> short([1, 2]), short(list(range(1000))), short({"a": 1}), short("x" * 1000)[:5]
    ('[1, 2]', '1000 x int', '1 entry', "'xxxx")
    """
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 10**_LONGEST else "a long number"
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= _LONGEST else f"{value[:_LONGEST]!r} …"
    if isinstance(value, PurePath):
        return short(str(value))
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__.lower()} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{len(value)} {'entry' if len(value) == 1 else 'entries'}"
    if isinstance(value, list | tuple | set | frozenset):
        items = [short(item) for item in value] if len(value) <= _ITEMS else []
        text = f"[{', '.join(items)}]"
        if len(value) <= _ITEMS and len(text) <= 2 * _LONGEST:
            return text
        kinds = sorted({type(item).__name__ for item in value})
        return f"{len(value)} x {' or '.join(kinds[:3])}"
    return kind_of(value)


def names(values: Any, most: int = 8) -> str:
    """The first of several names, and how many more there are.

    >>> names("abcdefghij", most=3)
    'a, b, c and 7 more'
    """
    listed = [str(value)[:_LONGEST] for value in values]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def kind_of(value: object) -> str:
    """The name of a value's class, as its users call it."""
    return type(value).__name__.removeprefix("Interactive")


class Short:
    """A dataclass whose ``repr`` has each of its fields in a few words; its ``dataclass`` decorator
    needs ``repr=False``."""

    def __repr__(self) -> str:
        own: Any = self
        parts = [f"{f.name}={short(getattr(self, f.name))}" for f in fields(own) if f.repr]
        return f"{kind_of(self)}({', '.join(parts)})"
