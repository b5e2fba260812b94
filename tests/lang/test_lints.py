"""Warnings of what is allowed and hardly meant, where there are any, and `allow`."""

from __future__ import annotations

import pytest

import mfv_dsl as mfv
from mfv_dsl.lang.codes import all_codes
from tests.lang.support import HEAD, checked, codes

FV = "add = fv(each), layer = 3"


@pytest.mark.parametrize(
    "text",
    [
        f"eval e {{ {FV}, split = extract }}",
        "eval e { add = fv(each, split=test), layer = 3 }",
        f"defaults {{ split = test }}\neval e {{ {FV}, split = test }}",
        f"defaults for eval {{ split = extract }}\neval e {{ {FV} }}",
        "heads few = top(3, split=test)\neval e { ablate = few }",
        "heads few = top(3, split=test)\ndefaults { heads = few }\n"
        "vector v(r) = 2 * fv(r)\neval e { add = v(each), layer = 3 }",
        "tune t { start = random, layer = 3 }\neval e { add = t(each), layer = 3, split = train }",
        "tune t { start = random, layer = 3 }\n"
        "eval e { add = t(each), layer = 3, split = validation }",
        "tune t { start = fv(each), layer = 3 }\n"
        "eval e { add = t(each), layer = 3, split = extract }",
        "eval e { classify = random(3), split = extract }",
        "heads few = top(3, by=votes, shots=0, split=test)\neval e { classify = few }",
    ],
)  # fmt: skip
def test_what_is_tested_on_what_it_was_made_of(text):
    assert "MFV4010" in codes(HEAD + text + "\n")


@pytest.mark.parametrize(
    "text",
    [
        f"eval e {{ {FV} }}",
        "eval e { split = extract, shots = 2 }",
        "dataset other = scenes(seed=1)\n"
        f"defaults {{ dataset = shapes }}\neval e {{ {FV}, dataset = other }}\n"
        "eval f { add = fv(each, dataset=other), layer = 3, split = extract }",
        "eval e { ablate = top(3, by=random, split=test) }",
        "eval e { ablate = random(3), split = extract }",
        "eval e { classify = random(3) }",
        "tune t { start = random, layer = 3 }\neval e { add = t(each), layer = 3 }",
        "tune t { start = random, layer = 3 }\n"
        "eval e { add = t(each), layer = 3, split = extract }",
    ],
)  # fmt: skip
def test_what_is_tested_on_other_items(text):
    assert "MFV4010" not in codes(HEAD + text + "\n")


def test_sets_of_one_relation_miss_no_relations():
    """`on` beside `per = relation` is an error, so that nobody is told to write it there."""
    head = HEAD + "defaults { on = [left] }\n"
    assert codes(head + "eval e { ablate = top(3) }\n") == ["MFV3024"]
    assert codes(head + "eval e { ablate = top(3, per=relation) }\n") == []
    assert codes(head + "eval e { ablate = top(3, by=random) }\n") == []


def test_what_a_classification_is_made_of_is_said():
    (found,) = checked(HEAD + "eval e { classify = random(3), split = extract }\n").diagnostics
    assert "what it classifies by is of it" in found.message
    assert found.secondary[0].text == "its examples are of `extract`"


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ("by=aie, corrupt=shuffle, correct_only=false", []),
        ("by=mask, corrupt=mix, pool=[right], correct_only=false", []),
        ("by=norm, correct_only=false", []),
        ("by=norm, corrupt=shuffle", ["corrupt"]),
        ("by=lrp, correct_only=false", []),
        ("by=lrp, corrupt=mix, pool=[right]", ["corrupt", "pool"]),
        ("by=probe, pool=[right]", []),
        ("by=probe, corrupt=mix, correct_only=true", ["corrupt", "correct_only"]),
        ("by=votes, pool=others, correct_only=false", ["pool", "correct_only"]),
        ("by=random, corrupt=mix", ["corrupt"]),
    ],
)
def test_options_that_a_ranking_does_not_read(options, idle):
    text = f"eval e {{ ablate = top(3, {options}) }}\n"
    warnings = [d for d in checked(HEAD + text).diagnostics if d.code == "MFV2022"]
    assert [warning.message.split("`")[1] for warning in warnings] == idle


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("heads few = top(3, shots=0)", True),
        ("heads few = top(3, shots=0, by=gradient)", True),
        ("heads few = top(3, shots=0, by=random)", False),
        ("heads few = top(3)", False),
        ("vector v = fv(left, shots=0)", True),
        ("vector v = fv(left, shots=0, heads=top(3, shots=4))", False),
        ("defaults { shots = 0 }\nvector v = fv(left)", True),
        ("defaults for fv { shots = 0 }\ndefaults { heads = top(3) }\nvector v = fv(left)", False),
    ],
)
def test_heads_ranked_without_demonstrations(text, found):
    assert ("MFV4011" in codes(HEAD + text + "\n")) == found


@pytest.mark.parametrize(
    ("text", "unused"),
    [
        ("vector v = fv(left)", []),  # a recipe that does nothing yet
        ("vector v = fv(left)\neval e { shots = 1 }", ["v"]),
        ("vector v(r) = fv(r)\neval e { shots = 1 }", ["v"]),
        ("vector v(r) = fv(r)\neval e { add = v(each), layer = 3 }", []),
        ("heads h = top(3)\nvector v = fv(left, heads=h)\neval e { add = v, layer = 3 }", []),
        ("heads h = top(3)\ndefaults { heads = h }\neval e { shots = 1 }", []),
        ("heads h = top(3)\neval e { shots = 1 }\nprofile p { e.ablate = h }", []),
        ("model m = tiny()\ndefaults { model = m }\neval e { shots = 1 }", ["flamingo"]),
        ("dataset d = scenes()\neval e { shots = 1, dataset = d }", ["shapes"]),
        ("tune t { start = random, layer = 3 }", []),
        ("let few = 3\nlet many = 5\neval e { shots = few }", ["many"]),
        ("vector v = fv(left)\nreport { norm(v) }", []),
    ],
)
def test_what_nothing_uses(text, unused):
    found = [d for d in checked(HEAD + text + "\n").diagnostics if d.code == "MFV2060"]
    assert [d.source.text[d.span.start : d.span.end] for d in found] == unused


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("defaults { shots = 4 }\neval e { items = 9 }\neval f { shots = 1 }",
         ("`eval` (e) takes 0",)),
        ("defaults { shots = 4 }\ntune t { start = random, layer = 3 }\neval e { shots = 1 }",
         ("`tune` (t) takes 0",)),
        ("defaults { shots = 4 }\ndefaults for eval { shots = 0 }\neval e { items = 9 }", ()),
        ("defaults { shots = 0 }\neval e { items = 9 }", ()),
        ("defaults { on = [left] }\neval e { ablate = top(3) }",
         ("`top` leaves it out: all of the dataset if left out",)),
        ("defaults { on = [left] }\neval e { ablate = top(3, on=[left]) }", ()),
        ("defaults { seed = 4 }\neval e { ablate = random(3) }", ("`random` takes 0",)),
        ("defaults { split = validation }\neval e { shots = 1 }", ("`eval` (e) takes test",)),
        ("defaults { layer = 3 }\nsave \"x\" { vectors = [fv(left)] }", ()),
        ("defaults { model = flamingo }\neval e { ablate = top(3) }", ()),
    ],
)  # fmt: skip
def test_defaults_that_do_not_reach(text, notes):
    found = [d for d in checked(HEAD + text + "\n").diagnostics if d.code == "MFV3024"]
    assert tuple(note for d in found for note in d.notes) == notes


@pytest.mark.parametrize(
    "text",
    [
        f"eval e {{ {FV}, split = extract, allow = [MFV4010] }}",
        f"defaults {{ allow = [MFV4010] }}\neval e {{ {FV}, split = extract }}",
        f"defaults for eval {{ allow = [MFV4010] }}\neval e {{ {FV}, split = extract }}",
        "vector v = fv(left, split=test)\neval e { add = v, layer = 3, allow = [MFV4010] }",
        "vector v = fv(left, shots=0)\ndefaults { allow = [MFV4011] }",
        "eval e { ablate = top(3, shots=0), allow = [MFV4011] }",
        "vector v = fv(left)\ndefaults { allow = [MFV2060] }\neval e { shots = 1 }",
        "defaults { shots = 4 }\neval e { items = 9, allow = [MFV3024] }",
        "eval e { shots = 1, scale = 2, allow = [MFV2022] }",
        "eval e { allow = [] }",
        f"eval e {{ {FV}, split = extract, allow = [MFV4010] }}\n"
        "profile p { e.allow = [MFV3024] }",
        f"eval e {{ {FV}, allow = [MFV4010] }}\nprofile p {{ e.split = extract }}",
    ],
)
def test_what_is_allowed_is_not_said(text):
    assert codes(HEAD + text + "\n") == []


def test_a_block_allows_for_itself_alone():
    text = (
        f"eval e {{ {FV}, split = extract, allow = [MFV4010] }}\neval f {{ {FV}, split = extract }}"
    )
    (found,) = checked(HEAD + text + "\n").diagnostics
    assert found.code == "MFV4010" and "`f`" in found.message


@pytest.mark.parametrize(
    "text",
    [
        f"eval e {{ {FV}, allow = [MFV4010] }}",
        f"eval e {{ {FV}, split = extract, allow = [MFV4010] }}\n"
        "eval f { shots = 1, allow = [MFV4010] }",
        "defaults { allow = [MFV4010, MFV4010] }\neval e { shots = 1 }",
        "eval e { shots = 1, allow = [MFV2001] }",
    ],
)
def test_what_is_allowed_and_not_there_is_said(text):
    found = set(codes(HEAD + text + "\n")) - {"MFV2013"}
    assert found in ({"MFV2062"}, set()) and ("MFV4010, MFV4010" in text) == (found == set())


def test_an_unknown_code_is_an_error():
    assert codes(HEAD + "eval e { allow = [MFV4999] }\n") == ["MFV2061"]
    assert codes(HEAD + "eval e { allow = [left] }\n") == ["MFV2061"]
    assert codes(HEAD + 'eval e { allow = ["MFV4010"] }\n') == ["MFV3001"]
    assert codes(HEAD + "eval e { allow = MFV4010 }\n") == ["MFV3001"]
    assert "MFV4999" not in all_codes()


def test_what_another_file_declares_may_be_used_by_others(tmp_path):
    from mfv_dsl.findings import findings

    shared = HEAD + "vector mine = fv(left)\nvector other = fv(right)\n"
    (tmp_path / "common.mfv").write_text(shared)
    recipe = tmp_path / "one.mfv"
    recipe.write_text('mfv 1\nuse "common.mfv"\nvector own = mine\neval e { shots = 1 }\n')
    found = [(d.code, d.message) for d in findings(recipe)]
    assert found == [("MFV2060", "nothing uses the vector `own`")]
    assert [d.code for d in findings(recipe, ["e.items=3"])] == ["MFV2060"]
    assert [d.code for d in mfv.Recipe.from_file(recipe).check()] == ["MFV2060"]
