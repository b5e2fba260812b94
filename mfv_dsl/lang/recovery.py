"""One statement's tokens to a tree, in one piece if it parses, in parts if it does not.

The words of a message come from here and from ``expected``, never from the parser library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lark import Token, UnexpectedToken

from mfv_dsl.base.diagnostics import Diagnostic, Fix
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.builder import Misplaced, label_and_reach
from mfv_dsl.lang.entries import ITEM
from mfv_dsl.lang.expected import INFIX, OPERAND, shown, words
from mfv_dsl.lang.grammar import built
from mfv_dsl.lang.layout import CLOSERS, MAX_NESTING, OPENERS, OPERATORS, span
from mfv_dsl.lang.syntax import (
    Attribute,
    Binary,
    Block,
    Declaration,
    Expr,
    Gap,
    Inclusion,
    Item,
    Name,
    Node,
    Text,
    spine,
)

_BLOCK_HEADS = (["NAME"], ["NAME", "NAME"], ["NAME", "STRING"], ["NAME", "NAME", "NAME"])
_OTHER_FILES = 'the declarations of another file come by `use "common.mfv"`'
_SEVERAL = (
    "what is made for several values is swept: a list or a range in an attribute, or "
    "`sweep draw = 1..5`"
)
_CHOICE = "what depends on the relation is chosen by `match r { left: ..., else: ... }`"
_FAMILY = "a vector for each relation is a family: `vector name(r) = fv(r)`"
_CONSTANT = "a constant is declared by `let name = ...`"
#: by the words that begin statements of other languages, what recipes have instead
FOREIGN = {
    **dict.fromkeys(("include", "import", "from", "require", "source"), _OTHER_FILES),
    **dict.fromkeys(("for", "foreach", "while", "loop", "repeat"), _SEVERAL),
    **dict.fromkeys(("if", "elif", "else", "switch", "case", "when", "match"), _CHOICE),
    **dict.fromkeys(("def", "function", "func", "fn", "lambda", "macro"), _FAMILY),
    **dict.fromkeys(("const", "var", "constant"), _CONSTANT),
    "return": "the value of a declaration stands behind its `=`",
    "print": "numbers are shown by `report { norm(fv(left)) }`",
    "try": "what is wrong is told before anything runs, and stops it",
}


@dataclass(frozen=True)
class Stop:
    """Where the parser stopped, and the token types it would have gone on with."""

    index: int
    accepts: frozenset[str]


class Recovery:
    """Parses statements of one source, collecting diagnostics."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.findings: list[Diagnostic] = []

    def report(
        self, code: str, at: Span, message: str, label: str = "", help: str | None = None,
        fixes: tuple[Fix, ...] = (),
    ) -> None:  # fmt: skip
        self.findings.append(
            Diagnostic(code, message, self.source, at, label, help=help, fixes=fixes)
        )

    def rejoined(self, statements: list[list[Token]]) -> list[list[Token]]:
        """Statements with a block whose `{` stands on a line of its own put together again."""
        joined: list[list[Token]] = []
        for statement in statements:
            before = [item.type for item in joined[-1]] if joined else []
            if statement[0].type == "LBRACE" and before in _BLOCK_HEADS:
                self.report(
                    "MFV1001", span(statement[0]), "a block's `{` stands on the line of its name",
                    "", f"write `{' '.join(joined[-1])} {{`",
                    (Fix("join the lines", Span(span(joined[-1][-1]).end, span(statement[0]).end),
                         " {"),),
                )  # fmt: skip
                joined[-1] = joined[-1] + statement
            else:
                joined.append(statement)
        return joined

    # -- whole pieces -----------------------------------------------------------------------------
    def piece(self, start: str, tokens: Sequence[Token]) -> Any:
        """The tree of the tokens, or None after a report (or in silence where one was made)."""
        if any(item.type == "BAD" for item in tokens):
            return None
        try:
            result = _parse(start, tokens)
        except Misplaced as error:
            self.report(
                "MFV1018", error.span, "a positional argument stands after a named one",
                help="named arguments (`name=value`) come last",
            )  # fmt: skip
            return None
        if isinstance(result, Stop):
            self.explain(tokens, result)
            return None
        if _too_deep(result):
            self.report(
                "MFV1015", result.span, f"this is nested more than {MAX_NESTING} levels deep", "",
                "give the inner parts names with `vector`",
            )  # fmt: skip
            return None
        return result

    def item(self, tokens: Sequence[Token]) -> Item | Inclusion | None:
        """A declaration or a block, with gaps for the parts that did not parse."""
        kinds = [item.type for item in tokens[:4]]
        if self.foreign(tokens):
            return None
        if "LBRACE" in kinds and kinds[0] == "NAME":
            return self.block(tokens)
        if kinds[:2] == ["NAME", "EQUAL"]:
            self.report(
                "MFV1014", span(tokens[0]), f"`{tokens[0]}` is set outside a block", "",
                "attributes stand in blocks; an item has a kind and a name: `vector steer = ...`",
            )  # fmt: skip
            return None
        if kinds[0] not in ("NAME", "BAD", "LBRACE"):
            self.unexpected(tokens, 0, "an item such as `vector name = ...`")
            return None
        item: Item | Inclusion | None = self.piece("item", tokens)
        return _declaration_with_gap(tokens) if item is None else item

    def foreign(self, tokens: Sequence[Token]) -> bool:
        """Report an item that begins as other languages' statements do."""
        first = tokens[0]
        way = FOREIGN.get(first) if first.type == "NAME" else None
        if way is None or [item.type for item in tokens[1:2]] == ["EQUAL"]:
            return False
        if not any(item.type == "BAD" for item in tokens):
            self.report(
                "MFV1023", span(first), f"recipes have no `{first}`",
                "a recipe declares, and nothing in it happens one after another", way,
            )  # fmt: skip
        return True

    # -- blocks -----------------------------------------------------------------------------------
    def block(self, tokens: Sequence[Token]) -> Item | None:
        opening = next(i for i, item in enumerate(tokens) if item.type == "LBRACE")
        closing = _closing(tokens, opening)
        if not any(item.type == "BAD" for item in tokens):
            result = _try(tokens)
            if result is not None and not _too_deep(result) and not _misses_names(result):
                item: Item = result
                return item
        label: Name | Text | None = None
        reach: Name | None = None
        head = [token.type for token in tokens[:opening]]
        if head in _BLOCK_HEADS:
            label, reach = label_and_reach(list(tokens[1:opening]))
        elif "BAD" not in head:
            odd = next(i for i, kind in enumerate(head) if kind != "NAME")
            self.unexpected(tokens, odd, "a name before `{`")
        attributes: list[Attribute] = []
        values: list[Expr] = []
        for part in _split(tokens[opening + 1 : closing]):
            if _has_lines(str(tokens[0])) and not _is_named(part):
                value: Expr | None = self.piece("expression", part)
                values.append(value or Gap("", span=span(part[0]).to(span(part[-1]))))
            elif (attribute := self.attribute(part)) is not None:
                attributes.append(attribute)
        rest = tokens[closing + 1 :]
        if rest and not any(item.type == "BAD" for item in rest):
            self.unexpected(tokens, closing + 1, "the end of the line after `}`")
        return Block(
            Name(str(tokens[0]), span=span(tokens[0])), label, tuple(attributes), tuple(values),
            reach, span=span(tokens[0]).to(span(tokens[-1])),
        )  # fmt: skip

    def attribute(self, part: Sequence[Token]) -> Attribute | None:
        if len(part) == 1 and part[0].type in ("COMMA", "NEWLINE"):
            self.report("MFV1001", span(part[0]), "an attribute is missing here", "nothing before")
            return None
        attribute: Attribute | None = self.piece("attribute", part)
        kinds = [item.type for item in part[:4]]
        dotted = kinds[:3] == ["NAME", "DOT", "NAME"]
        twice = dotted and [item.type for item in part[3:5]] == ["DOT", "NAME"]
        end = 5 if twice else 3 if dotted else 1
        kinds = [item.type for item in part[: end + 1]]
        named = kinds[:1] == ["NAME"] and kinds[end : end + 1] in ([], ["EQUAL"], ["COLON"])
        if attribute is None and named:
            whole = span(part[0]).to(span(part[-1]))
            name = Name(str(part[end - 1]), span=span(part[end - 1]))
            of = None
            if dotted:
                text = "".join(map(str, part[: end - 2]))
                of = Name(text, span=span(part[0]).to(span(part[end - 3])))
            return Attribute(name, Gap("", span=whole), of, span=whole)
        return attribute

    # -- words ------------------------------------------------------------------------------------
    def unexpected(self, tokens: Sequence[Token], index: int, expected: str) -> None:
        item = tokens[index]
        self.report("MFV1001", span(item), f"expected {expected}, found {shown(item)}")

    def explain(self, tokens: Sequence[Token], stop: Stop) -> None:
        index, accepts = stop.index, stop.accepts
        before = tokens[index - 1] if index else None
        if index == len(tokens):
            place = span(tokens[-1]).end
            at = Span(place, place)
            if "EQUAL" in accepts and "LBRACE" in accepts:
                label = "expected `= ...` or `{ ... }`"
            else:
                label = f"expected {words(accepts)}"
            goes_on = before is not None and before.type in OPERATORS
            self.report(
                "MFV1001", at, "the line ends too early", label,
                "an expression goes on where the next line begins with the operator"
                if goes_on else None,
            )  # fmt: skip
            return
        item = tokens[index]
        at = span(item)
        if item.type == "COLON" and "EQUAL" in accepts:
            self.report(
                "MFV1012", at, "a value is given with `=`, not with `:`", "", "write `=`",
                (Fix("write `=`", at, " ="),),
            )  # fmt: skip
        elif item.type == "EQUAL" and accepts == {"COLON"}:
            self.report(
                "MFV1012", at, "the value of a case is given with `:`, not with `=`", "",
                "write `:`", (Fix("write `:`", at, ":"),),
            )  # fmt: skip
        elif before is not None and item.type in OPERAND and accepts >= INFIX:
            self.side_by_side(before, item, accepts)
        elif item.type == "EQUAL" and before is not None:
            where = "only a name can be given a value with `=`"
            self.report("MFV1001", at, f"unexpected `=` after {shown(before)}", "", where)
        elif item.type == "LBRACE" and index == 0:
            self.report(
                "MFV1001", at, "a `{` begins this line", "",
                "a block's `{` stands on the line of its name: `eval raw {`",
            )  # fmt: skip
        elif item.type == "DOT" and "EQUAL" not in accepts:
            self.report(
                "MFV1001", at, f"expected {words(accepts)}, found `.`", "",
                "values have no parts to be named; functions take them: `norm(fv(left))`. Only a "
                "name of `use \"common.mfv\" as c` is written `c.name`",
            )  # fmt: skip
        elif accepts == {"DOT"}:  # only the name of an item may be a string
            self.unexpected(tokens, index - 1, "a name")
        else:
            self.unexpected(tokens, index, words(accepts))

    def side_by_side(self, before: Token, item: Token, accepts: frozenset[str]) -> None:
        at = span(before).to(span(item))
        if before.type in ("INT", "FLOAT"):
            self.report(
                "MFV1004", at, f"`{before}` and `{item}` stand side by side",
                "no operator between them", f"write `{before} * {item}`",
                (Fix("write `*`", Span(span(before).end, span(item).start), " * "),),
            )  # fmt: skip
        elif "COMMA" in accepts:
            self.report(
                "MFV1013", span(item), f"expected `,` or an operator before {shown(item)}", "",
                "separate the entries with `,`",
                (Fix("write `,`", Span(span(before).end, span(before).end), ","),),
            )  # fmt: skip
        else:
            self.report(
                "MFV1013", span(item), f"expected an operator before {shown(item)}", "",
                "one statement stands on one line; vectors are joined with `+` or `-`",
            )  # fmt: skip


def _parse(start: str, tokens: Sequence[Token]) -> Any:
    session = built().parse_interactive(start=start)
    index = 0
    try:
        for index, item in enumerate(tokens):  # noqa: B007 - read after the loop
            session.feed_token(item)
        index = len(tokens)
        return session.feed_eof()  # type: ignore[no-untyped-call]
    except UnexpectedToken:
        # The parser may have reduced before it noticed, so ask a fresh one what it would take.
        session = built().parse_interactive(start=start)
        for item in tokens[:index]:
            session.feed_token(item)
        return Stop(index, frozenset(session.accepts()))  # type: ignore[no-untyped-call]


def _try(tokens: Sequence[Token]) -> Any:
    try:
        result = _parse("item", tokens)
    except Misplaced:
        return None
    return None if isinstance(result, Stop) else result


def _has_lines(kind: str) -> bool:
    """Whether lines that are expressions alone stand in blocks of a kind."""
    return kind in ITEM and ITEM[kind].lines


def _misses_names(item: Item) -> bool:
    """Whether a block has expressions where it should have attributes, which is said part by
    part."""
    return isinstance(item, Block) and bool(item.values) and not _has_lines(item.kind.text)


def _is_named(part: Sequence[Token]) -> bool:
    """Whether a line of a block is meant as an attribute."""
    return [item.type for item in part[:2]] in (["NAME", "EQUAL"], ["NAME", "COLON"], ["COMMA"])


def _too_deep(node: Node) -> bool:
    """Whether a tree is deeper than any code that walks it recursively should have to go; a chain
    ``a + b - c`` is walked in a loop, and counts as one level."""
    layer: list[Node] = [node]
    for _ in range(MAX_NESTING + 10):
        below: list[Node] = []
        for parent in layer:
            if isinstance(parent, Binary):
                first, chain = spine(parent)
                below += [first, *(operation.right for operation in chain)]
            else:
                below += parent.children()
        layer = below
        if not layer:
            return False
    return True


def _closing(tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for index in range(opening, len(tokens)):
        depth += (tokens[index].type in OPENERS) - (tokens[index].type in CLOSERS)
        if depth == 0:
            return index
    raise AssertionError("the layout balances brackets")


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    """The attributes of a block; a part that is a separator alone stands for a missing one."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for item in tokens:
        depth += (item.type in OPENERS) - (item.type in CLOSERS)
        if depth == 0 and item.type in ("COMMA", "NEWLINE"):
            if parts[-1]:
                parts.append([])
            elif item.type == "COMMA":
                parts[-1:] = [[item], []]
        else:
            parts[-1].append(item)
    return [part for part in parts if part]


def _declaration_with_gap(tokens: Sequence[Token]) -> Declaration | None:
    """What can be kept of a failed declaration: its kind and name, so that uses find it."""
    kinds = [item.type for item in tokens]
    if kinds[:2] != ["NAME", "NAME"]:
        return None
    kind, name = (Name(str(item), span=span(item)) for item in tokens[:2])
    parameters = []
    if kinds[2:3] == ["LPAR"]:
        head = tokens[3 : kinds.index("EQUAL") if "EQUAL" in kinds else 3]
        parameters = [Name(str(item), span=span(item)) for item in head if item.type == "NAME"]
    whole = span(tokens[0]).to(span(tokens[-1]))
    return Declaration(kind, name, tuple(parameters), Gap("", span=whole), span=whole)


def expression_of(source: Source, tokens: Sequence[Token]) -> tuple[Expr | None, list[Diagnostic]]:
    """One expression from all the tokens, or None and the reasons."""
    recovery = Recovery(source)
    if not tokens:
        end = len(source.text)
        recovery.report("MFV1001", Span(end, end), "there is no expression")
        return None, recovery.findings
    return recovery.piece("expression", tokens), recovery.findings
