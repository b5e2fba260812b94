"""Every code has a page, and its examples are what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mfv_dsl
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.lang.codes import CODES, explain
from tests.lang.support import checked, codes

LANGUAGE = {code: page for code, page in CODES.items() if code < "MFV5"}
RUNNING = {code: page for code, page in CODES.items() if code >= "MFV5"}
#: wrong examples that depend on what the bundled model answers, or on files
NOT_RUN = {"MFV5201", "MFV5305"}
#: what `mfv check` finds already: facts of scenes(), and where a blend stands
CHECKED = {
    *(f"MFV53{n}" for n in (10, 11, 12, 30, 31, 32, 33, 34, 51, 52, 53)),
    *(code for code in CODES if code[:5] == "MFV71" and code not in ("MFV7110", "MFV7111")),
    "MFV7210",
    *(f"MFV60{n}" for n in range(10, 16)),
}  # fmt: skip


@pytest.mark.parametrize("code", [code for code, page in LANGUAGE.items() if page.wrong])
def test_the_wrong_example_has_this_error_alone(code):
    page = LANGUAGE[code]
    assert set(codes(page.recipe(page.wrong))) == {code}


@pytest.mark.parametrize("code", [code for code, page in LANGUAGE.items() if page.right])
def test_the_right_example_is_right(code):
    page = LANGUAGE[code]
    result = checked(page.recipe(page.right))
    assert result.diagnostics == ()
    assert result.checked is not None


def test_only_what_no_recipe_can_show_has_no_example():
    without = [code for code, page in LANGUAGE.items() if not page.wrong]
    assert without == ["MFV1016", "MFV1017", "MFV1022", "MFV2023"]


@pytest.mark.parametrize(
    "code", [c for c, page in RUNNING.items() if page.wrong and c not in NOT_RUN]
)
def test_the_wrong_example_ends_with_this_error(code, tmp_path):
    page = RUNNING[code]
    with pytest.raises(MfvError) as caught:
        mfv_dsl.Recipe(page.recipe(page.wrong)).run(tmp_path)
    assert {diagnostic.code for diagnostic in caught.value.diagnostics} == {code}
    assert isinstance(caught.value, RecipeError) == (code in CHECKED)


@pytest.mark.parametrize("code", [code for code, page in RUNNING.items() if page.right])
def test_the_right_example_is_right_and_can_be_planned(code):
    page = RUNNING[code]
    recipe = mfv_dsl.Recipe(page.recipe(page.right))
    assert recipe.checked.warnings == ()
    evals = {block.name for block in recipe.checked.blocks if block.kind == "eval"}
    assert {row.eval for row in recipe.plan().rows} == evals


@pytest.mark.parametrize("code", sorted(NOT_RUN))
def test_an_example_that_is_not_run_is_planned(code):
    page = RUNNING[code]
    assert mfv_dsl.Recipe(page.recipe(page.wrong)).plan().rows


def test_every_code_that_is_raised_has_a_page_and_every_page_a_code():
    package = Path(mfv_dsl.__file__).parent
    pages = package / "lang" / "pages"
    raised = {
        code
        for path in package.rglob("*.py")
        if pages not in path.parents
        for code in re.findall(r'(?<!== )"(MFV\d{4})"', path.read_text(encoding="utf-8"))
    }
    assert sorted(raised - set(CODES)) == []
    assert sorted(set(CODES) - raised) == []


def test_a_page_is_shown_with_both_examples():
    text = explain("MFV1004")
    assert text.startswith("MFV1004: a number and a name side by side\n\n")
    assert "Wrong:\n\n    vector steer = 2fv(left)\n" in text
    assert text.endswith("Right:\n\n    vector steer = 2 * fv(left)\n")


def test_an_unknown_code_suggests_a_known_one():
    with pytest.raises(KeyError, match="MFV1004"):
        explain("MFV104")
