"""Definitions, references and renames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lsp.analysis import analyse
from mfv_dsl.lsp.navigation import CannotRename, definitions, references
from tests.lsp.support import RECIPES, USES, renamed_places, spans


@pytest.mark.parametrize(
    ("word", "line", "wanted"),
    [
        ("steer", 13, "9:steer"), ("pure", 13, "10:pure"), ("tuned", 13, "12:tuned"),
        ("zero", 13, "11:zero"), ("spatial", 14, "4:spatial"), ("left", 14, "3:left"),
        ("steer", 16, "9:steer"), ("raw", 16, "13:raw"), ("shapes", 16, "3:shapes"),
        ("spatial", 7, "4:spatial"),
    ],
)  # fmt: skip
def test_definitions(word, line, wanted):
    start = Source(USES).line_starts[line - 1]
    offset = USES.index(word, start)
    assert spans(USES, definitions(analyse(USES), offset)) == [wanted]


def test_the_parameter_of_a_family_is_defined_there():
    offset = USES.index("fv(r)") + 3
    assert spans(USES, definitions(analyse(USES), offset)) == ["10:r"]
    assert spans(USES, references(analyse(USES), offset)) == ["10:r", "10:r"]


def test_relations_that_no_dataset_names_lead_to_the_dataset():
    text = "mfv 1\nmodel m = tiny()\ndataset d = scenes()\nvector v = fv(left)\n"
    assert spans(text, definitions(analyse(text), text.index("left"))) == ["3:d"]


def test_references():
    found = spans(USES, references(analyse(USES), USES.index("steer")))
    assert found == ["9:steer", "12:steer", "13:steer", "15:steer", "16:steer"]
    found = spans(USES, references(analyse(USES), USES.index("raw"), declaration=False))
    assert found == ["16:raw"]


def test_a_rename_changes_every_place_and_nothing_else():
    for old, new in (("steer", "direction"), ("pure", "clean"), ("tuned", "trained"),
                     ("zero", "none_shown"), ("spatial", "h"), ("shapes", "d")):  # fmt: skip
        analysis = analyse(USES)
        offset = USES.index(f" {old}") + 1
        places = renamed_places(analysis, offset, new)
        text = USES
        for place in reversed(places):
            text = text[: place.start] + new + text[place.end :]
        assert check_source(Source(text)).checked is not None
        assert f"{old} =" not in text and f"{old}(" not in text


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("steer", "pure", "taken"), ("steer", "zero", "taken"), ("steer", "2nd", "not a name"),
        ("steer", "each", "relation under test"), ("steer", "left", "relation"),
        ("pure", "mean", "function"), ("steer", "true", "word"), ("steer", "r", "taken"),
        ("steer", "a b", "not a name"), ("steer", "stéer", "not a name"),
    ],
)  # fmt: skip
def test_a_rename_that_would_change_the_meaning_is_refused(old, new, reason):
    with pytest.raises(CannotRename, match=reason):
        renamed_places(analyse(USES), USES.index(old), new)


def test_relations_and_words_are_not_renamed():
    for word in ("left", "tiny", "shots", "eval"):
        with pytest.raises(CannotRename):
            renamed_places(analyse(USES), USES.index(word), "other")


def test_a_file_that_cannot_be_read_whole_is_not_renamed_in():
    text = USES + "vector broken = steer +\n"
    with pytest.raises(CannotRename, match="cannot be read"):
        renamed_places(analyse(text), text.index("steer"), "other")


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[] if p.stem == "quickstart" else pytest.mark.slow) for p in RECIPES],
    ids=lambda path: path.stem,
)
def test_every_declared_name_of_a_recipe_can_be_renamed(path: Path):
    text = path.read_text(encoding="utf-8")
    analysis = analyse(text, str(path))
    assert analysis.scope is not None
    for name in analysis.scope.names:
        item = analysis.scope.names[name]
        place: Any = getattr(item, "name", None) or getattr(item, "label", None)
        if name == "defaults" or place is None or place.span.copy:  # a reading of a sweep
            continue
        places = renamed_places(analysis, place.span.start, "quite_another_name")
        assert {text[p.start : p.end] for p in places} == {name}
