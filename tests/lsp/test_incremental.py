"""What is known after edits is what a fresh check of the text says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from lsprotocol import types as lsp

from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.parser import parse
from mfv_dsl.library.sources import at_hand
from mfv_dsl.lsp import reparse
from mfv_dsl.lsp.analysis import KnownFacts, analyse
from mfv_dsl.lsp.documents import Document
from mfv_dsl.lsp.positions import UTF16, Lines, changed, units
from mfv_dsl.lsp.reparse import Reparser

ROOT = Path(__file__).parents[2]
TEXTS = [
    path.read_text(encoding="utf-8", errors="replace")
    for path in sorted([*ROOT.glob("recipes/*.mfv"), *ROOT.glob("tests/corpus/*/*.mfv")])
]
#: What is put in: pieces that open, close, join and end things, and characters of every width.
PIECES = (
    *"(){}[]=,:.+-*/|&\"'#\\ \t\n\r", "\r\n", "\n\n", "mfv 1\n", "mfv", "eval a {", "}\n",
    "vector v = ", "fv(left)", "each", "L1H2", "0..5", "2fv", "1e-2", '"text"', "# c\n", "## d\n",
    "model m = tiny()\n", "\U0001f600", "é", "\ufeff", "\u2028", "\x0c", "\0", " + \n", "\n + ",
    "{ layer = 1 }", "match r {", "defaults { shots = 2 }\n", "profile p { shots = 1 }\n",
    "let x = 3\n",
)  # fmt: skip


def edits(
    text: str, count: int, dice: random.Random
) -> Iterator[lsp.TextDocumentContentChangePartial]:
    """Random edits of a text, each with places of the text after those before it."""
    for _ in range(count):
        lines = Lines(text)
        start = dice.randrange(len(text) + 1)
        length = dice.choice([0, 0, 0, 1, 1, 2, 5, 20])
        new = "" if length and dice.random() < 0.6 else dice.choice(PIECES)
        if dice.random() < 0.1:  # something that stands elsewhere
            at = dice.randrange(len(text) + 1)
            new = text[at : at + dice.randrange(80)]
        if len(text) > 6_000:
            length, new = 3_000, ""
        end = min(len(text), start + length)
        span = lines.range(Span(start, end))
        change = lsp.TextDocumentContentChangePartial(span, new)
        yield change
        text = changed(text, change)


def run(count: int, every: int, seed: int) -> None:
    """Edit one document ``count`` times, and compare with a fresh check now and then."""
    dice = random.Random(seed)
    facts = KnownFacts()
    document = Document("file:///recipe.mfv", "", 0)
    done = 0
    while done < count:
        whole = lsp.TextDocumentContentChangeWholeDocument(dice.choice(TEXTS))
        document.change([whole], done)
        for change in edits(document.lines.text, 40, dice):
            document.change([change], done)
            done += 1
            text = document.lines.text
            if done % 5 == 0 or every < 5:
                known = analyse(text, "recipe.mfv", facts, document.reparser)
            if done % every == 0:
                source = Source(text, "recipe.mfv")
                fresh = check_source(source, facts, (), at_hand)
                assert known.diagnostics == fresh.diagnostics
                assert known.recipe == parse(source).recipe
                if known.recipe is not None:
                    assert _places(known.recipe) == _places(parse(source).recipe)


def _places(tree):
    return [node.span for item in tree.items for node in item.walk()]


@pytest.mark.slow
def test_after_many_edits_a_recipe_is_what_a_fresh_check_says():
    run(30, 1, seed=1)


@pytest.mark.slow
def test_after_thousands_of_edits_a_recipe_is_what_a_fresh_check_says():
    run(3_000, 10, seed=10)


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
def test_a_recipe_in_pieces_is_the_recipe(text):
    source = Source(text, "a.mfv")
    result, fresh = Reparser().parse(source), parse(source)
    assert result.recipe == fresh.recipe and result.diagnostics == fresh.diagnostics
    if fresh.recipe is not None:
        assert _places(result.recipe) == _places(fresh.recipe)


@pytest.mark.parametrize(
    "line",
    ["\u2028| fv(left)", "\u200b+ fv(left)", "// c", "\u2028mfv 1", "mfv 1", "} {", "\u00a0+ 1"],
)
def test_a_piece_that_may_belong_to_the_one_before_is_no_piece(line):
    source = Source(f"mfv 1\nvector a = fv(left)\n{line}\nvector b = fv(left)\n")
    result, fresh = Reparser().parse(source), parse(source)
    assert (result.recipe, result.diagnostics) == (fresh.recipe, fresh.diagnostics)


def test_most_recipes_are_cut_so_that_one_item_alone_is_parsed():
    text = (ROOT / "recipes" / "quickstart.mfv").read_text(encoding="utf-8")
    reparser = Reparser()
    reparser.parse(Source(text))
    before = reparse._piece.cache_info().misses
    reparser.parse(Source(text.replace("eval raw {", "eval raw2 {")))
    assert reparse._piece.cache_info().misses == before + 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_positions_in_every_encoding(encoding):
    text = "a\U0001f600é\r\n\x0c\u2028b\rc\n\U0001f600"
    lines = Lines(text, encoding)
    assert len(lines.starts) == 4
    for offset in range(len(text) + 1):
        if text[offset - 1 : offset + 1] != "\r\n":
            assert lines.offset(lines.position(offset)) == offset
    assert lines.offset(lsp.Position(99, 0)) == len(text)
    assert lines.offset(lsp.Position(0, 99)) == 3
    assert units("\U0001f600", encoding) == {"utf-8": 4, "utf-16": 2, "utf-32": 1}[encoding]


def test_a_position_within_a_character_is_its_beginning():
    assert Lines("\U0001f600x").offset(lsp.Position(0, 1)) == 0
    assert Lines("\U0001f600x", UTF16).offset(lsp.Position(0, 2)) == 1


def test_a_change_without_a_range_is_the_whole_text():
    assert changed("abc", lsp.TextDocumentContentChangeWholeDocument("x")) == "x"
