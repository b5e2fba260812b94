"""Parsing again what changed alone.

A recipe is cut where one item certainly ends and the next begins; every piece is parsed by itself,
by the parser, and kept.  Of pieces that were there before only the places are moved.  Wherever a
piece might depend on another, the whole is parsed as ever: the result is always what
:func:`~mfv_dsl.lang.parser.parse` gives.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, TypeAlias

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.layout import CLOSERS, OPENERS, OPERATORS
from mfv_dsl.lang.lexer import MAX_FINDINGS, raw_tokens
from mfv_dsl.lang.parser import VERSION, ParseResult, parse
from mfv_dsl.lang.syntax import Inclusion, Item, Node, Number, RecipeTree

_HEAD = f"mfv {VERSION}\n"
_LARGEST = 400_000  # characters; the bounds of the parser are for whole texts
#: A line that begins with one of these may belong to what stands before it; some of the last two
#: are passed over, or taken for the end of a line.
_JOINS = OPERATORS | {
    "LBRACE", "COMMA", "COLON", "EQUAL", "DOT", "RPAR", "RSQB", "RBRACE", "BAD_CHARACTER",
    "BAD_OPERATOR",
}  # fmt: skip
#: What is wrong with versions, of which a piece has none.
_OF_VERSIONS = ("MFV1009", "MFV1010", "MFV1011")


#: the items and inclusions of a piece, at their places in the text
_Moved: TypeAlias = tuple[tuple[Item, ...], tuple[Inclusion, ...]]


@dataclass(frozen=True)
class _Line:
    """What of a line decides where pieces end: its first token, and its brackets."""

    first: str  # the kind of its first token, empty where it has none
    word: str
    brackets: tuple[str, ...]


@lru_cache(maxsize=20_000)
def _line(text: str) -> _Line:
    tokens = [t for t in raw_tokens(text) if t.type not in ("NEWLINE", "COMMENT")]
    brackets = tuple(t.type for t in tokens if t.type in OPENERS or t.type in CLOSERS)
    return _Line(tokens[0].type if tokens else "", str(tokens[0]) if tokens else "", brackets)


@lru_cache(maxsize=20_000)
def _piece(text: str) -> ParseResult:
    """A piece without a version, parsed behind one; places are from the piece's beginning."""
    return parse.__wrapped__(Source(_HEAD + text))


class Reparser:
    """Parses the texts of one document."""

    def __init__(self) -> None:
        self._moved: dict[tuple[str, int], _Moved] = {}

    def parse(self, source: Source) -> ParseResult:
        """The tree of a text, and what was wrong; as :func:`~mfv_dsl.lang.parser.parse`."""
        pieces = None if len(source.text) > _LARGEST else _pieces(source)
        result = None if pieces is None else self._joined(source, pieces)
        return parse(source) if result is None else result

    def _joined(self, source: Source, pieces: list[tuple[str, int]]) -> ParseResult | None:
        head, *rest = pieces
        first = parse.__wrapped__(Source(head[0]))
        if first.recipe is None or first.recipe.version is None:
            return None
        items, findings = list(first.recipe.items), list(first.diagnostics)
        inclusions = list(first.recipe.inclusions)
        moved: dict[tuple[str, int], _Moved] = {}
        for text, start in rest:
            piece = _piece(text)
            if piece.recipe is None or any(d.code in _OF_VERSIONS for d in piece.diagnostics):
                return None
            by = start - len(_HEAD)
            key = (text, start)
            new = self._moved.get(key)
            if new is None:
                try:
                    new = (
                        tuple(_shifted(item, by) for item in piece.recipe.items),
                        tuple(_shifted(item, by) for item in piece.recipe.inclusions),
                    )
                except RecursionError:  # a chain of thousands of terms
                    return None
            moved[key] = new
            items += new[0]
            inclusions += new[1]
            findings += [_shifted_finding(d, by) for d in piece.diagnostics]
            if len(findings) >= MAX_FINDINGS:  # the lexer may have given up before
                return None
        self._moved = moved
        version: Number = first.recipe.version
        tree = RecipeTree(
            version, tuple(items), tuple(inclusions), source=source,
            span=Span(0, len(source.text)),
        )  # fmt: skip
        findings = [replace(finding, source=source) for finding in findings]
        findings.sort(key=lambda d: (d.span.start, d.span.end) if d.span else (0, 0))
        return ParseResult(tree, tuple(findings))


def _pieces(source: Source) -> list[tuple[str, int]] | None:
    """The pieces of a text with their beginnings, the first with the version; None where it cannot
    be cut."""
    text, starts = source.text, source.line_starts
    if "\0" in text or "\ufeff" in text[1:]:
        return None
    cuts: list[int] = []
    trivia: int | None = None  # where comments and blank lines before this line begin
    open_: list[str] = []
    for start, end in zip(starts, (*starts[1:], len(text)), strict=True):
        line = _line(text[start:end])
        if not line.first:
            trivia = start if trivia is None else trivia
            continue
        if not open_ and (line.first not in _JOINS or not cuts):
            begin = start if trivia is None else trivia
            if line.word == "mfv" and cuts:
                return None
            if not cuts and line.word != "mfv":
                return None
            cuts.append(begin)
        trivia = None
        for bracket in line.brackets:
            if bracket in OPENERS:
                open_.append(OPENERS[bracket])
            elif not open_ or open_.pop() != bracket:
                return None
    if not cuts:
        return None
    cuts[0] = 0
    return [(text[a:b], a) for a, b in zip(cuts, (*cuts[1:], len(text)), strict=True)]


# -- moving ---------------------------------------------------------------------------------------
@lru_cache(maxsize=100)
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind) if item.name != "span")


_new, _set = object.__new__, object.__setattr__


def _shifted(node: Any, by: int) -> Any:
    """A tree with its places moved.  Thousands of nodes are made at every keystroke, so they are
    made without the checks of their constructors."""
    kind: Any = type(node)
    copy = _new(kind)
    for name in _names(kind):
        value = getattr(node, name)
        if isinstance(value, Node):
            value = _shifted(value, by)
        elif type(value) is tuple:
            value = tuple(_shifted(v, by) if isinstance(v, Node) else v for v in value)
        _set(copy, name, value)
    span = node.span
    _set(copy, "span", Span(span.start + by, span.end + by))
    return copy


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by)


def _shifted_finding(finding: Diagnostic, by: int) -> Diagnostic:
    return replace(
        finding,
        span=None if finding.span is None else _moved(finding.span, by),
        secondary=tuple(replace(s, span=_moved(s.span, by)) for s in finding.secondary),
        fixes=tuple(replace(f, span=_moved(f.span, by)) for f in finding.fixes),
    )
