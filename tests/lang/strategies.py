"""Hypothesis strategies for trees and for damaged recipes."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from mfv_dsl.lang import syntax as s
from mfv_dsl.lang.recovery import FOREIGN

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True).filter(
    lambda text: not (text[0] == "L" and "H" in text[2:] and text.replace("H", "", 1)[1:].isdigit())
)
name = names.map(s.Name)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).map(
    s.Text
)
whole = st.integers(0, 10**6)
floats = st.floats(0, 1e9, allow_nan=False, allow_infinity=False)
numbers = st.one_of(whole, floats).map(s.Number)
labels = st.builds(s.HeadLabel, st.integers(0, 99), st.integers(0, 99))
qualified = st.builds(lambda a, b: s.Name(f"{a}.{b}"), names, names)
leaves = st.one_of(name, qualified, numbers, texts, labels)
docs = st.lists(st.from_regex(r"[a-z é]{0,9}[a-z]", fullmatch=True).map(str.strip), max_size=2).map(
    "\n".join
)
kind = names.filter(lambda text: text not in FOREIGN).map(s.Name)


def _tuples(items, most=3):
    return st.lists(items, max_size=most).map(tuple)


def _compound(inner):
    operand = inner.filter(lambda node: not isinstance(node, s.Range))
    keywords = st.builds(s.Keyword, name, inner)
    return st.one_of(
        st.builds(s.Unary, st.sampled_from("+-"), inner),
        st.builds(s.Binary, st.sampled_from("+-*/|&"), inner, inner),
        st.builds(s.Range, operand, operand, st.one_of(st.none(), operand)),
        st.builds(s.ListExpr, _tuples(inner)),
        st.builds(s.SetExpr, _tuples(inner)),
        st.builds(s.Call, st.one_of(name, qualified), _tuples(inner), _tuples(keywords, 2)),
        st.builds(s.Match, name, _tuples(st.builds(s.Case, name, inner))),
    )


expressions = st.recursive(leaves, _compound, max_leaves=12)
attributes = st.builds(
    s.Attribute, name, expressions, st.one_of(st.none(), name, qualified, texts), doc=docs
)
labels_of_blocks = st.one_of(st.none(), name.filter(lambda label: label.text != "for"), texts)
items = st.one_of(
    st.builds(s.Declaration, kind, name, _tuples(name, 2), expressions, doc=docs),
    st.builds(s.Block, kind, labels_of_blocks, _tuples(attributes), doc=docs),
    st.builds(s.Block, kind, st.none(), _tuples(attributes), st.just(()), name, doc=docs),
    st.builds(
        s.Block, st.just(s.Name("report")), st.none(), _tuples(attributes), _tuples(expressions)
    ),
)
words = st.one_of(st.just((None, None)), st.tuples(name, name))
inclusions = st.builds(lambda k, path, w: s.Inclusion(k, path, *w), kind, texts, words)
recipes = st.builds(s.RecipeTree, st.just(s.Number(1)), _tuples(items, 4), _tuples(inclusions, 2))

_ODD = (
    "(", ")", "[", "]", "{", "}", '"', "'", "#", "=", "==", ",", ":", "..", "...", "-", "*", "|",
    "\n", "\r\n", "\t", " ", "0", "1e9", "2fv", "L3H1", "each", "native", "−", "“", "left", "fv(",
    "eval x {", "match r {", "match each {\n", "## ", "c.", "use ", "let a = ", "else: ",
    "vector v = ", "\0", "\ufeff", "é", "日本", "\\", "/", "&", "1..0", "true",
)  # fmt: skip


def damaged(text: str, chance: random.Random) -> str:
    """The text with a few random cuts, swaps, repeats and odd bits."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        until = min(len(text), at + chance.choice((0, 1, 1, 2, 5, 20)))
        kind = chance.randrange(4)
        if kind == 0:
            text = text[:at] + text[until:]
        elif kind == 1:
            text = text[:at] + chance.choice(_ODD) + text[until:]
        elif kind == 2:
            text = text[:at] + text[at:until] * 2 + text[until:]
        else:
            other = chance.randrange(len(text) + 1)
            text = text[:at] + text[other : other + 12] + text[at:]
    return text
