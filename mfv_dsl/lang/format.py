"""One way to lay out a recipe: spaces, indentation, blank lines and columns.

Works on tokens, so comments and the author's line breaks stay.  Lines that stand under each other
and have the same form are set in columns, as are the comments behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from lark import Token

from mfv_dsl.base.collecting import uncollected
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.source import Source
from mfv_dsl.lang.layout import BEFORE_SET, OPERATORS, begins_cases
from mfv_dsl.lang.lexer import raw_tokens
from mfv_dsl.lang.parser import parse
from mfv_dsl.lang.syntax import same

INDENT = 2
_OPENERS = ("(", "[", "{")
_CLOSERS = (")", "]", "}")
_TIGHT = ("..", ".", ":")
_OPERATORS = ("+", "-", "*", "/", "|", "&")


@dataclass
class _Line:
    """A line to be: head cells that may be set in columns, then the rest."""

    indent: int
    tokens: list[Token] = field(default_factory=list)
    text: str = ""
    comment: str = ""
    form: str = ""  # lines of one form, one under another, share their columns
    cells: tuple[str, ...] = ()
    goes_on: bool = False  # with the expression of the line before
    inside: bool = False  # a bracket in which lines mean nothing

    @property
    def blank(self) -> bool:
        return not self.tokens and not self.comment


@dataclass
class _Bracket:
    block: bool
    indent: int  # of the line it stands on
    cases: bool = False  # of a `match`
    value: bool = False  # in a case: whether its value has begun


@uncollected()
def format_source(source: Source) -> str:
    """The recipe's text, laid out; formatting it again changes nothing.

    Raises RecipeError if the text does not parse; MfvError (MFV1022) if the result would mean
    something else, which is a mistake of the formatter.

    >>> print(format_source(Source("mfv 1\\nmodel m=tiny( )\\ndataset shapes=scenes()")), end="")
    mfv 1
    model   m      = tiny()
    dataset shapes = scenes()
    """
    original = parse(source)
    if original.recipe is None or original.diagnostics:
        raise RecipeError(original.diagnostics)
    text = _text(_Printer().lines(source.text))
    result = parse(Source(text, source.name)).recipe
    if result is None or not same(result, original.recipe):
        raise MfvError(
            "MFV1022", f"formatting would change what {source.name} means",
            "nothing was changed; please report this recipe",
        )  # fmt: skip
    return text


class _Printer:
    """Tokens to lines, with the brackets that are open."""

    def __init__(self) -> None:
        self.open: list[_Bracket] = []
        self.previous: Token | None = None  # over line ends, without comments
        self.before: list[Token] = []  # the last two tokens
        self.case_colon = False  # whether the last one is the `:` of a case
        self.sign = False  # whether it is the sign of a number or vector, not an operator

    def lines(self, text: str) -> list[_Line]:
        return [self.line(tokens) for tokens in _split(raw_tokens(text))]

    def line(self, tokens: list[Token]) -> _Line:
        comment = ""
        if tokens and tokens[-1].type == "COMMENT":
            comment = tokens.pop().rstrip()
        line = _Line(self.indent(tokens), tokens, comment=comment)
        if tokens and self.open and self.open[-1].cases:
            self.open[-1].value = False
        line.goes_on = self.goes_on(tokens)
        line.inside = bool(self.open) and not self.in_block
        depth, in_block = len(self.open), self.in_block
        pieces: list[str] = []
        several = False  # attributes on this line
        for index, token in enumerate(tokens):
            several = several or (
                index > 0 and self.previous == "," and in_block and len(self.open) == depth
            )
            pieces.append(" " + token if index and self.space(token) else str(token))
            self.note(token, line.indent)
        line.text = "".join(pieces)
        heads = [] if several and in_block else self.heads(tokens, depth, in_block)
        if heads:
            cells = ["".join(pieces[a:b]).strip() for a, b in pairwise(heads)]
            line.cells = (*cells, "".join(pieces[heads[-1] :]).strip())
            mark = line.cells[-1][0] if not line.cells[0].endswith(":") else ":"
            line.form = f"{len(heads)}{mark}{line.indent}"
        return line

    @property
    def in_block(self) -> bool:
        return bool(self.open) and self.open[-1].block

    def indent(self, tokens: list[Token]) -> int:
        closing = 0
        for token in tokens:
            if token not in _CLOSERS:
                break
            closing += 1
        if closing:
            return self.open[-closing].indent
        if self.goes_on(tokens):
            return (self.open[-1].indent + INDENT if self.open else 0) + 2 * INDENT
        return self.open[-1].indent + INDENT if self.open else 0

    def goes_on(self, tokens: list[Token]) -> bool:
        """Whether a line begins with an operator, and so belongs to the one before."""
        lined = not self.open or self.in_block
        return lined and bool(tokens) and tokens[0].type in OPERATORS

    def heads(self, tokens: list[Token], depth: int, in_block: bool) -> list[int]:
        """Where the cells of a line begin, if it is of a form that is set in columns."""
        kinds = [token.type for token in tokens]
        if in_block and kinds[:2] == ["NAME", "EQUAL"]:
            return [0, 1]
        if in_block and kinds[:2] == ["NAME", "COLON"] and kinds[2:]:
            return [0, 2]
        if in_block and kinds[1:4] == ["DOT", "NAME", "EQUAL"]:
            return [0, 3]
        if in_block and kinds[1:6] == ["DOT", "NAME", "DOT", "NAME", "EQUAL"]:
            return [0, 5]
        if depth or kinds[:1] != ["NAME"]:
            return []
        if kinds[1:2] == ["NAME"] and "EQUAL" in kinds[2:8] and kinds[2] in ("EQUAL", "LPAR"):
            return [0, 1, kinds.index("EQUAL")]
        whole_block = kinds[2:3] == ["LBRACE"] and not self.open
        return [0, 1, 2] if whole_block else []

    def note(self, token: Token, indent: int) -> None:
        """Keep track of the open brackets and of signs."""
        if token in _OPENERS:
            cases = token == "{" and len(self.before) == 2 and begins_cases(self.before)
            self.open.append(_Bracket(cases or self.opens_block(token), indent, cases))
        elif token in _CLOSERS:
            self.open.pop()
        self.sign = token in ("+", "-") and (
            self.previous is None or self.previous in (*_OPERATORS, *_OPENERS, *_TIGHT, ",", "=")
        )
        self.case_colon = False
        if self.open and self.open[-1].cases:
            bracket = self.open[-1]
            self.case_colon = token == ":" and not bracket.value
            bracket.value = (bracket.value or token == ":") and token != ","
        self.previous = token
        self.before = [*self.before[-1:], token]

    def opens_block(self, token: Token) -> bool:
        if token != "{" or (self.open and not self.in_block):
            return False
        return self.previous is None or self.previous.type not in BEFORE_SET

    def space(self, token: Token) -> bool:
        """Whether a space stands before a token that is not the first of its line."""
        previous = self.previous
        assert previous is not None
        if previous == "{" or token == "}":
            return self.in_block and not (previous == "{" and token == "}")
        if previous in ("(", "[") or token in (")", "]", ","):
            return False
        if self.case_colon:
            return True
        if previous in _TIGHT or token in _TIGHT or self.sign:
            return False
        if "=" in (previous, token):
            return not self.open or self.in_block
        return token != "(" or previous.type != "NAME"


def _split(tokens: Iterator[Token]) -> Iterator[list[Token]]:
    line: list[Token] = []
    for token in tokens:
        if token.type == "NEWLINE":
            yield line
            line = []
        else:
            line.append(token)
    yield line


# -- lines to text --------------------------------------------------------------------------------
def _text(lines: list[_Line]) -> str:
    lines = _without_extra_blanks(lines)
    _align(lines, lambda line: line.form, _set_cells)
    _indent_rest(lines)
    _align(lines, lambda line: "#" if line.comment and line.tokens else "", _set_comments)
    rows = [f"{' ' * line.indent}{line.text}{line.comment}".rstrip() for line in lines]
    return "\n".join(rows) + "\n" if rows else ""


def _without_extra_blanks(lines: list[_Line]) -> list[_Line]:
    """No blank line at the ends, after an opening or before a closing bracket, never two."""
    result: list[_Line] = []
    for line in lines:
        if line.blank:
            if result and not result[-1].blank and not _ends_open(result[-1]):
                result.append(line)
            continue
        closes = bool(line.tokens) and line.tokens[0] in _CLOSERS
        if closes and result and result[-1].blank:
            result.pop()
        result.append(line)
    while result and result[-1].blank:
        result.pop()
    return result


def _ends_open(line: _Line) -> bool:
    return bool(line.tokens) and line.tokens[-1] in _OPENERS


def _align(
    lines: list[_Line], form: Callable[[_Line], str], change: Callable[[list[_Line]], None]
) -> None:
    """Apply a change to each run of neighbouring lines of one form."""
    for key, run in groupby(lines, form):
        if key:
            change(list(run))


def _indent_rest(lines: list[_Line]) -> None:
    """Set what goes on an expression under the `=` or the value that it goes on."""
    head: _Line | None = None
    moved = 0  # of what stands in brackets on the lines below
    for line in lines:
        if line.inside:
            line.indent += moved
        elif line.goes_on and head is not None and head.cells:
            place = head.indent + len(head.text) - len(head.cells[-1])
            moved, line.indent = place - line.indent, place
        elif line.tokens and not line.goes_on:
            head, moved = line, 0


def _set_cells(run: list[_Line]) -> None:
    columns = zip(*(line.cells[:-1] for line in run), strict=True)
    widths = [max(map(len, column)) for column in columns]
    for line in run:
        heads = [cell.ljust(width) for cell, width in zip(line.cells, widths, strict=False)]
        line.text = " ".join([*heads, line.cells[-1]])


def _set_comments(run: list[_Line]) -> None:
    width = max(line.indent + len(line.text) for line in run)
    for line in run:
        line.comment = " " * (width - line.indent - len(line.text) + 2) + line.comment
