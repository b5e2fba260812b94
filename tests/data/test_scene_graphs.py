"""Entries of scene graphs: what is wrong with a value is told with its key, and nothing breaks."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mfv_dsl.data import read_table
from mfv_dsl.data.json_values import BadValue
from mfv_dsl.data.scene_graphs import scene_of

GRAPH: dict[str, Any] = {
    "width": 100, "height": 100,
    "objects": {
        "1": {"name": "Cup", "x": 0, "y": 0, "w": 20, "h": 50,
              "relations": [{"name": "on", "object": "2"}]},
        "2": {"name": "table", "x": 0, "y": 0, "w": 40, "h": 50},
    },
}  # fmt: skip
SUBSET: dict[str, Any] = {
    "image_id": 7, "objects": [{"name": "man"}, {"name": "hat"}],
    "relations": [{"subject": "man", "predicate": "wearing", "object": "hat"}],
}  # fmt: skip
VALUES = (
    None, True, "5", "", [], [[1]], {}, {"a": 1}, -1, 0, 0.5, 1e-320, 1e308, 10**400,
    float("nan"), float("inf"), float("-inf"), "é" * 5000, "\u200b",
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything in a JSON value."""
    yield at
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield from places(value[key], (*at, key))


def changed(entry: Any, place: tuple[Any, ...], *value: Any) -> Any:
    """``entry`` with another value at a place, or without what is there."""
    if not place:
        return value[0] if value else None
    whole = copy.deepcopy(entry)
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    if value:
        inner[place[-1]] = value[0]
    else:
        del inner[place[-1]]
    return whole


@pytest.mark.parametrize("entry", [GRAPH, SUBSET], ids=["graph", "subset"])
def test_every_value_at_every_place_is_read_or_refused_with_its_key(entry: dict[str, Any]):
    refused = 0
    for place in places(entry):
        for value in [(value,) for value in VALUES] + [()]:
            try:
                scene, _ = scene_of(changed(entry, place, *value))
            except BadValue as error:
                refused += 1
                names = [key for key in place if isinstance(key, str)] or ["image"]
                told = str(error)
                assert any(name in told for name in (*names, "image", "object", "relation")), told
                assert len(told) < 200
            else:
                assert all(isinstance(name, str) for name in scene.names.values())
                assert all(area is None or area >= 0 for area in scene.areas.values())
    assert refused > 100


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (("objects", "1", "w"), "20", '`w` of object 1 is "20", not a number'),
        (("objects", "1", "w"), float("nan"), "`w` of object 1 is NaN, not a number of pixels"),
        (("objects", "2", "h"), 10**400, "not a number of pixels"),
        (("width",), True, "`width` of the image is true, not a number"),
        (("height",), -3, "the size of the image is 100 × -3"),
        (("objects", "1", "name"), ["cup"], '`name` of object 1 is ["cup"], not a text'),
        (("objects", "1", "relations"), {"0": 1}, "`relations` of object 1 is"),
        (("objects", "1", "relations", 0, "object"), ["2"],
         "`object` of relation 0 of object 1 is"),
        (("objects", "1"), [], "object 1 is [], not an object `{...}`"),
        (("objects",), "none", "`objects` of the image is"),
    ],
)  # fmt: skip
def test_the_place_and_the_key_are_told(place: tuple[Any, ...], value: Any, what: str):
    with pytest.raises(BadValue) as caught:
        scene_of(changed(GRAPH, place, value))
    assert what in str(caught.value)


def test_a_size_of_nothing_is_no_size():
    with pytest.raises(BadValue, match="the size of the image is 1e-200 × 1e-200"):
        scene_of({**GRAPH, "width": 1e-200, "height": 1e-200})


def test_ids_may_be_numbers():
    other = changed(GRAPH, ("objects", "1", "relations", 0, "object"), 2)
    assert scene_of(other) == scene_of(GRAPH)


def table(folder: Path, content: Any, **options: Any) -> Any:
    (folder / "images").mkdir(exist_ok=True)
    for image in ("7", "8"):
        (folder / "images" / f"{image}.jpg").write_bytes(b"x")
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "graphs.json").write_text(text)
    return read_table("gqa", file=str(folder / "graphs.json"), images=str(folder / "images"),
                      min_objects=0, max_area=1.0, **options)  # fmt: skip


def test_a_bad_entry_costs_itself_and_has_its_image(tmp_path: Path):
    bad = {"8": changed(GRAPH, ("objects", "1", "h"), float("inf"))}
    found = table(tmp_path, {"7": GRAPH, **bad})
    assert [str(finding) for finding in found.findings] == [
        "image 8: cannot be understood: `h` of object 1 is Infinity, not a number of pixels"
    ]
    assert list(found.images) == ["7.jpg"]
    long = json.dumps({"7": GRAPH, "8": GRAPH})
    at = long.rindex('"width": 100')
    found = table(tmp_path, long[:at] + '"width": ' + "9" * 5000 + long[at + 12 :])
    assert [finding.place for finding in found.findings] == ["image 8"]


@pytest.mark.parametrize("image_id", [None, [], {}, True, 1.5])
def test_an_entry_without_an_id_is_told_by_its_number(image_id: Any, tmp_path: Path):
    found = table(tmp_path, [SUBSET, {**SUBSET, "image_id": image_id}])
    errors = [finding for finding in found.findings if finding.severity == "error"]
    assert {finding.place for finding in errors} == {"image number 2"}


def test_relations_to_objects_that_are_not_there_are_counted(tmp_path: Path):
    dangling = changed(GRAPH, ("objects", "1", "relations", 0, "object"), "9")
    found = table(tmp_path, {"7": GRAPH, "8": dangling}, filter="none")
    assert found.dropped == {"relations to objects that are not there": 1}
