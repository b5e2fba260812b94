"""From tokens to statements: which newlines count, which braces are sets, which brackets match.

What the layout hands on is balanced: a bracket that was never closed is closed where the next
statement visibly begins, and a ``BAD`` token marks the spot, so that only the attribute or the
declaration around it is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lark import Token

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.lexer import token

MAX_NESTING = 100
OPENERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LSET": "RSET", "LCASE": "RCASE", "LBRACE": "RBRACE"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
SHOWN = {
    "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]",
    "LSET": "{", "RSET": "}", "LCASE": "{", "RCASE": "}", "LBRACE": "{", "RBRACE": "}",
}  # fmt: skip
#: a `{` right after one of these opens a set, anywhere else a block
BEFORE_SET = frozenset(
    {
        "EQUAL", "LPAR", "COMMA", "LSQB", "LSET", "PLUS", "MINUS", "STAR", "SLASH", "VBAR",
        "AMPERSAND", "DOTS", "COLON", "LBRACE", "NEWLINE",
    }
)  # fmt: skip

#: brackets in which lines end something
_LINED = ("LBRACE", "LCASE")
#: a line that begins with one of these goes on the expression before it
OPERATORS = frozenset({"PLUS", "MINUS", "STAR", "SLASH", "VBAR", "AMPERSAND", "DOTS"})
MATCH = "match"
#: what follows the first two names of an item; a third name that of `defaults for tune`
_AFTER_NAMES = ("EQUAL", "LPAR", "LBRACE", "NAME")

Statement = list[Token]


@dataclass
class _TokenWalk:
    """State of the walk over the tokens; use :func:`lay_out`."""

    source: Source
    tokens: Sequence[Token]
    statements: list[Statement] = field(default_factory=list)
    findings: list[Diagnostic] = field(default_factory=list)
    current: Statement = field(default_factory=list)
    open: list[Token] = field(default_factory=list)  # brackets not closed yet, outermost first

    def report(
        self, code: str, at: Token, message: str, label: str = "", help: str | None = None,
        fixes: tuple[Fix, ...] = (), secondary: tuple[Label, ...] = (),
    ) -> None:  # fmt: skip
        self.findings.append(
            Diagnostic(
                code, message, self.source, span(at), label, help=help, fixes=fixes,
                secondary=secondary,
            )
        )  # fmt: skip

    def run(self) -> bool:
        """Lay out all tokens; False if it had to give up part of the way."""
        for index, item in enumerate(self.tokens):
            if item.type == "NEWLINE":
                self.newline(index, item)
            elif item.type in OPENERS:
                if len(self.open) >= MAX_NESTING:
                    self.report(
                        "MFV1015", item, f"more than {MAX_NESTING} brackets are open here",
                        "reading stops here", "give the inner parts names with `vector`",
                    )  # fmt: skip
                    return False
                kind = self.opener(item)
                self.open.append(self.emit(kind, item))
            elif item.type in CLOSERS:
                self.close(item)
            else:
                self.current.append(item)
        self.finish()
        return True

    def emit(self, kind: str, item: Token) -> Token:
        bracket = item if kind == item.type else _retyped(kind, item)
        self.current.append(bracket)
        return bracket

    def opener(self, item: Token) -> str:
        if item.type != "LBRACE":
            return item.type
        if len(self.current) > 2 and begins_cases(self.current[-2:]):
            self.current[-2] = _retyped("MATCH", self.current[-2])
            return "LCASE"
        inside = bool(self.open) and self.open[-1].type != "LBRACE"
        after = bool(self.current) and self.current[-1].type in BEFORE_SET
        return "LSET" if inside or after else "LBRACE"

    # -- closing ----------------------------------------------------------------------------------
    def close(self, item: Token) -> None:
        openers = ("LSET", "LCASE", "LBRACE") if item.type == "RBRACE" else (CLOSERS[item.type],)
        if self.open and self.open[-1].type in openers:
            self.drop_newline()
            opener = self.open.pop()
            self.emit(OPENERS[opener.type], item)
        elif any(opener.type in openers for opener in self.open):
            while self.open[-1].type not in openers:
                self.abandon(item, report=self.open[-2].type in openers)
            self.close(item)
        elif self.open and self.open[-1].type != "LBRACE":
            opener = self.open.pop()
            self.report(
                "MFV1003", item, f"`{item}` does not close `{opener}`",
                f"expected `{SHOWN[OPENERS[opener.type]]}`",
                fixes=(_replace(item, SHOWN[OPENERS[opener.type]]),),
                secondary=(Label(span(opener), "opened here"),),
            )  # fmt: skip
            self.emit(OPENERS[opener.type], item)
            self.bad(item)
        else:
            self.report("MFV1003", item, f"`{item}` closes nothing", "no bracket is open here")
            self.bad(item)

    def abandon(self, at: Token, report: bool = True) -> None:
        """Give up on the innermost bracket: close it here, and mark the place."""
        opener = self.open.pop()
        closer = SHOWN[OPENERS[opener.type]]
        if report:
            self.report(
                "MFV1002", opener, f"this `{opener}` is never closed", f"expected `{closer}`",
                secondary=(Label(span(at), "not closed before this"),) if at.end_pos else (),
            )  # fmt: skip
        place = self.current[-1].end_pos or 0
        if opener.type in _LINED:
            self.drop_newline()
        if opener.type != "LBRACE":
            self.bad(at)
        self.current.append(token(OPENERS[opener.type], closer, place, place))

    def bad(self, at: Token) -> None:
        place = at.start_pos or 0
        self.current.append(token("BAD", "", place, place))

    # -- newlines ---------------------------------------------------------------------------------
    def newline(self, index: int, item: Token) -> None:
        following = self.following(index)
        if self.goes_on(following):
            return
        if self.open and self.starts_item(following):
            while self.open:
                brackets = self.open[-1].type != "LBRACE"
                last = len(self.open) == 1 or self.open[-2].type == "LBRACE"
                self.abandon(following[0], report=last or not brackets)
        while self.open and self.open[-1].type != "LBRACE" and self.starts_attribute(following):
            self.abandon(following[0], report=self.open[-2].type == "LBRACE")
        if not self.open:
            self.end_statement()
        elif self.open[-1].type in _LINED and self.current[-1].type not in (
            *_LINED, "COMMA", "NEWLINE",
        ):  # fmt: skip
            self.current.append(item)

    def goes_on(self, following: list[Token]) -> bool:
        """Whether the next line belongs to the expression that the last one has begun."""
        begun = bool(self.current) and self.current[-1].type not in (*_LINED, "COMMA", "NEWLINE")
        return begun and bool(following) and following[0].type in OPERATORS

    def following(self, index: int) -> list[Token]:
        """The next few tokens of the next line that has any."""
        line = []
        for item in self.tokens[index : index + 50]:
            if item.type != "NEWLINE":
                line.append(item)
            elif line:
                break
            if len(line) == 3:
                break
        return line

    def starts_item(self, following: list[Token]) -> bool:
        """Whether a line reads ``kind name =`` or the like, no deeper than the open statement.

        Two names side by side stand in no expression, so inside brackets this is a new item.
        """
        if not following or not self.current:
            return False
        kinds = [item.type for item in following]
        shaped = kinds[:1] == ["NAME"] and (
            (kinds[1:2] == ["NAME"] and kinds[2:] and kinds[2] in _AFTER_NAMES)
            or kinds[1:3] == ["STRING", "LBRACE"]
            or kinds[1:2] == ["LBRACE"]
        )
        if not shaped:
            return False
        here = self.source.position(following[0].start_pos or 0)[1]
        begun = self.source.position(self.current[0].start_pos or 0)[1]
        return here <= begun

    def starts_attribute(self, following: list[Token]) -> bool:
        """Whether, in a bracket of a block's attribute, a line must be the next attribute."""
        if self.open[-1].type == "LCASE":
            return False
        if not any(opener.type == "LBRACE" for opener in self.open):
            return False
        kinds = [item.type for item in following]
        if kinds[:2] != ["NAME", "EQUAL"] and kinds != ["NAME", "DOT", "NAME"]:
            return False
        return self.open[-1].type != "LPAR" or self.current[-1].type not in ("COMMA", "LPAR")

    def drop_newline(self) -> None:
        if self.current and self.current[-1].type == "NEWLINE":
            self.current.pop()

    def end_statement(self) -> None:
        if self.current:
            self.statements.append(self.current)
            self.current = []

    def finish(self) -> None:
        end = token("END", "", 0, 0)
        while self.open:
            brackets = self.open[-1].type != "LBRACE"
            last = len(self.open) == 1 or self.open[-2].type == "LBRACE"
            self.abandon(end, report=last or not brackets)
        self.end_statement()


def begins_cases(before: Sequence[Token]) -> bool:
    """Whether a `{` behind two tokens opens the cases of a `match`, where an expression stands."""
    return before[0].type == before[1].type == "NAME" and before[0] == MATCH


def lay_out(source: Source, tokens: Sequence[Token]) -> tuple[list[Statement], list[Diagnostic]]:
    """Balanced statements, without their final newlines, and what was wrong with the brackets."""
    walk = _TokenWalk(source, tokens)
    walk.run()
    return walk.statements, walk.findings


def span(item: Token) -> Span:
    """Where a token stands in its source."""
    return Span(item.start_pos or 0, item.end_pos or 0)


def _retyped(kind: str, item: Token) -> Token:
    return token(kind, str(item), item.start_pos or 0, item.end_pos or 0)


def _replace(item: Token, text: str) -> Fix:
    return Fix(f"write `{text}`", span(item), text)
