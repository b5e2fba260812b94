"""The TextMate grammar of recipes: the terminals of ``grammars/mfv.lark``, with words of the
registry."""

from __future__ import annotations

from typing import Any

from tools.editors.words import CONSTRUCTORS, FUNCTIONS, ITEMS, VALUES

#: What ends a word: more than ``\\b``, so that ``2fv`` and letters of other scripts are mistakes.
_END = r"(?![\p{L}\p{N}_])"
_BEGIN = r"(?<![\p{L}\p{N}_.])"


def _any(words: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(sorted(words, key=len, reverse=True))})"


def _rule(name: str, match: str, **captures: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": f"{name}.mfv", "match": match}
    if captures:
        numbered = {key[1:]: {"name": f"{scope}.mfv"} for key, scope in captures.items()}
        rule = {"match": match, "captures": numbered}
    return rule


def grammar() -> dict[str, Any]:
    """The grammar as it is written to ``mfv.tmLanguage.json``."""
    name = r"[A-Za-z_][A-Za-z0-9_]*"
    rules = [
        _rule("comment.line.documentation", r"##.*$"),
        _rule("comment.line.number-sign", r"#.*$"),
        {
            "name": "string.quoted.double.mfv",
            "match": r'"[^"\\\r\n]*(?:\\[^\r\n][^"\\\r\n]*)*"',
            "captures": {"0": {"patterns": [
                _rule("constant.character.escape", r'\\["\\nrt]'),
                _rule("invalid.illegal.escape", r"\\."),
            ]}},
        },
        _rule("invalid.illegal.string", r'"[^"\\\r\n]*(?:\\[^\r\n][^"\\\r\n]*)*\\?$'),
        _rule(
            "", rf"^([ \t]*)(mfv)[ \t]+([0-9]+){_END}", _2="keyword.other.version",
            _3="constant.numeric.integer",
        ),
        _rule(
            "", rf"^[ \t]*(defaults)[ \t]+(for)[ \t]+({name}){_END}", _1="keyword.declaration",
            _2="keyword.control", _3="entity.name.type",
        ),
        _rule("keyword.control", rf"{_BEGIN}match{_END}(?=[ \t]+{name}[ \t]*\{{)"),
        _rule("keyword.control", rf"{_BEGIN}else{_END}(?=[ \t]*:)"),
        _rule("keyword.control", rf'(?<="[ \t])as{_END}(?=[ \t]+{name})'),
        _rule(
            "", rf"^[ \t]*({_any(ITEMS)}){_END}(?=[ \t]+[A-Za-z_\"{{]|[ \t]*{{)"
            rf"(?:([ \t]+)({name}){_END})?", _1="keyword.declaration", _3="entity.name.type",
        ),
        _rule("constant.other.head", rf"{_BEGIN}L[0-9]+H[0-9]+{_END}"),
        _rule(
            "constant.numeric.float",
            rf"{_BEGIN}[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)(?![\p{{L}}\p{{N}}_]|\.(?!\.))",
        ),
        _rule(
            "constant.numeric.integer", r"(?<![\p{L}\p{N}_])[0-9]+(?![\p{L}\p{N}_]|\.(?!\.))"
        ),
        _rule("invalid.illegal.number", r"[0-9][\p{L}\p{N}_]*"),
        _rule("variable.parameter", rf"{_BEGIN}{name}{_END}(?=[ \t]*=)"),
        _rule("variable.other.member", rf"(?<=[A-Za-z0-9_]\.){name}{_END}"),
        _rule("support.class", rf"{_BEGIN}{_any(CONSTRUCTORS)}{_END}(?=[ \t]*\()"),
        _rule("support.function", rf"{_BEGIN}{_any(FUNCTIONS)}{_END}(?=[ \t]*\()"),
        _rule("entity.name.function", rf"{_BEGIN}{name}{_END}(?=[ \t]*\()"),
        _rule("constant.language", rf"{_BEGIN}{_any(VALUES)}{_END}"),
        _rule("variable.other", rf"{name}{_END}"),
        _rule("keyword.operator.range", r"\.\."),
        _rule("keyword.operator.assignment", r"="),
        _rule("keyword.operator", r"[-+*/|&]"),
        _rule("punctuation.separator", r"[,.:]"),
        _rule("punctuation.bracket", r"[()\[\]{}]"),
    ]  # fmt: skip
    return {
        "comment": "Written from the registry by python -m tools.editors. Do not edit.",
        "name": "mfv recipe",
        "scopeName": "source.mfv",
        "fileTypes": ["mfv"],
        "patterns": rules,
    }
