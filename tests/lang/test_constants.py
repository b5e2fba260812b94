"""`let`: a name that stands for its text, in the recipe, in profiles and in options."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source
from mfv_dsl.plan.build import build_plan
from tests.lang.support import HEAD, checked, codes, facts

WITH = """let kinds = [left, right]
let where = 0..2
let most = 3
vector both(r) = fv(r, shots=most) - mean(fv(left), fv(right))
eval raw { add = [both(each), fv(left)], layer = where, on = kinds, shots = [0, most] }
save "vectors/x" { vectors = [both(each)], on = kinds }
"""
WITHOUT = """vector both(r) = fv(r, shots=3) - mean(fv(left), fv(right))
eval raw { add = [both(each), fv(left)], layer = 0..2, on = [left, right], shots = [0, 3] }
save "vectors/x" { vectors = [both(each)], on = [left, right] }
"""


def keys(text: str, *options: str, profile: str | None = None) -> list[str]:
    result = check_source(Source(HEAD + text, "r.mfv"), facts, options, profile=profile)
    assert result.checked is not None, "\n".join(map(str, result.diagnostics))
    return [step.key for step in build_plan(result.checked).steps]


def test_a_constant_is_its_text():
    assert keys(WITH) == keys(WITHOUT)


def test_the_order_of_constants_means_nothing():
    assert keys("\n".join(reversed(WITH.splitlines()))) == keys(
        "\n".join(reversed(WITHOUT.splitlines()))
    )


def test_profiles_and_options_give_constants_other_values():
    profile = "profile short { kinds = [left], raw.layer = where, most = 2 }\n"
    expected = WITHOUT.replace("[left, right]", "[left]").replace("3", "2")
    assert keys(WITH + profile, profile="short") != keys(WITH)
    written = keys(expected.replace("vectors/x", "vectors/x-short"))
    assert keys(WITH + profile, profile="short") == written
    assert keys(WITH, "kinds=[left]", "most=2") == written


def test_a_finding_in_a_constant_from_an_option_says_so():
    options = ("kinds=[lft]",)
    found = check_source(Source(HEAD + WITH, "r.mfv"), facts, options).diagnostics
    assert {d.code for d in found} == {"MFV2001"}
    assert all("given by `--set kinds=[lft]`" in d.notes for d in found)


def test_what_is_wrong_in_a_constant_is_mended_in_the_constant():
    text = HEAD + "let kinds = [lft, right]\neval raw { on = kinds }\n"
    (found,) = checked(text).diagnostics
    (fix,) = found.fixes
    mended = text[: fix.span.start] + fix.replacement + text[fix.span.end :]
    assert mended == text.replace("lft", "left")
    assert codes(mended) == []


def test_places_are_told_without_copies():
    result = checked(HEAD + WITH.replace("where = 0..2", "where = 0..20"))
    (found,) = result.diagnostics
    assert found.span == replace(found.span, copy=0)
    assert all(label.span.copy == 0 for label in found.secondary)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("let a = fv(left)", "MFV2040"),
        ("let a = [zeros()]", "MFV2040"),
        ("let a = {L1H1} | {L2H2}", "MFV2040"),
        ("let a = a", "MFV2009"),
        ("let a = [b]\nlet b = 0..a", "MFV2009"),
        ("let a = 1\nlet a = 2", "MFV2008"),
        ("let a = 1\nheads a = top(10)", "MFV2008"),
        ("let a = 1\neval a { }", "MFV2008"),
        ("let a(r) = 1", "MFV2020"),
        ("let each = 1", "MFV2019"),
        ("let a = 1\nvector f(a) = fv(a)", "MFV2011"),
    ],
)
def test_constants_that_cannot_be(line, code):
    assert codes(HEAD + line + "\n") == [code]


def test_a_broken_constant_is_told_of_once():
    assert codes(HEAD + "let a = 2 +\neval raw { on = a, shots = a }\n") == ["MFV1001"]


def test_the_text_that_is_run_has_the_constants():
    recipe = Recipe(HEAD + WITH, "r.mfv", ("most=1",))
    assert "let most = 1" in recipe.text_as_run
