"""The grammar file itself."""

from __future__ import annotations

import pytest

from mfv_dsl.lang.grammar import STARTS, KeepTokens, built, grammar_text


@pytest.mark.slow
def test_the_grammar_has_no_conflicts_even_when_read_strictly():
    pytest.importorskip("interegular")
    from lark import Lark

    Lark(
        grammar_text(), parser="lalr", lexer="basic", start=list(STARTS), strict=True,
        keep_all_tokens=True, maybe_placeholders=False, postlex=KeepTokens(),
    )  # fmt: skip


def test_it_is_built_once():
    assert built() is built()


def test_every_known_mistake_reaches_the_lexer():
    mistakes = {kind for kind in KeepTokens.always_accept if kind.startswith("BAD_")}
    assert mistakes == {t.name for t in built().terminals if t.name.startswith("BAD_")}
    assert "COMMENT" in {t.name for t in built().terminals}
