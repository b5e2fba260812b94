"""Every code has a page, and its examples are what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mfv_dsl
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.lang.codes import Page, all_codes, explain, page
from tests.lang.support import checked, codes

PAGES = Path(mfv_dsl.__file__).parent / "lang" / "pages"
#: every page there is
CODES = {code: page(code) for code in all_codes()}
LANGUAGE = {code: page for code, page in CODES.items() if code < "MFV5"}
RUNNING = {code: page for code, page in CODES.items() if code >= "MFV5"}
#: what stands before an example that is not a whole recipe
PRELUDE = """\
mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right, above, below])

"""
#: wrong examples that depend on what the bundled model answers, or on files
NOT_RUN = {"MFV5201", "MFV5305"}
#: what `mfv check` finds already: facts of scenes(), and where a blend stands
CHECKED = {
    *(f"MFV53{n}" for n in (10, 11, 12, 30, 31, 32, 33, 34, 51, 52, 53)),
    *(code for code in CODES if code[:5] == "MFV71"),
    "MFV5711", "MFV5714", "MFV5715", "MFV7210",
    "MFV7275", "MFV7278", "MFV7281", "MFV7284",
    *(f"MFV60{n}" for n in range(10, 17)),
}  # fmt: skip


def recipe(page: Page, example: str) -> str:
    """An example of a page as a whole recipe."""
    return example if page.whole else PRELUDE + example


@pytest.mark.parametrize("code", [code for code, page in LANGUAGE.items() if page.wrong])
def test_the_wrong_example_has_this_error_alone(code):
    page = LANGUAGE[code]
    assert set(codes(recipe(page, page.wrong))) == {code}


@pytest.mark.parametrize("code", [code for code, page in LANGUAGE.items() if page.right])
def test_the_right_example_is_right(code):
    page = LANGUAGE[code]
    result = checked(recipe(page, page.right))
    unused = "MFV2060"  # of what stands before every example
    assert [d for d in result.diagnostics if d.code != unused or code == unused] == []
    assert result.checked is not None


def test_only_what_no_recipe_can_show_has_no_example():
    without = [code for code, page in LANGUAGE.items() if not page.wrong]
    assert without == ["MFV1016", "MFV1017", "MFV1022", "MFV2023", "MFV2030", "MFV2045"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", [c for c, page in RUNNING.items() if page.wrong and c not in NOT_RUN]
)
def test_the_wrong_example_ends_with_this_error(code, tmp_path):
    page = RUNNING[code]
    with pytest.raises(MfvError) as caught:
        mfv_dsl.Recipe(recipe(page, page.wrong)).run(tmp_path)
    assert {diagnostic.code for diagnostic in caught.value.diagnostics} == {code}
    assert isinstance(caught.value, RecipeError) == (code in CHECKED)


@pytest.mark.parametrize("code", [code for code, page in RUNNING.items() if page.right])
def test_the_right_example_is_right_and_can_be_planned(code):
    page = RUNNING[code]
    right = mfv_dsl.Recipe(recipe(page, page.right))
    assert right.checked.warnings == ()
    evals = {block.name for block in right.checked.blocks if block.kind == "eval"}
    assert {row.eval for row in right.plan().rows} == evals


@pytest.mark.parametrize("code", sorted(NOT_RUN))
def test_an_example_that_is_not_run_is_planned(code):
    page = RUNNING[code]
    assert mfv_dsl.Recipe(recipe(page, page.wrong)).plan().rows


def test_every_code_that_is_raised_has_a_page_and_every_page_a_code():
    raised = {
        code
        for path in Path(mfv_dsl.__file__).parent.rglob("*.py")
        for code in re.findall(r'(?<!== )"(MFV\d{4})"', path.read_text(encoding="utf-8"))
    }
    assert sorted(raised - set(CODES)) == []
    assert sorted(set(CODES) - raised) == []


def test_the_folder_of_pages_has_pages_alone():
    names = [path.name for path in PAGES.iterdir() if path.name != "__pycache__"]
    assert [name for name in names if not re.fullmatch(r"MFV[1-7]\d{3}\.md", name)] == []


@pytest.mark.parametrize("code", CODES)
def test_a_page_is_a_title_a_text_and_examples_and_nothing_else(code):
    page = CODES[code]
    assert page.title and page.text and "```" not in page.text
    parts = [f"# {page.title}\n\n{page.text}\n"]
    for word, example in (("wrong", page.wrong), ("right", page.right)):
        if example:
            parts.append(f"```mfv {word}{' whole' if page.whole else ''}\n{example}```\n")
    assert (PAGES / f"{code}.md").read_text(encoding="utf-8") == "\n".join(parts)


def test_one_page_is_read_and_no_other(monkeypatch):
    names = []
    read_text = Path.read_text

    def noted(path: Path, encoding: str | None = None) -> str:
        names.append(path.name)
        return read_text(path, encoding)

    monkeypatch.setattr(Path, "read_text", noted)
    explain("MFV1004")
    assert names == ["MFV1004.md"]


def test_a_page_is_shown_with_both_examples():
    assert explain("MFV1004") == (
        "MFV1004: a number and a name side by side\n\n"
        "There is no silent multiplication: `2fv(left)` could be a slip for many things, so `*` "
        "is\nwritten.\n\n"
        "Wrong:\n\n    vector steer = 2fv(left)\n\n"
        "Right:\n\n    vector steer = 2 * fv(left)\n"
    )


def test_a_page_of_what_no_recipe_shows_is_shown_without_examples():
    page = CODES["MFV6010"]
    assert explain("MFV6010") == f"MFV6010: {page.title}\n\n{page.text}\n"


def test_an_unknown_code_suggests_a_known_one():
    with pytest.raises(KeyError, match="MFV1004"):
        explain("MFV104")
