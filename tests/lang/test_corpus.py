"""Recipes as data: right ones, wrong ones with what is said of them, and formatted ones."""

from __future__ import annotations

import pytest

from mfv_dsl.base.source import Source
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.grammar import built
from mfv_dsl.lang.layout import lay_out
from mfv_dsl.lang.lexer import lex, token
from mfv_dsl.lang.parser import parse, source_from_bytes
from tests.lang.support import CORPUS, checked, expected_block, rendered, without_expected

#: what a recipe that shows much of the language has of what is hardly meant
LINTS = ("MFV2033", "MFV2060", "MFV3024")
VALID = sorted((CORPUS / "valid").glob("*.mfv"))
ERRORS = sorted((CORPUS / "errors").glob("*.mfv"))
FORMAT = sorted((CORPUS / "format").glob("*.in.mfv"))


def name_of(path):
    return path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_a_right_recipe_is_right(path):
    result = checked(source_from_bytes(path.read_bytes(), path.name).text)
    assert [str(found) for found in result.diagnostics if found.code not in LINTS] == []
    assert result.checked is not None


@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_the_grammar_reads_a_whole_recipe_as_its_statements(path):
    source = source_from_bytes(path.read_bytes(), path.name)
    statements, _ = lay_out(source, lex(source).tokens)
    session = built().parse_interactive(start="recipe")
    for statement in statements:
        for item in [*statement, token("NEWLINE", "\n", 0, 0)]:
            session.feed_token(item)
    bare = parse(Source(source.text.replace("##", "#"))).recipe  # comments are no tokens
    assert session.feed_eof() == bare


@pytest.mark.parametrize("path", ERRORS, ids=name_of)
def test_a_wrong_recipe_gets_these_messages(path):
    data = path.read_bytes()
    recipe = without_expected(data)
    assert recipe + expected_block(rendered(recipe, path.name)) == data


def test_five_mistakes_give_five_diagnostics():
    text = without_expected((CORPUS / "errors" / "five.mfv").read_bytes()).decode()
    found = checked(text).diagnostics
    assert [d.code for d in found] == ["MFV2001", "MFV1004", "MFV2002", "MFV2004", "MFV1004"]


@pytest.mark.parametrize("path", FORMAT, ids=name_of)
def test_formatting(path):
    source = source_from_bytes(path.read_bytes(), path.name)
    out = path.with_name(path.name.replace(".in.", ".out.")).read_text(encoding="utf-8")
    assert format_source(source) == out
    assert format_source(Source(out)) == out


@pytest.mark.slow
@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_formatting_keeps_tree_and_comments(path):
    source = source_from_bytes(path.read_bytes(), path.name)
    out = Source(format_source(source))
    assert parse(out).recipe == parse(source).recipe
    assert out.text.count("#") == source.text.count("#")
    assert format_source(out) == out.text
