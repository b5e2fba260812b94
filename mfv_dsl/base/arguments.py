"""What users hand to the Python interface, looked at before anything is done with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from os import PathLike, fspath
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.layers import numbers_of, together
from mfv_dsl.base.suggest import did_you_mean


class ArgumentError(MfvError, TypeError):
    """A value of the wrong type, or a number that makes no sense (MFV5119)."""

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__("MFV5119", message, help)


def shown(value: object) -> str:
    """A value in an error message: short, whatever it is.

    >>> shown("left"), shown(None), shown(list(range(1000)))
    ("'left'", 'None', 'a list')
    """
    simple = value is None or isinstance(value, bool | int | float | str | bytes)
    try:
        text = repr(value) if simple else ""
    except ValueError:  # an int of more digits than Python writes
        text = ""
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    return text if text and len(text) <= 60 else f"{article} {kind}"


def plain_number(value: object) -> int | float | None:
    """A number of Python, numpy or torch (of one element) as Python's own; None of all else, truth
    values among it.

    >>> plain_number(2), plain_number(0.5), plain_number(True), plain_number("2")
    (2, 0.5, None, None)
    """
    if isinstance(value, bool):
        return None
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # of numpy or torch
        if isinstance(value, bool):
            return None
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def number(value: object, what: str) -> int | float:
    """``value`` as a finite number.  Raises ArgumentError, which calls it ``what``.

    >>> number(0.5, "scale")
    0.5
    """
    found = plain_number(value)
    if found is None:
        raise ArgumentError(f"{what} has to be a number, and this is {shown(value)}")
    if not is_finite(found):
        raise ArgumentError(f"{what} has to be a finite number, and this is {shown(found)}")
    return found


def is_finite(value: int | float) -> bool:
    """Whether a number is one that a calculation can hold."""
    return abs(value) <= 1e300 if isinstance(value, int) else math.isfinite(value)


def whole(value: object, what: str, least: int = 0) -> int:
    """``value`` as a whole number of at least ``least``.  Raises ArgumentError.

    >>> whole(3, "layer")
    3
    """
    found = plain_number(value)
    if found is None or not is_finite(found) or found != int(found) or found < least:
        raise ArgumentError(
            f"{what} has to be a whole number of at least {least}, and this is {shown(value)}"
        )
    return int(found)


def layer_of(value: object) -> int | str:
    """A layer's number, ``native``, or several layers together: a set of numbers, or its text.
    Raises ArgumentError for anything else.

    >>> layer_of(3), layer_of("native"), layer_of({5, 3}), layer_of("{3, 5}")
    (3, 'native', '{3, 5}', '{3, 5}')
    """
    if isinstance(value, set | frozenset) and len(value) > 1:
        return together(whole(one, "layer") for one in value)
    if isinstance(value, str):
        if value == "native":
            return value
        if layers := numbers_of(value):
            return together(layers)
        raise ArgumentError(f"a layer is a number or `native`, and this is {shown(value)}")
    return whole(value, "layer")


def text(value: object, what: str) -> str:
    """``value`` as text.  Raises ArgumentError."""
    if isinstance(value, str):
        return value
    raise ArgumentError(f"{what} has to be text, and this is {shown(value)}")


def path(value: object, what: str) -> str:
    """``value`` as the text of a path.  Raises ArgumentError."""
    if isinstance(value, str | PathLike):
        found = fspath(value)
        if isinstance(found, str) and found and "\0" not in found:
            return found
    raise ArgumentError(f"{what} has to be a path, and this is {shown(value)}")


def is_truth(value: object) -> bool:
    """Whether a value is True or False, or numpy's."""
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def truth(value: object, what: str) -> bool:
    """``value`` as True or False, numpy's among them.  Raises ArgumentError."""
    if is_truth(value):
        return bool(value)
    raise ArgumentError(f"{what} has to be True or False, and this is {shown(value)}")


def texts(value: object, what: str) -> tuple[str, ...]:
    """``value`` as texts; one text alone is one.  Raises ArgumentError.

    >>> texts("raw", "only"), texts(["raw", "few"], "only")
    (('raw',), ('raw', 'few'))
    """
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple | set | frozenset):
        parts: tuple[Any, ...] = tuple(value)
        if all(isinstance(part, str) for part in parts):
            return parts
    raise ArgumentError(f"{what} has to be a text or a list of texts, and this is {shown(value)}")


def by_name(value: object, what: str) -> dict[str, Any]:
    """``value`` as a mapping of names.  Raises ArgumentError.

    >>> by_name({"layer": "Where it is added."}, "docs")
    {'layer': 'Where it is added.'}
    """
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return dict(value)
    raise ArgumentError(f"{what} has to be a mapping of names, and this is {shown(value)}")


def known_options(given: Iterable[str], known: Iterable[str], of: str) -> None:
    """Raises ArgumentError for a name in ``given`` that is not one of ``known``."""
    names = list(known)
    for name in given:
        if name not in names:
            raise ArgumentError(
                f"{of} takes no {name!r}",
                did_you_mean(name, names, f"it takes {', '.join(names) or 'nothing'}"),
            )
