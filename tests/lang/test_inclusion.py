"""`use`: what other files declare, as if it stood here or under a name of its own."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import dirname, join, normpath

import pytest

from mfv_dsl.base.diagnostics import render, to_json
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import CheckResult, check_every_profile, check_source
from mfv_dsl.lang.inclusion import UsedFile, self_contained
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.build import build_plan
from tests.lang.support import facts

COMMON = """mfv 1
model flamingo = tiny()
let simple = [left, right]
dataset shapes = scenes()
heads best = top(10, on=simple)
vector steer = fv(left, heads=best)
vector family(r) = fv(r, heads=best) - steer
tune tuned { start = family(each), layer = 2, on = simple }
defaults { trials = 20, shots = 4 }
profile short { simple = [left], defaults.trials = 10 }
eval own { add = steer, layer = 1 }
"""
EVAL = "eval raw { add = family(each), layer = 2, on = simple }\n"
HERE = COMMON.replace("eval own { add = steer, layer = 1 }\n", "")


@dataclass(frozen=True)
class Files:
    """Reads texts by their names."""

    texts: dict[str, str]
    place: str | None = "main.mfv"

    def __call__(self, path: str, user: str | None) -> UsedFile:
        name = normpath(join(dirname(user or ""), path))
        if name not in self.texts:
            raise MfvError("MFV2044", f"cannot read {path}")
        return UsedFile(Source(self.texts[name], name), name)


def check(recipe: str, profile: str | None = None, options=(), **files: str) -> CheckResult:
    texts = {f"{name}.mfv".replace("__", "/"): text for name, text in files.items()}
    source = Source("mfv 1\n" + recipe, "main.mfv")
    return check_source(source, facts, options, profile=profile, read=Files(texts))


def keys(result: CheckResult) -> list[str]:
    assert result.checked is not None, "\n".join(map(str, result.diagnostics))
    return [step.key for step in build_plan(result.checked).steps]


def codes(result: CheckResult) -> list[str]:
    return [finding.code for finding in result.diagnostics]


def written(text: str, profile: str | None = None, options=()) -> list[str]:
    return keys(check_source(Source(text, "main.mfv"), facts, options, profile=profile))


def test_what_a_file_declares_is_had_as_if_it_stood_here():
    assert keys(check('use "common.mfv"\n' + EVAL, common=COMMON)) == written(HERE + EVAL)


def test_under_a_name_of_its_own_too_but_for_its_defaults():
    main = 'use "common.mfv" as c\neval raw { add = c.family(each), layer = 2, on = c.simple }\n'
    without = "\n".join(line for line in HERE.split("\n") if not line.startswith("defaults"))
    without = without.replace("defaults.trials", "shapes.seed")
    assert keys(check(main, common=COMMON)) == written(without + EVAL)


def test_profiles_and_options_reach_what_a_file_declares():
    plain, named = 'use "common.mfv"\n', 'use "common.mfv" as c\n'
    expected = written(HERE + EVAL, "short", ["shapes.seed=3"])
    assert keys(check(plain + EVAL, "short", ["shapes.seed=3"], common=COMMON)) == expected
    lines = "profile short { c.simple = [left], c.shapes.seed = 3, defaults.trials = 10 }\n"
    main = named + EVAL.replace("family", "c.family").replace("simple", "c.simple")
    main += "defaults { shots = 4 }\n"
    assert keys(check(main + lines, "short", common=COMMON)) == expected
    options = ["c.simple=[left]", "c.shapes.seed=3", "defaults.trials=10"]
    assert keys(check(main, None, options, common=COMMON)) == expected


def test_defaults_and_profiles_are_put_together_those_of_this_file_last():
    main = 'use "common.mfv"\n' + EVAL
    main += "defaults { trials = 30 }\nprofile short { defaults.trials = 15 }\n"
    own = HERE.replace("trials = 20", "trials = 30").replace("trials = 10", "trials = 15")
    assert keys(check(main, common=COMMON)) == written(own + EVAL)
    assert keys(check(main, "short", common=COMMON)) == written(own + EVAL, "short")


def test_files_use_files_by_paths_from_themselves():
    result = check(
        'use "a/one.mfv"\nuse "a/two.mfv"\n' + EVAL,
        a__one='mfv 1\nuse "../common.mfv"\nheads first = best\n',
        a__two='mfv 1\nuse "../common.mfv"\nheads second = best\n',
        common=COMMON,
    )
    assert keys(result) == written(HERE + EVAL)
    assert result.checked is not None
    assert {"first", "second", "best"} <= result.checked.heads.keys()
    assert [file.path for file in result.checked.files] == ["a/one.mfv", "common.mfv", "a/two.mfv"]


def test_what_is_wrong_is_shown_in_its_file_and_where_it_is_used():
    broken = COMMON.replace("fv(left, heads=best)", "fv(lft, heads=best)")
    (found,) = check('use "common.mfv"\n' + EVAL, common=broken).diagnostics
    assert (found.code, found.source and found.source.name) == ("MFV2001", "common.mfv")
    shown = [
        "error[MFV2001]: unknown relation `lft`",
        "  --> common.mfv:6:19",
        "   |",
        " 6 | vector steer = fv(lft, heads=best)",
        "   |                   ^^^ the dataset `shapes` has: left, right, above, below, "
        "above_left, above_right, below_left, below_right",
        "  ::: main.mfv:2:1",
        "   |",
        ' 2 | use "common.mfv"',
        "   | ---------------- used here",
        "   = help: did you mean `left`?",
    ]
    assert render(found).split("\n") == shown
    assert to_json(found)["related"][0]["file"] == "main.mfv"
    (fix,) = found.fixes
    assert broken[: fix.span.start] + fix.replacement + broken[fix.span.end :] == COMMON


def test_what_is_wrong_under_a_profile_of_a_file_is_found():
    broken = COMMON.replace("profile short { ", "profile short { best = {L99H1}, ")
    source, read = Source('mfv 1\nuse "common.mfv"\n' + EVAL), Files({"common.mfv": broken})
    (found,) = check_every_profile(source, facts, read=read)
    assert (found.code, found.source and found.source.name) == ("MFV4002", "common.mfv")


@pytest.mark.parametrize(
    ("main", "files", "expected"),
    [
        ('use "none.mfv"', {}, ["MFV2044"]),
        ('use "main.mfv"', {"main": ""}, ["MFV2045"]),
        ('use "a.mfv"', {"a": 'use "b.mfv"', "b": 'use "a.mfv"'}, ["MFV2045"]),
        ('use "a.mfv"', {"a": 'use "main.mfv"', "main": ""}, ["MFV2045"]),
        ('use "a.mfv" of b', {"a": ""}, ["MFV2046"]),
        ('use "a.mfv" as b\nuse "c.mfv" as b', {"a": "", "c": ""}, ["MFV2008"]),
        ('use "a.mfv" as b\nlet b = 3', {"a": ""}, ["MFV2008"]),
        ('use "a.mfv"\nlet b = 3', {"a": "let b = 4"}, ["MFV2008"]),
        ('use "a.mfv"', {"a": "defaults { shots = 1 }\ndefaults { shots = 2 }"}, ["MFV2008"]),
        ('use "a.mfv"', {"a": "vector = 3"}, ["MFV1014"]),
        ('use "a.mfv" as b\nheads c = b.d', {"a": "heads e = {L1H1}"}, ["MFV2002"]),
        ('use "a.mfv" as b\nheads c = e', {"a": "heads e = {L1H1}"}, ["MFV2002"]),
        ("use = 3", {}, ["MFV1014"]),
        ("use x = 3", {}, ["MFV2020"]),
        ("use x { }", {}, ["MFV2020"]),
        ('save "x"', {}, ["MFV2020"]),
        ('usw "x"', {}, ["MFV2005"]),
    ],
)
def test_what_cannot_be(main, files, expected):
    texts = {name: f"mfv 1\n{text}\n" for name, text in files.items()}
    head = "model flamingo = tiny()\ndataset shapes = scenes()\n"
    assert codes(check(head + main + "\n", **texts)) == expected


def test_a_file_without_a_version_is_told_of():
    assert codes(check('use "a.mfv"\n', a="heads e = {L1H1}\n")) == ["MFV1009"]


def test_a_text_alone_uses_no_file():
    result = check_source(Source('mfv 1\nuse "a.mfv"\n'), facts)
    assert codes(result) == ["MFV2044"]


def test_written_out_a_recipe_needs_no_other_file():
    main = 'use "common.mfv" as c\nlet c_best = 2\n'
    main += "eval raw { add = c.family(each), layer = c_best, on = c.simple }\n"
    main += "eval two { ablate = c.best - {L1H1}, on = c.simple }\n"
    result = check(main, common=COMMON)
    assert result.checked is not None
    text = unparse(self_contained(result.checked.recipe))
    assert "c." not in text and "c_best_ = top" in text
    assert written(text) == keys(result)


def test_a_parameter_hides_what_a_file_declares():
    file = "mfv 1\nvector r = fv(left)\nvector of(r) = fv(r)\n"
    head = "model flamingo = tiny()\ndataset shapes = scenes()\n"
    main = 'use "a.mfv" as c\neval e { add = c.of(each) + c.r, layer = 1, on = [right] }\n'
    plain = "eval e { add = fv(right) + fv(left), layer = 1, on = [right] }\n"
    assert keys(check(head + main, a=file)) == written("mfv 1\n" + head + plain)
