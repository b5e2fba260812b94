"""No feature fails on any text, at any place of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from mfv_dsl.base.source import Span
from mfv_dsl.lsp.actions import actions
from mfv_dsl.lsp.analysis import Analysis, KnownFacts, analyse, further
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.highlighting import semantic_tokens
from mfv_dsl.lsp.hover import hover, signature_help
from mfv_dsl.lsp.lenses import lenses
from mfv_dsl.lsp.messages import published
from mfv_dsl.lsp.navigation import CannotRename, definitions, references
from mfv_dsl.lsp.outline import folds, symbols
from mfv_dsl.lsp.positions import Lines, changed
from mfv_dsl.lsp.reparse import Reparser
from tests.lsp.support import renamed_places
from tests.lsp.test_incremental import TEXTS, edits


def ask_everything(analysis: Analysis, offset: int) -> None:
    """Every feature, at one place of a text."""
    lines, uri = Lines(analysis.source.text), "file:///recipe.mfv"
    found, more = list(analysis.diagnostics), further(analysis)
    published([*found, *more.diagnostics], lines, uri)
    questions: list[Callable[[], object]] = [
        lambda: complete(analysis, lines, offset), lambda: hover(analysis, lines, offset),
        lambda: signature_help(lines, offset), lambda: definitions(analysis, offset),
        lambda: references(analysis, offset), lambda: symbols(analysis, lines),
        lambda: folds(analysis, lines), lambda: semantic_tokens(analysis, lines),
        lambda: actions(analysis, found, lines, uri, Span(offset, offset)),
        lambda: lenses(analysis, more.plan, lines),
    ]  # fmt: skip
    for ask in questions:
        ask()
    with suppress(CannotRename):
        renamed_places(analysis, offset, "another_name")


def edited(rounds: int, seed: int) -> None:
    dice, facts = random.Random(seed), KnownFacts()
    for _ in range(rounds):
        text, reparser = dice.choice(TEXTS), Reparser()
        for change in edits(text, 20, dice):
            text = changed(text, change)
        analysis = analyse(text, "recipe.mfv", facts, reparser)
        ask_everything(analysis, dice.randrange(len(text) + 1))


def test_no_feature_fails_on_edited_recipes():
    edited(5, seed=1)


@pytest.mark.slow
def test_no_feature_fails_on_many_edited_recipes():
    edited(100, seed=2)
