"""The type of an expression, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

# A true recursion, over three modules: an expression may be a call (`calls`), a call's arguments
# are values of its parameters (`values`), and a value may be any expression.  What does not go
# further down is in `leaves` and `operators`.
from mfv_dsl.base.diagnostics import Label
from mfv_dsl.lang import calls, values
from mfv_dsl.lang.leaves import each, head, looks_like_head, name
from mfv_dsl.lang.operators import HEADS, binary, join, mismatch, unary
from mfv_dsl.lang.scope import UNKNOWN, Scope, Type, TypingContext
from mfv_dsl.lang.syntax import (
    ELSE,
    Binary,
    Call,
    Expr,
    Gap,
    HeadLabel,
    ListExpr,
    Match,
    Name,
    Node,
    Number,
    Range,
    SetExpr,
    Text,
    Unary,
    spine,
)


def infer(scope: Scope, node: Expr, context: TypingContext, want: str = "") -> Type:
    """The type of an expression, reporting what is wrong inside; ``want`` steers suggestions."""
    kind: Any = type(node)
    node_type = _KINDS[kind](scope, node, context, want)
    scope.types[node.span] = node_type.name
    scope.node_types[node.span] = node_type
    return node_type


def _call(scope: Scope, node: Call, context: TypingContext, want: str) -> Type:
    return calls.call(scope, node, context)


def _head(scope: Scope, node: HeadLabel, context: TypingContext, want: str) -> Type:
    head(scope, node, context)
    return Type("Head")


def _number(scope: Scope, node: Number, context: TypingContext, want: str) -> Type:
    return Type("Number", value=node.value)


def _unary(scope: Scope, node: Unary, context: TypingContext, want: str) -> Type:
    return unary(scope, node, infer(scope, node.operand, context), context)


def _always(node_type: Type) -> Callable[..., Type]:
    return lambda scope, node, context, want: node_type


def _binary(scope: Scope, node: Binary, context: TypingContext, want: str) -> Type:
    """The type of a chain of operations, found in a loop from its first one on."""
    first, chain = spine(node)
    wants = []
    for operation in reversed(chain):
        want = want if operation.operator in "+-|&" else ""
        wants.append(want)
    left = infer(scope, first, context, want)
    for operation, of_part in zip(chain, reversed(wants), strict=True):
        right = infer(scope, operation.right, context, of_part)
        left = binary(scope, operation, left, right, context)
        scope.types[operation.span], scope.node_types[operation.span] = left.name, left
    return left


def _match(scope: Scope, node: Match, context: TypingContext, want: str) -> Type:
    """The type that the values of all cases have."""
    scope.chooses = True
    subject = node.subject
    if context.has_parameter(subject.text):
        scope.use(subject, "parameter")
    elif subject.text == "each":
        each(scope, subject, context)
    else:
        names = [parameter.text for parameter in context.parameters]
        names += ["each"] if context.each else []
        scope.error(
            "MFV2042", subject, f"`{subject.text}` is not the relation that is asked for",
            f"it is: {', '.join(names)}" if names else "no relation is asked for here",
            "`match` takes the parameter of a family, or `each` in a block",
        )  # fmt: skip
    _cases(scope, node, context)
    types = [(case.value, infer(scope, case.value, context, want)) for case in node.cases]
    known = [(value, value_type) for value, value_type in types if value_type != UNKNOWN]
    if len(known) < len(types) or not known:
        return UNKNOWN
    first = known[0][1]
    if first.name not in ("Vector", "Heads", "Number"):
        wanted = want if want in ("Heads", "Number") else "Vector"
        return mismatch(scope, known[0][0], first, wanted, "a case", context)
    for value, value_type in known[1:]:
        if value_type.name != first.name:
            return mismatch(scope, value, value_type, first.name, "this case", context)
    return join(scope, known) if first.name == "Vector" else Type(first.name)


def _cases(scope: Scope, node: Match, context: TypingContext) -> None:
    """Report cases of no relation, cases that stand twice, and an `else` with nothing left."""
    if not node.cases:
        scope.error(
            "MFV2041", node, "this `match` has no case", "",
            "write `relation: value` on a line for each, and `else: value` for all others",
        )  # fmt: skip
    relations = scope.relations(context)
    first: dict[tuple[str, bool], Name | Text] = {}
    for case in node.cases:
        name = case.relation
        earlier = first.setdefault((case.of, case.is_else), name)
        if earlier is not name:
            scope.error(
                "MFV2013", name, f"there are two cases of `{case.of}`", "and again",
                secondary=[Label(earlier.span, "given here")],
            )  # fmt: skip
        elif not case.is_else:
            values.relation(scope, name, replace(context, each=False, parameters=()), "a case")
    other = first.get((ELSE, True))
    if other is not None and relations and {(one, False) for one in relations} <= first.keys():
        scope.error(
            "MFV2043", other, "nothing is left for this `else`",
            "every relation has its case",
        )  # fmt: skip


def _head_set(scope: Scope, node: SetExpr, context: TypingContext, want: str) -> Type:
    for item in node.items:
        if isinstance(item, HeadLabel):
            infer(scope, item, context)
        elif not isinstance(item, Gap):
            help = None
            if isinstance(item, Name) and scope.kind(item.text) == "heads":
                help = "join sets with `|`: `{L3H1} | spatial`"
            elif isinstance(item, Name) and looks_like_head(item.text):
                help = "heads are written `L12H3`: layer 12, head 3"
            scope.error(
                "MFV3001", item, "a set holds heads such as `L12H3`, and this is none", "", help
            )
    return HEADS


#: what finds the type of each kind of node
_KINDS: Mapping[type[Node], Callable[..., Type]] = {
    Gap: _always(UNKNOWN), Name: name, Number: _number, Text: _always(Type("Text")),
    HeadLabel: _head, Range: _always(Type("Range")), ListExpr: _always(Type("List")),
    SetExpr: _head_set, Call: _call, Match: _match, Unary: _unary, Binary: _binary,
}  # fmt: skip


def expect(scope: Scope, node: Expr, context: TypingContext, want: str, subject: str) -> Type:
    """Infer and require a type; ``subject`` names what needs it, as in "`add`"."""
    return fitting(scope, node, infer(scope, node, context, want), context, want, subject)


def fitting(
    scope: Scope, node: Expr, node_type: Type, context: TypingContext, want: str, subject: str
) -> Type:
    """Require a type of what has been inferred."""
    if node_type.name in (want, "Unknown"):
        return node_type
    return mismatch(scope, node, node_type, want, subject, context)
