"""The grammar file, found in the wheel or in the checkout, and the parser built from it once."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Lark

STARTS = ("recipe", "item", "attribute", "expression")


def grammar_text() -> str:
    """The text of ``grammars/mfv.lark``."""
    packaged = resources.files("mfv_dsl").joinpath("grammars", "mfv.lark")
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    checkout = Path(__file__).resolve().parents[2] / "grammars" / "mfv.lark"
    return checkout.read_text(encoding="utf-8")


class KeepTokens:
    """Tells lark to keep the terminals that no rule takes: comments and known mistakes."""

    always_accept = (
        "COMMENT",
        "BAD_NUMBER",
        "BAD_STRING",
        "BAD_QUOTES",
        "BAD_OPERATOR",
        "BAD_NAME",
        "BAD_CHARACTER",
    )

    @staticmethod
    def process(stream: object) -> object:
        return stream


@lru_cache(maxsize=1)
def built() -> Lark:
    """The LALR parser; trees are made by :class:`mfv_dsl.lang.builder.Builder` on the way."""
    from lark import Lark

    from mfv_dsl.lang.builder import Builder

    return Lark(
        grammar_text(),
        parser="lalr",
        lexer="basic",
        start=list(STARTS),
        keep_all_tokens=True,
        maybe_placeholders=False,
        postlex=KeepTokens(),
        transformer=Builder(),
    )
