"""Expressions whose parts are shared are written with names for them."""

from __future__ import annotations

import pytest

from mfv_dsl.base.source import Source
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.sharing import shared_parts, short_text
from mfv_dsl.lang.syntax import Binary, Call, Expr, Keyword, Name
from mfv_dsl.lang.unparse import unparse


def fv(relation: str) -> Expr:
    return Call(Name("fv"), (Name(relation),))


def rejected(count: int) -> Expr:
    v = fv("left")
    for _ in range(count):
        v = Call(Name("reject"), (v,), (Keyword(Name("from"), Binary("+", v, fv("right"))),))
    return v


@pytest.mark.parametrize("text", ["fv(left)", "2 * fv(left) - fv(right)", "top(10) | {L1H2}"])
def test_a_short_expression_stays_as_it_is(text: str):
    expression = parse_expression(Source(text))
    assert shared_parts(expression) == ([], expression) and short_text(expression) == text


@pytest.mark.parametrize("count", [30, 300])
def test_the_text_grows_as_the_program(count: int):
    parts, rest = shared_parts(rejected(count))
    texts = [unparse(value) for _, _, value in parts]
    assert count <= len(parts) <= count + 1 and {kind for kind, _, _ in parts} == {"vector"}
    assert sum(map(len, texts)) < 60 * count
    assert unparse(rest) == f"reject(part_{len(parts)}, from=part_{len(parts)} + fv(right))"


def test_equal_texts_where_both_can_be_written():
    whole = rejected(9)
    parts, rest = shared_parts(whole)
    text = unparse(rest)
    for _, name, value in reversed(parts):
        text = text.replace(name, unparse(value))
    assert text == unparse(whole)


def test_a_deep_chain_is_cut():
    v = fv("left")
    for _ in range(1000):
        v = Call(Name("normalize"), (v,))
    parts, rest = shared_parts(v)
    for text in [*(unparse(value) for _, _, value in parts), unparse(rest)]:
        assert text.count("(") < 62
        parse_expression(Source(text))


def test_sets_of_heads_and_numbers_are_no_vectors():
    heads: Expr = Call(Name("top"), (Name("k"),))
    number: Expr = Call(Name("norm"), (fv("left"),))
    v: Expr = fv("left")
    for _ in range(12):
        heads = Binary("|", heads, Binary("&", heads, Call(Name("all"))))
        number = Binary("+", number, number)
        v = Binary("*", number, Binary("+", v, v))
    kinds = {kind for kind, _, _ in shared_parts(heads)[0]}
    assert kinds == {"heads"}
    parts, _ = shared_parts(v)
    assert {kind for kind, _, _ in parts} == {"vector"}


def test_names_in_the_expression_are_left_alone():
    v = Binary("+", rejected(12), Name("part_1"))
    names = [name for _, name, _ in shared_parts(v)[0]]
    assert "part_1" not in names and names[0] == "part_1_"
