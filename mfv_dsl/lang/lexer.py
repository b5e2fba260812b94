"""Text to tokens.  Known mistakes are reported here, once, and mended where the meaning is plain.

What cannot be mended becomes a ``BAD`` token: the statement that holds it is not parsed, so that
one mistake gives one message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import isinf

from lark import Token

from mfv_dsl.base.diagnostics import Diagnostic, Fix
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.grammar import built
from mfv_dsl.lang.lookalikes import ascii_for, described

MAX_CHARACTERS = 8_000_000
MAX_TOKENS = 1_000_000  # about 100,000 lines
MAX_DIGITS = 30
MAX_NAME = 100
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = '"\\nrt'
_DIGITS = frozenset("0123456789")
MAX_FINDINGS = 50  # of the lexer; a file with more is not a recipe
_LINE_ENDS = ("\v", "\x85", "\u2028", "\u2029")  # of other programs
_PUNCTUATION = {
    "(": "LPAR", ")": "RPAR", "[": "LSQB", "]": "RSQB", "{": "LBRACE", "}": "RBRACE",
    "=": "EQUAL", ",": "COMMA", ":": "COLON", "+": "PLUS", "-": "MINUS", "*": "STAR",
    "/": "SLASH", "|": "VBAR", "&": "AMPERSAND",
}  # fmt: skip


@dataclass(frozen=True)
class LexResult:
    """What :func:`lex` gives."""

    tokens: tuple[Token, ...]  # with NEWLINE, without comments
    diagnostics: tuple[Diagnostic, ...]
    complete: bool  # False: gave up part of the way
    docs: tuple[Token, ...] = ()  # comments that begin with `##`


def raw_tokens(text: str) -> Iterator[Token]:
    """Every token of the grammar, comments and mistakes included, blanks not."""
    thread = built().parse_interactive(text, start="recipe").lexer_thread
    return iter(thread.lex(None))  # type: ignore[no-untyped-call]


def token(kind: str, text: str, start: int, end: int) -> Token:
    """A token of the grammar's terminal ``kind`` at a place in the source."""
    return Token(kind, text, start_pos=start, end_pos=end)


def lex(source: Source) -> LexResult:
    """The tokens of a text, and what is wrong with its characters; never raises.

    >>> [item.type for item in lex(Source("top(4)  # heads")).tokens]
    ['NAME', 'LPAR', 'INT', 'RPAR']
    """
    if len(source.text) > MAX_CHARACTERS:
        message = "this file is too large to be a recipe"
        label = f"more than {MAX_CHARACTERS:,} characters"
        return LexResult((), (Diagnostic("MFV1016", message, source, Span(0, 1), label),), False)
    if wrong := _NO_TEXT.search(source.text):
        at = wrong.start()
        what = "a NUL character" if wrong[0] == "\0" else "half a character"
        message = f"this is not a text file: it has {what}"
        return LexResult((), (Diagnostic("MFV1017", message, source, Span(at, at + 1)),), False)
    mender = _Mender(source)
    tokens: list[Token] = []
    for item in raw_tokens(source.text):
        mend = _MENDERS.get(item.type)
        if mend is None:
            tokens.append(item)
        else:
            tokens.extend(mend(mender, item))
        if len(tokens) > MAX_TOKENS:
            mender.report(
                "MFV1016", _span(item), "this file is too large to be a recipe",
                f"more than {MAX_TOKENS:,} words and signs",
            )  # fmt: skip
            return LexResult((), tuple(mender.findings), False)
        if len(mender.findings) >= MAX_FINDINGS:
            last = replace(
                mender.findings[-1], notes=("reading stops here: this is hardly a recipe",)
            )
            mender.findings[-1] = last
            return LexResult((), tuple(mender.findings), False)
    return LexResult(tuple(tokens), tuple(mender.findings), True, tuple(mender.docs))


class _Mender:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.findings: list[Diagnostic] = []
        self.docs: list[Token] = []

    def report(
        self, code: str, span: Span, message: str, label: str = "", help: str | None = None,
        fix: str | None = None,
    ) -> None:  # fmt: skip
        fixes = () if fix is None else (Fix(f"write `{fix}`", span, fix),)
        self.findings.append(
            Diagnostic(code, message, self.source, span, label, help=help, fixes=fixes)
        )

    def comment(self, item: Token) -> list[Token]:
        if item.startswith("##"):
            self.docs.append(item)
        return []

    def number(self, item: Token) -> list[Token]:
        digits = sum(map(str.isdigit, item))
        if digits <= MAX_DIGITS and not (item.type == "FLOAT" and isinf(float(item))):
            return [item]
        self.report("MFV1005", _span(item), "this number is too long to be meant", "")
        return [_bad(item)]

    def name(self, item: Token) -> list[Token]:
        if len(item) <= MAX_NAME:
            return [item]
        message = f"a name has at most {MAX_NAME} characters"
        self.report("MFV1021", _span(item), message, f"this has {len(item)}")
        return [_bad(item)]

    def bad_number(self, item: Token) -> list[Token]:
        text, span = str(item), _span(item)
        split = next((i for i, c in enumerate(text) if c not in _DIGITS), 0)
        number, name = text[:split], text[split:]
        mended = _number_meant(text)
        if mended is None and number and name.isidentifier() and name.isascii():
            self.report(
                "MFV1004", span, f"`{number}` and `{name}` stand side by side",
                "no operator between them", f"write `{number} * {name}`", f"{number} * {name}",
            )  # fmt: skip
            middle = span.start + split
            return [
                token("INT", number, span.start, middle),
                token("STAR", "*", middle, middle),
                token("NAME", name, middle, span.end),
            ]
        self.report(
            "MFV1005", span, f"`{_short(text)}` is not a number", "",
            f"write `{mended}`" if mended else "numbers look like `4`, `0.5` or `1e-2`", mended,
        )  # fmt: skip
        if mended is None:
            return [_bad(item)]
        return [token("FLOAT" if "." in mended else "INT", mended, span.start, span.end)]

    def string(self, item: Token) -> list[Token]:
        text, start = str(item), item.start_pos or 0
        offsets = [m.start() for m in _ESCAPE.finditer(text) if m[1] not in _ESCAPES]
        if not offsets:
            return [item]
        for at in offsets:
            escape = text[at : at + 2]
            self.report(
                "MFV1020", Span(start + at, start + at + 2),
                f"`{escape}` means nothing in a string", "",
                "write `\\\\` for a backslash; `\\\"`, `\\n` and `\\t` are the others",
                f"\\{escape}",
            )  # fmt: skip
        mended = _ESCAPE.sub(lambda m: m[0] if m[1] in _ESCAPES else f"\\{m[0]}", text)
        return [token("STRING", mended, start, item.end_pos or 0)]

    def bad_string(self, item: Token) -> list[Token]:
        self.report(
            "MFV1006", _span(item), "this string is not closed", 'no `"` before the end of the line'
        )
        return [_bad(item)]

    def bad_quotes(self, item: Token) -> list[Token]:
        text, span = str(item), _span(item)
        if len(text) < 2 or (ascii_for(text[-1]) not in ('"', "'") and text[-1] != "'"):
            self.report("MFV1006", span, "this string is not closed", 'strings stand in `"`')
            return [_bad(item)]
        mended = '"' + text[1:-1].replace("\\", "\\\\") + '"'
        self.report(
            "MFV1007", span, 'strings stand in straight double quotes: `"`',
            f"this opens with {described(text[0])}", f"write `{mended}`", mended,
        )  # fmt: skip
        return [token("STRING", mended, span.start, span.end)]

    def bad_operator(self, item: Token) -> list[Token]:
        text, span = str(item), _span(item)
        if text.startswith("//"):
            self.report(
                "MFV1019", Span(span.start, span.start + 2), "comments begin with `#`", "",
                "write `#`", "#",
            )  # fmt: skip
            return []
        sign = {
            "==": "=", ":=": "=", "=>": "=", "->": "=", "&&": "&", "||": "|",
        }.get(text, ".." if text.startswith("...") else None)  # fmt: skip
        help = f"write `{sign}`" if sign else _OPERATOR_HELP.get(text)
        self.report("MFV1019", span, f"`{text}` is not a sign of the language", "", help, sign)
        if sign is None:
            return [_bad(item)]
        kind = "DOTS" if sign == ".." else _PUNCTUATION[sign]
        return [token(kind, sign, span.start, span.end)]

    def bad_name(self, item: Token) -> list[Token]:
        text, span = str(item), _span(item)
        odd = next(c for c in text if not c.isascii())
        parts = [c if c.isascii() else ascii_for(c) for c in text]
        mended = "".join(part or "?" for part in parts)
        usable = mended.isidentifier() and mended.isascii()
        at = span.start + text.index(odd)
        self.report(
            "MFV1008", span if len(text) <= 40 else Span(at, at + 1),
            "names are made of ASCII letters, digits and `_`", f"this has {described(odd)}",
            f"write `{mended}` with ASCII letters" if usable and len(text) <= 40 else None,
            mended if usable else None,
        )  # fmt: skip
        return [token("NAME", mended, span.start, span.end)] if usable else [_bad(item)]

    def bad_character(self, item: Token) -> list[Token]:
        text, span = str(item), _span(item)
        if text in _LINE_ENDS:
            self.report(
                "MFV1008", span, f"{described(text)} ends no line here", "",
                "end the line in the ordinary way",
            )  # fmt: skip
            return [token("NEWLINE", text, span.start, span.end)]
        replacement = ascii_for(text) if len(text) == 1 and not text.isascii() else None
        help = f"write `{replacement}`" if replacement else _CHARACTER_HELP.get(text)
        if replacement == " ":
            help = "write an ordinary space"
        self.report(
            "MFV1008", span, f"{described(text[0])} has no meaning here", "", help, replacement
        )  # fmt: skip
        if replacement == " " or text[0] in "\u200b\u200c\u200d\u2060\ufeff":
            return []
        if replacement == "..":
            return [token("DOTS", "..", span.start, span.end)]
        if replacement in _PUNCTUATION:
            return [token(_PUNCTUATION[replacement], replacement, span.start, span.end)]
        return [_bad(item)]


_OPERATOR_HELP = {
    "**": "there are no powers; multiply with `*`",
    "^": "there are no powers; multiply with `*`",
    "%": "there is no remainder",
    ";": "end the line instead; inside a block on one line, write `,`",
    "!=": "recipes state, they do not compare",
}
_CHARACTER_HELP = {
    "<": "recipes state, they do not compare; what counts is asked of `top(10)` or `layers(0..4)`",
    ">": "recipes state, they do not compare; what counts is asked of `top(10)` or `layers(0..4)`",
    "$": 'a name stands alone: `let folder = "data"` is used as `folder`',
    "@": "there are no decorators, and a revision stands in the text: "
    '`load("hf://org/repo@main", "left")`',
    "?": "what depends on the relation is chosen by `match r { left: ..., else: ... }`",
    "\\": "an expression goes on by itself where the next line begins with an operator, and inside "
    "brackets",
    "!": "there is no `not`; heads but for some are `all() - {L3H1}`",
    "~": "there is no complement; heads but for some are `all() - {L3H1}`",
    "`": 'names stand without quotes, texts in `"`',
}
_MENDERS: dict[str, Callable[[_Mender, Token], list[Token]]] = {
    "COMMENT": _Mender.comment,
    "NAME": _Mender.name,
    "INT": _Mender.number,
    "FLOAT": _Mender.number,
    "HEAD": _Mender.number,
    "STRING": _Mender.string,
    "BAD_NUMBER": _Mender.bad_number,
    "BAD_STRING": _Mender.bad_string,
    "BAD_QUOTES": _Mender.bad_quotes,
    "BAD_OPERATOR": _Mender.bad_operator,
    "BAD_NAME": _Mender.bad_name,
    "BAD_CHARACTER": _Mender.bad_character,
}


def _span(item: Token) -> Span:
    return Span(item.start_pos or 0, item.end_pos or 0)


def _bad(item: Token) -> Token:
    return token("BAD", str(item), item.start_pos or 0, item.end_pos or 0)


def _number_meant(text: str) -> str | None:
    """The number that a point without digits beside it, or a separator, was meant to be."""
    if len(text) > MAX_DIGITS or not set(text) <= {*_DIGITS, ".", "_"} or text.count(".") > 1:
        return None
    digits = text.replace("_", "")
    whole, point, part = digits.partition(".")
    return f"{whole or 0}{point}{part or 0}" if point else digits


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:27]}..."
