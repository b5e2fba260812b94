"""What holds for every text and every tree."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfv_dsl.base.diagnostics import render, to_json
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.source import Source
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.parser import parse, parse_expression
from mfv_dsl.lang.unparse import unparse
from tests.lang import strategies
from tests.lang.support import CORPUS, checked

RECIPES = [
    path.read_bytes().decode("utf-8-sig")
    for folder in ("valid", "errors")
    for path in sorted((CORPUS / folder).glob("*.mfv"))
    if path.name != "nul.mfv"
]


def survives(text: str) -> None:
    """Nothing but diagnostics comes out, each with a place in the text, and all can be shown."""
    result = checked(text)
    for diagnostic in result.diagnostics:
        assert diagnostic.span is not None
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
        assert render(diagnostic).startswith(f"{diagnostic.severity}[{diagnostic.code}]: ")
        json.dumps(to_json(diagnostic))
    wrong = any(diagnostic.severity == "error" for diagnostic in result.diagnostics)
    assert (result.checked is None) == wrong
    try:
        formatted = format_source(Source(text))
    except RecipeError:
        assert wrong
    else:
        assert format_source(Source(formatted)) == formatted


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(strategies.expressions)
def test_an_expression_survives_text(tree):
    assert parse_expression(Source(unparse(tree))) == tree


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(strategies.recipes)
def test_a_recipe_survives_text_and_formatting(recipe):
    source = Source(unparse(recipe))
    parsed = parse(source)
    assert parsed.diagnostics == ()
    assert parsed.recipe == recipe
    formatted = format_source(source)
    assert parse(Source(formatted)).recipe == recipe
    assert format_source(Source(formatted)) == formatted


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_yields_only_diagnostics(text):
    survives(text)
    survives("mfv 1\nmodel m = tiny()\ndataset d = scenes()\nvector v = " + text)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=40))
def test_any_expression_yields_a_tree_or_a_recipe_error(text):
    try:
        tree = parse_expression(Source(text))
    except RecipeError:
        pass
    else:
        assert parse_expression(Source(unparse(tree))) == tree


@pytest.mark.slow
def test_damaged_recipes_yield_only_diagnostics():
    chance = random.Random(1)
    for _ in range(250):
        survives(strategies.damaged(chance.choice(RECIPES), chance))


@pytest.mark.slow
def test_many_damaged_recipes_yield_only_diagnostics():
    chance = random.Random(2)
    short = [text for text in RECIPES if len(text) < 1500]
    for _ in range(2_000):
        survives(strategies.damaged(chance.choice(short), chance))
