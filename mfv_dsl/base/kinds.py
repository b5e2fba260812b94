"""Kinds of values, as fields of dataclasses are annotated with them: what fits, what it is called,
and what a text stands for.  TOML tables and options of commands are read by them."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_KINDS = {
    str: "a text", bool: "true or false", int: "a whole number", float: "a number",
    NoneType: "nothing",
}  # fmt: skip


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of a kind; a whole number is a number, and a truth value is none.

    >>> fits(3, int | None), fits(True, int), fits(2, float), fits(("a", 1), tuple[str, ...])
    (True, False, True, False)
    """
    origin = get_origin(kind)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in get_args(kind))
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(one, get_args(kind)[0]) for one in value)
    if origin is dict:
        _, inner = get_args(kind)
        return isinstance(value, dict) and all(
            isinstance(name, str) and fits(one, inner) for name, one in value.items()
        )
    return kind is Any or type(value) is kind or (kind is float and type(value) is int)


def told(kind: Any) -> str:
    """A kind in words.

    >>> told(tuple[str, ...]), told(int | None), told(Literal["a", "b"])
    ('a list, each a text', 'a whole number', 'one of "a", "b"')
    """
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(told(one) for one in get_args(kind) if one is not NoneType)
    if origin is tuple:
        return f"a list, each {told(get_args(kind)[0])}"
    if origin is dict:
        inner = get_args(kind)[1]
        return "a table" if inner is Any else f"a table, each {told(inner)}"
    return _KINDS.get(kind, str(kind))


def from_text(text: str, kind: Any) -> object:
    """The value of a kind that a text on a command line stands for: of a list the one element, of
    ``dict[str, X]`` the value of one key.  Raises ValueError where it stands for none.

    >>> from_text("4", int | None), from_text("true", bool | str), from_text("a, b", str)
    (4, True, 'a, b')
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        for one in sorted(get_args(kind), key=lambda one: one is str):  # a text is all else
            try:
                return from_text(text, one)
            except ValueError:
                continue
        raise ValueError(text)
    if origin in (tuple, dict):
        return from_text(text, get_args(kind)[0 if origin is tuple else 1])
    if kind in (str, Any):
        return text
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind in (int, float):
        number: object = kind(text)
        return number
    if origin is Literal and text in get_args(kind):
        return text
    raise ValueError(text)


def holds(kind: Any) -> type | None:
    """``tuple`` or ``dict`` where values of a kind hold several, else None.

    >>> holds(dict[str, float] | None), holds(int)
    (<class 'dict'>, None)
    """
    if get_origin(kind) in (Union, UnionType):
        return next(filter(None, map(holds, get_args(kind))), None)
    origin = get_origin(kind)
    return origin if origin in (tuple, dict) else None
