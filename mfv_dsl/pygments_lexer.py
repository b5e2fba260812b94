"""Highlighting of recipes by Pygments: in Sphinx, in Jupyter, by ``pygmentize -l mfv``.

Tokens are those of the language's own lexer, and words are those of its registry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pygments.lexer import Lexer
from pygments.token import (
    Comment,
    Error,
    Keyword,
    Literal,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Whitespace,
    _TokenType,
)

from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import CONSTANTS, FUNCTION, ITEM, all_entries
from mfv_dsl.lang.lexer import raw_tokens

_KINDS: dict[str, _TokenType] = {
    "COMMENT": Comment.Single, "STRING": String.Double, "INT": Number.Integer,
    "FLOAT": Number.Float, "HEAD": Literal, "NEWLINE": Whitespace, "DOTS": Operator,
    "EQUAL": Operator, "PLUS": Operator, "MINUS": Operator, "STAR": Operator, "SLASH": Operator,
    "VBAR": Operator, "AMPERSAND": Operator,
}  # fmt: skip
_VALUES = frozenset(
    {choice for entry in all_entries() for p in entry.parameters for choice in p.choices}
    | {"each", *CONSTANTS}
)
_CONSTRUCTORS = frozenset(name for entries in CONSTRUCTOR.values() for name in entries)


#: Words that join others, with the kind of what stands behind them.
_CONTROL = {("else", "COLON"), ("for", "NAME"), ("as", "NAME")}


class MfvLexer(Lexer):
    """Recipes of mfv-dsl.

    >>> from pygments.token import Keyword
    >>> list(MfvLexer().get_tokens("eval raw { shots = 4 }"))[0] == (Keyword.Declaration, "eval")
    True
    """

    name = "mfv recipe"
    aliases: ClassVar[list[str]] = ["mfv"]
    filenames: ClassVar[list[str]] = ["*.mfv"]
    mimetypes: ClassVar[list[str]] = ["text/x-mfv"]
    url = ""

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        """The tokens of a text with their places; what is between them is white.  A first line that
        makes it a cell of a notebook is none of the recipe's."""
        end = len(text.partition("\n")[0]) if text.startswith("%%mfv") else 0
        if end:
            yield 0, Comment.Preproc, text[:end]
        tokens = [
            (token.type, str(token), (token.start_pos or 0) + end)
            for token in raw_tokens(text[end:])
        ]
        first = True  # whether nothing but white stands before it in its line
        for number, (kind, value, start) in enumerate(tokens):
            if start > end:
                yield end, Whitespace, text[end:start]
            following = [t for t, _, _ in tokens[number + 1 : number + 3]]
            yield start, self._kind(kind, value, first, following), value
            first = kind == "NEWLINE"
            end = start + len(value)
        if end < len(text):
            yield end, Whitespace, text[end:]

    def _kind(self, kind: str, value: str, first: bool, following: list[str]) -> Any:
        if kind != "NAME":
            return Error if kind.startswith("BAD_") else _KINDS.get(kind, Punctuation)
        after = following[0] if following else ""
        if first and after in ("NAME", "STRING", "LBRACE", "INT") and value in (*ITEM, "mfv"):
            return Keyword.Declaration
        if (value, after) in _CONTROL or (value == "match" and following == ["NAME", "LBRACE"]):
            return Keyword
        if after == "EQUAL":
            return Name.Attribute
        if after == "LPAR":
            known = value in FUNCTION or value in _CONSTRUCTORS
            return Name.Builtin if known else Name.Function
        return Keyword.Constant if value in _VALUES else Name
