"""How findings are shown, and that errors can be carried about."""

from __future__ import annotations

import json
import pickle
import re

import pytest

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label, render, to_json
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.source import Source, Span
from tests.lang.support import HEAD, checked

DEMO = Source("mfv 1\n\nvector steer = fv(lft) - fv(right)\n", "recipes/demo.mfv")


def at(source: Source, text: str) -> Span:
    start = source.text.index(text)
    return Span(start, start + len(text))


def test_one_place():
    diagnostic = Diagnostic(
        "MFV2001", "unknown relation `lft`", DEMO, at(DEMO, "lft"),
        "the dataset `shapes` has: left, right", help="did you mean `left`?", notes=("really",),
    )  # fmt: skip
    assert render(diagnostic) == (
        "error[MFV2001]: unknown relation `lft`\n"
        "  --> recipes/demo.mfv:3:19\n"
        "   |\n"
        " 3 | vector steer = fv(lft) - fv(right)\n"
        "   |                   ^^^ the dataset `shapes` has: left, right\n"
        "   = note: really\n"
        "   = help: did you mean `left`?"
    )


def test_two_places_with_lines_between():
    source = Source("".join(f"line {n}\n" for n in range(1, 13)), "a.mfv")
    diagnostic = Diagnostic(
        "MFV2008", "twice", source, at(source, "line 12"), "and again",
        secondary=(Label(at(source, "line 9"), "declared here"),),
    )  # fmt: skip
    assert render(diagnostic) == (
        "error[MFV2008]: twice\n"
        "   --> a.mfv:12:1\n"
        "    |\n"
        "  9 | line 9\n"
        "    | ------ declared here\n"
        "...\n"
        " 12 | line 12\n"
        "    | ^^^^^^^ and again"
    )


def test_without_a_place():
    error = MfvError("MFV7001", "no such model", help="try\nanother", notes=("one", "two"))
    assert str(error) == (
        "error[MFV7001]: no such model\n"
        "  = note: one\n"
        "  = note: two\n"
        "  = help: try\n"
        "          another"
    )
    assert error.code == "MFV7001"
    assert len(error.diagnostics) == 1


@pytest.mark.parametrize(
    ("line", "shown", "carets"),
    [
        ("\tx = bad", "    x = bad", "        ^^^"),
        ("ab\tbad", "ab  bad", "    ^^^"),
        ('"日本" bad', '"日本" bad', "       ^^^"),
        ("e\u0301 bad", "e\u0301 bad", "  ^^^"),
        ("\x1b[0m bad", "\ufffd[0m bad", "     ^^^"),
    ],
)
def test_carets_stand_under_what_they_mean(line, shown, carets):
    source = Source(line, "a.mfv")
    lines = render(Diagnostic("MFV1001", "m", source, at(source, "bad"))).split("\n")
    assert lines[3] == f" 1 | {shown}"
    assert lines[4] == f"   | {carets}"


def test_long_lines_are_shown_in_part():
    source = Source("a" * 500 + "bad" + "c" * 500, "a.mfv")
    lines = render(Diagnostic("MFV1001", "m", source, at(source, "bad"), "here")).split("\n")
    assert len(lines[3]) < 130
    column = lines[4].index("^^^ here")
    assert lines[3][column : column + 3] == "bad"
    assert lines[3].endswith("c...")
    assert " | ...a" in lines[3]


def test_a_place_over_several_lines_shows_the_first():
    source = Source("vector a = mean(\n  b)\n", "a.mfv")
    lines = render(Diagnostic("MFV1001", "m", source, Span(11, 21))).split("\n")
    assert lines[3:] == [" 1 | vector a = mean(", "   |            ^^^^^"]


def test_the_end_of_a_text_can_be_shown():
    source = Source("mfv 1\n", "a.mfv")
    lines = render(Diagnostic("MFV1001", "m", source, Span(6, 6))).split("\n")
    assert lines[1] == "  --> a.mfv:2:1"
    assert lines[3:] == [" 2 |", "   | ^"]


def test_colour_changes_nothing_but_colour():
    for diagnostic in checked(HEAD + "vector a = fv(lef)\nvector a = fv(left)\n").diagnostics:
        coloured = render(diagnostic, colour=True)
        assert "\x1b[" in coloured
        plain = re.sub("\x1b\\[[0-9;]*m", "", coloured)
        lines = [line.rstrip() for line in plain.split("\n")]
        assert "\n".join(lines) == render(diagnostic)


def test_json_is_plain_data():
    source = Source("mfv 1\nx y\n", "a.mfv")
    diagnostic = Diagnostic(
        "MFV2008", "m", source, Span(6, 7), "l", notes=("n",), help="h",
        secondary=(Label(Span(0, 3), "s"),), fixes=(Fix("t", Span(6, 7), "z"),),
    )  # fmt: skip
    data = to_json(diagnostic)
    assert json.loads(json.dumps(data)) == data
    assert data["file"] == "a.mfv"
    assert data["range"] == {
        "start": {"line": 2, "column": 1, "offset": 6},
        "end": {"line": 2, "column": 2, "offset": 7},
    }
    assert data["related"][0]["message"] == "s"
    assert data["fixes"][0]["replacement"] == "z"
    assert to_json(MfvError("MFV7001", "m").diagnostics[0])["range"] is None


def test_fixes_repair_the_text():
    text = HEAD + "vector a = 2fv(left) − fv(rihgt, shot=2)\n"
    for _ in range(10):
        found = checked(text).diagnostics
        if not found:
            break
        fix = found[0].fixes[0]
        text = text[: fix.span.start] + fix.replacement + text[fix.span.end :]
    assert text == HEAD + "vector a = 2 * fv(left) - fv(right, shots=2)\n"


def test_errors_survive_pickling():
    error = MfvError("MFV7001", "m", "h", ["n"], argument="x")
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.argument, str(again)) == (error.code, error.argument, str(error))
    recipe_error = RecipeError(checked("mfv 1\nx\n").diagnostics)
    again = pickle.loads(pickle.dumps(recipe_error))
    assert isinstance(again, RecipeError)
    assert str(again) == str(recipe_error)
