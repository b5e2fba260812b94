"""An image's objects and relations, out of an entry of a file in one of the two forms that
:mod:`mfv_dsl.data.gqa` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mfv_dsl.base.texts import excerpt, tidy

_LARGEST = 10**9  # pixels of a side: beyond all images, and numbers can still be multiplied


class NoScene(Exception):
    """Why an entry is not that of an image, in words that follow its place."""


@dataclass(frozen=True)
class SceneGraph:
    """One image: names of its objects by key, their parts of its area (None where not known), and
    its relations as (subject's key, predicate, object's key)."""

    names: Mapping[str, str]
    areas: Mapping[str, float | None]
    relations: tuple[tuple[str, str, str], ...]


def scene_of(entry: Any) -> tuple[SceneGraph, bool]:
    """The scene graph of an entry, and whether it is of the form that is filtered already, which
    lists its objects.

    Raises :class:`NoScene`, which names the key at fault, for whatever JSON is no such entry.

    >>> scene, _ = scene_of({"objects": [{"name": "Cup"}], "relations": []})
    >>> scene.names
    {'0': 'cup'}
    """
    objects = _value(entry, "objects", "the image")
    if isinstance(objects, list):
        return _subset(entry, objects), True
    if isinstance(objects, dict):
        return _graph(entry, objects), False
    raise _wrong("objects", "the image", objects, "a list or an object `{...}`")


@lru_cache(maxsize=100_000)  # the same few names, a million times
def object_name(name: str) -> str:
    """The name of an object or predicate: single blanks, no capital letters."""
    return tidy(name.lower())


def _subset(entry: Any, objects: list[Any]) -> SceneGraph:
    """The filtered subset's form, where objects are told apart by their names."""
    names = {
        str(number): _name(thing, "name", f"object {number}")
        for number, thing in enumerate(objects)
    }
    key_of = {name: key for key, name in reversed(names.items())}
    triples = []
    for number, link in enumerate(_list(entry, "relations", "the image")):
        where = f"relation {number}"
        ends = []
        for end in ("subject", "object"):
            name = _name(link, end, where)
            if name not in key_of:
                raise NoScene(
                    f"`{end}` of {where} is `{excerpt(name)}`, which is none of its objects"
                )
            ends.append(key_of[name])
        triples.append((ends[0], _name(link, "predicate", where), ends[1]))
    return SceneGraph(names, dict.fromkeys(names), tuple(triples))


def _graph(entry: Any, objects: dict[str, Any]) -> SceneGraph:
    """The form of GQA's own scene graphs."""
    width, height = (_pixels(entry, side, "the image") for side in ("width", "height"))
    area = width * height
    if min(width, height) <= 0 or not area:  # a product of tiny numbers is zero
        raise NoScene(f"the size of the image is {width} × {height}")
    names, areas = {}, {}
    for key, thing in objects.items():
        where = f"object {excerpt(key)}"
        names[key] = _name(thing, "name", where)
        sides = (max(0, _pixels(thing, side, where)) for side in ("w", "h"))
        areas[key] = next(sides) * next(sides) / area
    return SceneGraph(names, areas, tuple(_links(objects)))


def _links(objects: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key, thing in objects.items():
        where = f"object {excerpt(key)}"
        links = _list(thing, "relations", where) if thing.get("relations") is not None else ()
        for number, link in enumerate(links):
            within = f"relation {number} of {where}"
            other = _value(link, "object", within)
            if isinstance(other, bool) or not isinstance(other, int | str):
                raise _wrong("object", within, other, "the id of an object")
            yield key, _name(link, "name", within), str(other)


# -- single values --------------------------------------------------------------------------------
def _value(record: Any, key: str, where: str) -> Any:
    if not isinstance(record, dict):
        raise NoScene(f"{where} is {_shown(record)}, not an object `{{...}}`")
    if key not in record:
        raise NoScene(f"{where} has no `{key}`")
    return record[key]


def _list(record: Any, key: str, where: str) -> list[Any]:
    value = _value(record, key, where)
    if not isinstance(value, list):
        raise _wrong(key, where, value, "a list")
    return value


def _name(record: Any, key: str, where: str) -> str:
    value = _value(record, key, where)
    if not isinstance(value, str):
        raise _wrong(key, where, value, "a text")
    return object_name(value)


def _pixels(record: Any, key: str, where: str) -> float:
    value = _value(record, key, where)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(key, where, value, "a number")
    if not abs(value) <= _LARGEST:  # nor is NaN
        raise _wrong(key, where, value, "a number of pixels")
    return value


def _wrong(key: str, where: str, value: Any, wanted: str) -> NoScene:
    return NoScene(f"`{key}` of {where} is {_shown(value)}, not {wanted}")


def _shown(value: Any) -> str:
    return excerpt(json.dumps(value), 40)
