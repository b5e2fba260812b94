"""Which tokens hold which part of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mfv_dsl.base.token_texts import tokens_of

SAID = {0: b"<s>", 1: b"Q", 2: b":", 3: b"\n", 4: b" blue", 5: b" cup", 6: b".", 7: b"\xc3",
        8: b"\xa9", 9: b"A:"}  # fmt: skip
TEXT = "Q:\n blue cup.\u00e9A:"


def surface(tokens: Sequence[int]) -> str:
    """As a byte-level tokenizer decodes: of a character that is not whole it gives a mark."""
    return b"".join(SAID[token] for token in tokens).decode(errors="replace")


def without_blanks(tokens: Sequence[int]) -> str:
    """As a tokenizer decodes that gives blanks of its own."""
    return surface(tokens).replace("\n", "").replace(" ", "  ") + " "


@pytest.mark.parametrize("decode", [surface, without_blanks])
@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ("Q", [1]), ("Q:", [1, 2]), (":\n blue", [2, 3, 4]), ("blue", [4]), ("ue c", [4, 5]),
        ("blue cup", [4, 5]), ("cup.", [5, 6]), ("\u00e9", [7, 8]), (".\u00e9", [6, 7, 8]),
        ("\u00e9A", [7, 8, 9]),
    ],
)  # fmt: skip
def test_the_tokens_that_hold_a_text(decode: Any, wanted: str, places: list[int]):
    start = TEXT.index(wanted)
    found = tokens_of(decode, range(10), TEXT, start, start + len(wanted))
    assert found is not None and list(found) == places


def test_tokens_that_say_something_else():
    assert tokens_of(surface, range(10), TEXT.replace("blue", "red"), 0, 2) is None
    assert tokens_of(surface, range(9), TEXT, 0, 2) is None
    assert tokens_of(surface, range(10), " ", 0, 1) is None
