"""The registry is sound, and what is generated from it is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfv_dsl.base.suggest import distance, suggest
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import UNITS, all_entries, takers
from mfv_dsl.lang.reference import reference
from tests.lang.support import HEAD, codes

ENTRIES = all_entries()
TYPES = {
    "Number", "Text", "Boolean", "Name", "Choice", "Relation", "Split", "Model", "Dataset",
    "Eval", "Heads", "Vector", "States", "Adapter", "Code", "Range", "Layers",
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_is_sound(entry):
    names = [parameter.name for parameter in entry.parameters]
    assert len(set(names)) == len(names)
    assert not entry.doc.endswith(".")
    assert entry.since == "1"
    for parameter in entry.parameters:
        bare = {t.removeprefix("List[").removesuffix("]") for t in parameter.types}
        assert bare <= TYPES
        assert ("Choice" in bare) == bool(parameter.choices)
        assert parameter.unit in UNITS or "Number" not in bare
        if isinstance(parameter.default, str) and parameter.choices:
            assert parameter.default in parameter.choices
    positional = [parameter.positional for parameter in entry.parameters]
    assert positional == sorted(positional, reverse=True)


def _declared(entry) -> str:
    if entry.kind == "item":
        return entry.example
    if entry.kind == "constructor":
        kind = next(kind for kind, made in CONSTRUCTOR.items() if entry.name in made)
        return f"{kind} example = {entry.example}"
    if entry.result == "Adapter":
        return f"eval example {{ adapter = {entry.example} }}"
    if entry.result == "States":
        return f"vector example = mean({entry.example})"
    if entry.result == "Number":
        return f"vector example = {entry.example} * fv(left)"
    return f"{entry.result.lower()} example = {entry.example}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_example_is_right(entry):
    head = HEAD if entry.name not in ("model", "dataset") else "mfv 1\n"
    no_file = ["MFV2044"] if entry.form == "inclusion" else []  # there is none beside a text
    assert codes(head + _declared(entry) + "\n") == no_file


def test_an_entry_has_a_name_of_its_own():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)


def test_what_defaults_may_give():
    assert {entry.name for entry, _ in takers("shots")} == {"fv", "states", "top"}
    assert {entry.name for entry, _ in takers("layer")} == {"tune", "eval"}
    assert not takers("add")


def test_the_reference_is_up_to_date():
    written = Path(__file__).parents[2] / "docs" / "reference.md"
    assert written.read_text(encoding="utf-8") == reference(), (
        "run: python -m mfv_dsl.lang.reference > docs/reference.md"
    )


def test_the_reference_of_one_word():
    assert reference("cosine").startswith("### `cosine(v, w)`\n")
    assert "### `layer` of `tune`" in reference("layer")
    assert "### `layer` of `eval`" in reference("layer")
    with pytest.raises(KeyError, match="cosine"):
        reference("cosin")


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("left", "left", 0), ("lft", "left", 1), ("rihgt", "right", 1), ("abve", "below", 3),
     ("", "ab", 2), ("kitten", "sitting", 3), ("ca", "abc", 3)],
)  # fmt: skip
def test_distance(a, b, edits):
    assert distance(a, b) == edits
    assert distance(b, a) == edits


def test_suggestions():
    assert suggest("lft", ["right", "left"]) == "left"
    assert suggest("Left", ["left"]) == "left"
    assert suggest("SHOTS", ["shots"]) == "shots"
    assert suggest("foo", ["on", "bar"]) is None
    assert suggest("xy", ["ab"]) is None
    assert suggest("x", []) is None


def test_the_reference_answers_for_every_word_and_sign():
    from mfv_dsl.lang.entries import CONSTANTS
    from mfv_dsl.lang.reference import SIGNS

    words = {p.name for entry in ENTRIES for p in entry.parameters if not p.positional}
    words |= {choice for entry in ENTRIES for p in entry.parameters for choice in p.choices}
    for word in [entry.name for entry in ENTRIES] + [*words, *SIGNS, *CONSTANTS]:
        assert f"`{word}" in reference(word), word
    assert "`native` as `layer` of `eval`" in reference("native")
    assert "`aie` as `by` of `top`" in reference("aie")
    assert "`last` as `position` of `eval`" in reference("last")
