"""The text of a recipe, its words in the colours of the page's theme."""

from __future__ import annotations

from html import escape

from pygments.token import Comment, Keyword, Literal, Name, Number, String, _TokenType

from mfv_dsl.pygments_lexer import MfvLexer
from mfv_dsl.report.html.elements import code, remark, title

_MOST = 200  # lines shown
#: Kinds of words, the special before the general, as JupyterLab's editor has them; else shades that
#: are readable on white and on black.
_COLOURS: tuple[tuple[_TokenType, str, str], ...] = (
    (Comment, "comment", "#578686"),
    (String, "string", "#d14d42"),
    (Number, "number", "#3a8a5a"),
    (Literal, "number", "#3a8a5a"),
    (Keyword.Constant, "atom", "#3a7fd0"),
    (Keyword, "keyword", "#3a8f3a"),
    (Name.Attribute, "property", "#3a7fd0"),
    (Name.Builtin, "builtin", "#3a8f3a"),
    (Name.Function, "def", "#4273e3"),
)


def recipe_html(name: str, text: str) -> str:
    """A recipe's name and text."""
    lines = text.rstrip("\n").split("\n")
    shown = "\n".join(lines[:_MOST]) + "\n"
    marked = "".join(_span(kind, word) for kind, word in MfvLexer(ensurenl=False).get_tokens(shown))
    more = remark(f"the first {_MOST} of {len(lines):,} lines") if len(lines) > _MOST else ""
    return title("Recipe", name) + code(marked.rstrip("\n")) + more


def _span(kind: _TokenType, word: str) -> str:
    for general, variable, shade in _COLOURS:
        if kind in general:
            colour = f"var(--jp-mirror-editor-{variable}-color,{shade})"
            return f'<span style="color:{colour}">{escape(word)}</span>'
    return escape(word)
