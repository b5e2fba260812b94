"""What is wrong, what would mend it, and formatting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lsprotocol import types as lsp

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.entries import ITEM
from mfv_dsl.lang.format import format_source
from mfv_dsl.lsp.actions import actions, format_edits
from mfv_dsl.lsp.analysis import Analysis, analyse, further
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.hover import hover
from mfv_dsl.lsp.messages import published
from mfv_dsl.lsp.outline import symbols
from mfv_dsl.lsp.positions import Lines
from tests.lsp.support import HEAD, applied


def test_diagnostics_have_places_related_places_and_a_page():
    text = HEAD + "vector steer = fv(left)\nvector w = fv(lft)\n"
    found = published(analyse(text).diagnostics, Lines(text), "file:///a.mfv")
    twice = next(d for d in found if d.code == "MFV2008")
    assert twice.range == lsp.Range(lsp.Position(10, 7), lsp.Position(10, 12))
    related = twice.related_information[0]
    assert (related.message, related.location.range.start.line) == ("declared here", 8)
    page = Path(twice.code_description.href.removeprefix("file://"))
    assert page.read_text(encoding="utf-8").startswith("# ")
    unknown = next(d for d in found if d.code == "MFV2001")
    assert unknown.severity == lsp.DiagnosticSeverity.Error
    assert "did you mean `left`?" in unknown.message


def test_what_nothing_uses_is_shown_faded():
    text = HEAD + "eval a { shots = 0 }\n"
    found = published(analyse(text).diagnostics, Lines(text), "file:///a.mfv")
    faded = {d.code for d in found if d.tags == [lsp.DiagnosticTag.Unnecessary]}
    assert faded == {d.code for d in found if d.message.startswith("nothing uses")} != set()


def offered(text: str, word: str) -> dict[str, lsp.CodeAction]:
    analysis, start = analyse(text), text.rindex(word)
    span = Span(start, start + len(word))
    found = actions(analysis, list(analysis.diagnostics), Lines(text), "file:///a", span)
    return {action.title: action for action in found}


def edited(text: str, action: lsp.CodeAction) -> str:
    return applied(text, list(action.edit.changes["file:///a"]))


def test_repairs_repair():
    text = HEAD + "vector other = fv(lft) + 2fv(right)\nevl a { shots = 0 }\n"
    found = offered(text, "lft")
    assert "fv(left) + 2fv" in edited(text, found["Write `left`"])
    whole = edited(text, found["Repair all that can be repaired (3)"])
    assert [d for d in analyse(whole).diagnostics if d.severity == "error"] == []
    assert whole.endswith("vector other = fv(left) + 2 * fv(right)\neval a { shots = 0 }\n")


ALLOWED = """\
mfv 1
model m = tiny()
dataset d = scenes()
eval a {
  shots = 4
}
eval b { shots = 4 }
vector v = fv(left)
"""


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("shots = 4\n}", "  shots = 4\n  allow = [MFV2022]\n}"),
        ("b {", "eval b { shots = 4, allow = [MFV2022] }"),
        ("left", "\ndefaults { allow = [MFV2022] }\n"),
    ],
)
def test_a_warning_can_be_allowed_where_the_language_has_it(word, wanted, monkeypatch):
    allow = ITEM["eval"].parameter("allow")
    if allow is None:
        pytest.skip("the language has no `allow` yet")
    analysis = analyse(ALLOWED)
    start = ALLOWED.index(word)
    warning = Diagnostic(
        "MFV2022", "it has no effect", analysis.source, Span(start, start + 1), severity="warning"
    )
    (action,) = [
        action
        for action in actions(analysis, [warning], Lines(ALLOWED), "file:///a", Span(start, start))
        if action.title.startswith("Allow MFV2022")
    ]
    after = edited(ALLOWED, action)
    assert wanted in after
    assert not [d for d in analyse(after).diagnostics if d.severity == "error"]
    again = analyse(after)
    more = replace(warning, code="MFV2023")
    found = actions(again, [more], Lines(after), "file:///a", more.span)
    (action,) = [action for action in found if action.title.startswith("Allow MFV2023")]
    assert "allow = [MFV2022, MFV2023]" in edited(after, action)


def test_formatting_changes_what_must_change_and_is_what_fmt_writes():
    text = HEAD + "eval a{shots=0}\n"
    assert applied(text, format_edits(Lines(text))) == format_source(Source(text))
    formatted = format_source(Source(text))
    assert format_edits(Lines(formatted)) == []
    assert edited(text, offered(text, "shots")["Format the recipe"]) == formatted


@pytest.mark.parametrize("broken", ["eval a { add = fv(left\n", "vector = \n", "\0", 'save "x {'])
def test_formatting_leaves_a_broken_text_alone(broken):
    assert format_edits(Lines(HEAD + broken)) == []


def test_crlf_and_astral_characters_keep_their_places():
    text = (
        "# \U0001f600\U0001f600 \U0001f9e0\n" + HEAD + "vector o = fv(lft)  # \U0001f600\n"
    ).replace("\n", "\r\n")
    found = published(analyse(text).diagnostics, Lines(text), "file:///a")
    assert [(d.range.start.line, d.range.start.character) for d in found] == [(11, 14)]
    for edit in format_edits(Lines(text)):
        assert "\U0001f600" not in edit.new_text or edit.new_text.isprintable() is False


def test_columns_count_in_utf_16():
    line = 'vector v = load("vectors/\U0001f600\U0001f600", lft) # x'
    text = HEAD + line
    found = published(analyse(text).diagnostics, Lines(text), "file:///a")
    at = found[0].range.start
    assert Lines(text).offset(at) == text.index("lft") or Lines(text).offset(at) == text.index(
        "load"
    )
    for offset in range(len(text) + 1):
        lines = Lines(text)
        assert lines.offset(lines.position(offset)) == offset
    end = Lines(text).position(text.index("lft"))
    assert end.character == line.index("lft") + 2


def test_analysis_of_what_is_no_recipe():
    for text in ("", "\0", "x" * 3_000_000, "mfv 9\n", "{" * 1000):
        analysis = analyse(text)
        assert isinstance(analysis, Analysis)
        lines = Lines(text[:1000])
        assert symbols(analysis, lines) == [] or text.startswith("{")
        hover(analysis, lines, 0)
        complete(analysis, lines, 0)
        further(analysis)
