"""What vectors were made of: each is said once, however often it is used."""

from __future__ import annotations

import json

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.lineage import Lineage, lineage_fault
from mfv_dsl.library.metadata import version_for
from mfv_dsl.library.stored import encode, read, write
from tests.library.support import arrays, said


def node(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "hash": name[0] * 64, "kind": "composed", **more}


def doubled(generations: int) -> tuple[Lineage, int]:
    """A vector made of one twice, which was made of one twice, …"""
    lineage = Lineage()
    number = lineage.add(node("a0"))
    for generation in range(generations):
        number = lineage.add(node(f"a{generation + 1}"), [(number, 1.0), (number, None)])
    return lineage, number


def test_a_tree_is_written_as_before():
    lineage = Lineage()
    left, right = lineage.add(node("left")), lineage.add(node("right"))
    both = lineage.add(node("both"), [(left, 1.0), (right, -1.0)])
    parents = [
        {**node("both"), "coefficient": None, "parents": [
            {**node("left"), "coefficient": 1.0}, {**node("right"), "coefficient": -1.0},
        ]},
    ]  # fmt: skip
    assert lineage.metadata([(both, None)]) == {"parents": parents}
    assert lineage.metadata([]) == {"parents": []}
    assert Lineage().graft({"parents": parents}) == [(2, None)]


def test_what_is_shared_is_said_once():
    lineage, number = doubled(100)
    metadata = lineage.metadata([(number, 2.0)])
    (parent,) = metadata["parents"]
    assert parent == {"name": "a100", "hash": "a" * 64, "coefficient": 2.0, "ancestor": 100}
    assert len(metadata["ancestors"]) == 101
    assert metadata["ancestors"][100]["parents"] == [[99, 1.0], [99, None]]
    assert len(json.dumps(metadata)) < 101 * 200
    assert version_for(metadata) == "1.2"


def test_a_deep_chain_is_a_list_too():
    lineage = Lineage()
    number = lineage.add(node("a0"))
    for generation in range(3000):
        number = lineage.add(node(f"a{generation + 1}"), [(number, None)])
    assert len(lineage.metadata([(number, 1.0)])["ancestors"]) == 3001


def test_lineages_of_files_are_put_together():
    lineage, number = doubled(20)
    metadata = lineage.metadata([(number, 1.0)])
    other = Lineage()
    (first,) = other.graft(metadata)
    (again,) = other.graft(metadata)  # of another file that says the same
    assert first == again
    assert other.metadata([first]) == metadata


def test_a_file_with_ancestors_is_written_and_read(tmp_path):
    lineage, number = doubled(30)
    metadata = said(**lineage.metadata([(number, 1.0)]))
    write(tmp_path / "v.safetensors", arrays(), {**metadata, "name": "v"})
    _, found = read(tmp_path / "v.safetensors")
    assert found["format_version"] == "1.2" and found["ancestors"] == metadata["ancestors"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ancestors": [node("a", parents=[[0, 1.0]])]}, "does not stand before it"),
        ({"ancestors": [node("a", parents=[[1, 1.0]]), node("b")]}, "does not stand before it"),
        ({"parents": [{**node("a"), "coefficient": 1.0, "ancestor": 0}]}, "no `ancestors[0]`"),
        ({"ancestors": [node("a", parents=[[-1, 1.0]])]}, "less than 0"),
        ({"ancestors": [node("a", parents=[[0]])]}, "has 1 values"),
        ({"ancestors": [{"name": "a"}]}, "`ancestors[0].hash` is missing"),
    ],
)
def test_numbers_that_lead_nowhere_are_refused(change: dict[str, object], fault: str):
    with pytest.raises(MfvError) as raised:
        encode(arrays(), said(content_sha256="0" * 64, **change))
    assert raised.value.code == "MFV6004" and fault in raised.value.message


def test_lineage_fault_of_what_fits():
    lineage, number = doubled(3)
    assert lineage_fault(lineage.metadata([(number, 1.0)])) is None
    assert lineage_fault({}) is None
