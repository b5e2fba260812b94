"""The type of an expression, whatever it is made of."""

from __future__ import annotations

# A true recursion, over three modules: an expression may be a call (`calls`), a call's arguments
# are values of its parameters (`values`), and a value may be any expression.  What does not go
# further down is in `leaves` and `operators`.
from mfv_dsl.lang import calls
from mfv_dsl.lang.leaves import head, looks_like_head, name
from mfv_dsl.lang.operators import HEADS, binary, mismatch, unary
from mfv_dsl.lang.scope import UNKNOWN, Scope, Type, TypingContext
from mfv_dsl.lang.syntax import (
    Binary,
    Call,
    Expr,
    Gap,
    HeadLabel,
    ListExpr,
    Name,
    Number,
    Range,
    SetExpr,
    Text,
    Unary,
)


def infer(scope: Scope, node: Expr, context: TypingContext, want: str = "") -> Type:
    """The type of an expression, reporting what is wrong inside; ``want`` steers suggestions."""
    node_type = _infer(scope, node, context, want)
    scope.types[node.span] = node_type.name
    scope.node_types[node.span] = node_type
    return node_type


def _infer(scope: Scope, node: Expr, context: TypingContext, want: str) -> Type:
    if isinstance(node, Gap):
        return UNKNOWN
    if isinstance(node, Name):
        return name(scope, node, context, want)
    if isinstance(node, Number):
        return Type("Number", value=node.value)
    if isinstance(node, Text):
        return Type("Text")
    if isinstance(node, HeadLabel):
        head(scope, node, context)
        return Type("Head")
    if isinstance(node, Range):
        return Type("Range")
    if isinstance(node, ListExpr):
        return Type("List")
    if isinstance(node, SetExpr):
        return _head_set(scope, node, context)
    if isinstance(node, Call):
        return calls.call(scope, node, context)
    if isinstance(node, Unary):
        return unary(scope, node, infer(scope, node.operand, context), context)
    return _binary(scope, node, context, want)


def _binary(scope: Scope, node: Binary, context: TypingContext, want: str) -> Type:
    want = want if node.operator in "+-|&" else ""
    left = infer(scope, node.left, context, want)
    right = infer(scope, node.right, context, want)
    return binary(scope, node, left, right, context)


def _head_set(scope: Scope, node: SetExpr, context: TypingContext) -> Type:
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


def expect(scope: Scope, node: Expr, context: TypingContext, want: str, subject: str) -> Type:
    """Infer and require a type; ``subject`` names what needs it, as in "`add`"."""
    node_type = infer(scope, node, context, want)
    if node_type.name in (want, "Unknown"):
        return node_type
    return mismatch(scope, node, node_type, want, subject, context)
