"""The grammar file, found in the wheel or in the checkout, and the parser built from it once."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Lark

STARTS = ("recipe", "item", "attribute", "expression")


def grammar_text() -> str:
    """The text of ``grammars/mfv.lark``, of the installed package or of the checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged, checkout = (at / "grammars" / "mfv.lark" for at in (package, package.parent))
    return (packaged if packaged.is_file() else checkout).read_text(encoding="utf-8")


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


def cache_file(text: str) -> str | None:
    """Where the parser tables of the grammar ``text`` are kept, in the user's own cache folder;
    None where that cannot be made.  Lark checks what it finds there and rebuilds if need be."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(home, "mfv-dsl")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    return os.path.join(folder, f"grammar-{hashlib.sha256(text.encode()).hexdigest()[:16]}.lark")


@lru_cache(maxsize=1)
def built() -> Lark:
    """The LALR parser; trees are made by :class:`mfv_dsl.lang.builder.Builder` on the way."""
    from lark import Lark

    from mfv_dsl.lang.builder import Builder

    text = grammar_text()
    return Lark(
        text,
        cache=cache_file(text) or False,
        parser="lalr",
        lexer="basic",
        start=list(STARTS),
        keep_all_tokens=True,
        maybe_placeholders=False,
        postlex=KeepTokens(),
        transformer=Builder(),
    )
