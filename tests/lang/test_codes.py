"""Every code has a page, and its examples are what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mfv_dsl.lang
from mfv_dsl.lang.codes import CODES, explain
from tests.lang.support import checked, codes

LANGUAGE = {code: page for code, page in CODES.items() if code < "MFV5"}


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
    assert without == ["MFV1016", "MFV1017", "MFV1022"]


def test_every_code_in_the_sources_has_a_page():
    sources = Path(mfv_dsl.lang.__file__).parent.glob("*.py")
    used = {code for path in sources for code in re.findall(r'"(MFV\d{4})"', path.read_text())}
    assert used == set(LANGUAGE)


def test_a_page_is_shown_with_both_examples():
    text = explain("MFV1004")
    assert text.startswith("MFV1004: a number and a name side by side\n\n")
    assert "Wrong:\n\n    vector steer = 2fv(left)\n" in text
    assert text.endswith("Right:\n\n    vector steer = 2 * fv(left)\n")


def test_an_unknown_code_suggests_a_known_one():
    with pytest.raises(KeyError, match="MFV1004"):
        explain("MFV104")
