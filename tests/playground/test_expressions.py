"""Typed expressions: the carets of ``mfv check``, and what a page does not let one ask."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfv_dsl.base.source import Source
from mfv_dsl.expression import Expression
from mfv_dsl.lang.checker import check_source
from mfv_dsl.playground import expressions
from mfv_dsl.playground.shown import checked_html
from mfv_dsl.playground.studio import Studio

BEFORE = "mfv 1\nmodel network = tiny()\ndataset pictures = scenes()\nvector added = "


@pytest.mark.parametrize(
    "text",
    [
        "fv(lft)", "fv(left) +", "fv(left", "2", "left", "top(3)", "fv(each)", '"', "fv(left) fv",
        "fv(left, trails=3)", "normalize(fv(left), 2)", "fv(left); x", "zeros() / 0", "mean()",
        "fv(left) - ünknown",
    ],
)  # fmt: skip
def test_mistakes_are_those_of_check_at_their_places_in_the_text(studio: Studio, text: str):
    found = studio.check(text).diagnostics
    usual = check_source(Source(f"{BEFORE}{text}\n")).diagnostics
    errors = [one for one in usual if one.severity == "error"]
    assert [one.code for one in found] == [one.code for one in errors] != []
    for one, other in zip(found, errors, strict=True):
        assert one.source is not None and one.source.text == text
        assert one.span is not None and other.span is not None
        assert one.span.start == min(other.span.start - len(BEFORE), len(text))
        assert one.help == other.help


def test_carets_stand_under_what_is_wrong(studio: Studio):
    checked = studio.check("tuned_left - fv(rigt)")
    assert str(checked.diagnostics[0]).split("\n")[1:5] == [
        "  --> vector:1:17",
        "   |",
        " 1 | tuned_left - fv(rigt)",
        "   |                 ^^^^ the dataset `pictures` has: left, right, above, below, "
        "above_left, above_right, below_left, below_right",
    ]
    html = checked_html(checked)
    assert "^^^^" in html and "did you mean `right`?" in html and checked.expression is None
    assert "right" in checked_html(studio.check("fv(left)"))


def test_names_of_libraries_are_what_they_load(studio: Studio):
    checked = studio.check("2 * tuned_left - fv(left)")
    loaded = '2 * load("vectors/flamingo-tiny", "tuned_left") - fv(left)'
    assert checked.expression == Expression.parse(loaded)
    assert checked.written == "2 * tuned_left - fv(left)" and [*checked.names] == ["tuned_left"]
    assert checked.layer is None and studio.check("tuned_left").layer == 1
    near = studio.check("tuned_lef")
    assert near.diagnostics[0].help == "did you mean `tuned_left`?"


def test_a_relation_is_never_taken_for_a_vector_of_its_name(studio: Studio):
    assert "left" not in studio.names and 'load("vectors/flamingo-tiny", "left")' in {
        studio.call_for(one) for one in studio.vectors
    }
    assert studio.check('load("vectors/flamingo-tiny", "left")').layer == 0


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "secret.safetensors", "..", "vectors/flamingo-tiny/../flamingo-tiny",
     "hf://org/repo", "vectors/flamingo-tiny/left.safetensors", "~/vectors"],
)  # fmt: skip
def test_no_other_file_is_loaded_or_even_looked_for(
    studio: Studio, path: str, monkeypatch: pytest.MonkeyPatch
):
    def reads(*arguments: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(expressions, "at_hand", reads)
    monkeypatch.setattr(studio.checker, "names", {})
    for text in (f'load("{path}")', f'load("{path}", "left")', f'fv(left) + load("{path}", "x")'):
        checked = studio.check(text)
        assert [one.code for one in checked.diagnostics] == ["MFV5411"]
        assert checked.expression is None


def test_a_name_does_not_lead_out_of_a_library(studio: Studio, tmp_path: Path):
    for name in ("../left", "/etc/passwd", "a/b"):
        checked = studio.check(f'load("vectors/flamingo-tiny", "{name}")')
        assert checked.diagnostics[0].code == "MFV6005" and checked.expression is None


def test_what_would_take_too_long_is_refused(studio: Studio):
    codes = [one.code for one in studio.check("fv(left, trials=1000000)").diagnostics]
    assert codes == ["MFV5413"]
    many = " + ".join(f"fv(left, seed={seed}, trials=900)" for seed in range(20))
    assert [one.code for one in studio.check(many).diagnostics] == ["MFV5413"]
    assert studio.check("+".join(["fv(left)"] * 100)).expression is not None  # one computation
    long = studio.check("fv(left) +" * 300)
    assert [one.code for one in long.diagnostics] == ["MFV5413"]
    assert studio.check("(" * 900 + "fv(left)" + ")" * 900).expression is None


def test_several_lines_and_comments_are_one_expression(studio: Studio):
    checked = studio.check("fv(left)\n  - fv(right)  # the other side")
    assert checked.expression == Expression.parse("fv(left) - fv(right)")
    wrong = studio.check("fv(left)\n  - fv(rigt)").diagnostics[0]
    assert wrong.source is not None and wrong.span is not None
    assert wrong.source.position(wrong.span.start) == (2, 8)
    assert studio.check("  \n").is_empty


@pytest.mark.parametrize(
    "text",
    ['fv(left)\nsave "x" { vectors = [added] }', "fv(left)\rmodel m = tiny()",
     "fv(left)\u2028dataset d = scenes()", "fv(left)\x0bmfv 1", "fv(left) }\ndefaults { shots = 1"],
)  # fmt: skip
def test_an_expression_brings_no_other_statement(studio: Studio, text: str):
    checked = studio.check(text)
    assert checked.expression is None and checked.diagnostics[0].severity == "error"


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from(string.printable + "äλ\u2028\x00"), max_size=60))
def test_no_text_makes_the_check_fail(studio: Studio, text: str):
    checked = studio.check(text)
    assert (checked.expression is None) == (bool(checked.diagnostics) or checked.is_empty) or all(
        one.severity == "warning" for one in checked.diagnostics
    )
    assert "<script" not in checked_html(checked)
