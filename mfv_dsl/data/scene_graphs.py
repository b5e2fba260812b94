"""An image's objects and relations, out of an entry of a file in one of the two forms that
:mod:`mfv_dsl.data.gqa` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mfv_dsl.base.texts import excerpt, tidy
from mfv_dsl.data.json_values import BadValue, list_of, pixels_of, text_of, value_of, wrong


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

    Raises :class:`BadValue`, which names the key at fault, for whatever JSON is no such entry.

    >>> scene, _ = scene_of({"objects": [{"name": "Cup"}], "relations": []})
    >>> scene.names
    {'0': 'cup'}
    """
    objects = value_of(entry, "objects", "the image")
    if isinstance(objects, list):
        return _subset(entry, objects), True
    if isinstance(objects, dict):
        return _graph(entry, objects), False
    raise wrong("objects", "the image", objects, "a list or an object `{...}`")


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
    for number, link in enumerate(list_of(entry, "relations", "the image")):
        where = f"relation {number}"
        ends = []
        for end in ("subject", "object"):
            name = _name(link, end, where)
            if name not in key_of:
                raise BadValue(
                    f"`{end}` of {where} is `{excerpt(name)}`, which is none of its objects"
                )
            ends.append(key_of[name])
        triples.append((ends[0], _name(link, "predicate", where), ends[1]))
    return SceneGraph(names, dict.fromkeys(names), tuple(triples))


def _graph(entry: Any, objects: dict[str, Any]) -> SceneGraph:
    """The form of GQA's own scene graphs."""
    width, height = (pixels_of(entry, side, "the image") for side in ("width", "height"))
    area = width * height
    if min(width, height) <= 0 or not area:  # a product of tiny numbers is zero
        raise BadValue(f"the size of the image is {width} × {height}")
    names, areas = {}, {}
    for key, thing in objects.items():
        where = f"object {excerpt(key)}"
        names[key] = _name(thing, "name", where)
        sides = (max(0, pixels_of(thing, side, where)) for side in ("w", "h"))
        areas[key] = next(sides) * next(sides) / area
    return SceneGraph(names, areas, tuple(_links(objects)))


def _links(objects: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key, thing in objects.items():
        where = f"object {excerpt(key)}"
        links = list_of(thing, "relations", where) if thing.get("relations") is not None else ()
        for number, link in enumerate(links):
            within = f"relation {number} of {where}"
            other = value_of(link, "object", within)
            if isinstance(other, bool) or not isinstance(other, int | str):
                raise wrong("object", within, other, "the id of an object")
            yield key, _name(link, "name", within), str(other)


def _name(record: Any, key: str, where: str) -> str:
    return object_name(text_of(record, key, where))
