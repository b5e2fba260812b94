"""Types of combinations, from the types of their parts; no part is looked into here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mfv_dsl.base.diagnostics import Fix, Label
from mfv_dsl.base.source import Span
from mfv_dsl.lang import states
from mfv_dsl.lang.scope import UNKNOWN, Scope, Type, TypingContext
from mfv_dsl.lang.syntax import Binary, Expr, HeadLabel, ListExpr, Name, Unary

NUMBER, HEADS = Type("Number"), Type("Heads")
#: What can stand on a side of an operator.
_SIDES = ("Number", "Vector", "Heads", "States", "Unknown")


def mismatch(
    scope: Scope, node: Expr, node_type: Type, want: str, subject: str, context: TypingContext
) -> Type:
    """Report a wrong type, with the spelling that would give the right one where there is one."""
    help, fixes = None, []
    if isinstance(node, HeadLabel) and want == "Heads":
        label = f"{{L{node.layer}H{node.head}}}"
        help, fixes = (
            f"a set of one head is written `{label}`",
            [Fix(f"write `{label}`", node.span, label)],
        )
    elif isinstance(node, Name) and want == "Vector" and node_type.name == "Relation":
        help, fixes = (
            f"its function vector is `fv({node.text})`",
            [Fix(f"write `fv({node.text})`", node.span, f"fv({node.text})")],
        )
    elif isinstance(node, Name) and node_type.name == "Family":
        names = ["each"] if context.each else [name.text for name in context.parameters]
        wanted = scope.parameters(node.text)
        arguments = ", ".join(names) if len(names) == wanted else ", ".join(["..."] * wanted)
        per = "pair of relations" if wanted == 2 else "relation"
        help = f"`{node.text}` is one vector per {per}; say which: `{node.text}({arguments})`"
        return scope.error(
            "MFV3010", node, f"{subject} needs a {want}, and this is a Family", "", help
        )
    elif (
        isinstance(node, ListExpr)
        and want == "Heads"
        and all(isinstance(item, HeadLabel) for item in node.items)
    ):
        help = "a set of heads stands in `{ }`"
    elif node_type.name == "States" and want == "Vector":
        help = "rows become a vector by `mean(...)`, `pca(...)` or `probe(..., ...)`"
    elif want == "States":
        help = "rows are read by `states(relation, layer=3)`"
    return scope.error(
        "MFV3001", node, f"{subject} needs {_a(want)}, and this is {_a(node_type.name)}",
        _a(node_type.name), help, fixes=fixes,
    )  # fmt: skip


# -- arithmetic -----------------------------------------------------------------------------------
def unary(scope: Scope, node: Unary, operand: Type, context: TypingContext) -> Type:
    """The type of a sign before an expression of type ``operand``."""
    if operand.name in ("Vector", "States", "Unknown"):
        return operand
    if operand.name == "Number":
        if operand.value is None or node.operator == "+":
            return operand
        return Type("Number", value=-operand.value)
    return _no_arithmetic(scope, node.operand, operand, node.operator, context)


def binary(scope: Scope, node: Binary, left: Type, right: Type, context: TypingContext) -> Type:
    """The type of an operation on a ``left`` and a ``right`` side, or a report that there is none.

    Numbers that are known before the run are computed here.
    """
    sides = [(node.left, left), (node.right, right)]
    odd = [side for side in sides if side[1].name not in _SIDES]
    for side, side_type in odd:
        _no_arithmetic(scope, side, side_type, node.operator, context)
    if odd:
        return UNKNOWN
    if UNKNOWN in (left, right):
        return _half_known(node.operator, left, right)
    names = (left.name, right.name)
    if names == ("Number", "Number") and node.operator in "+-*/":
        return _numbers(scope, node, left, right)
    if names == ("Heads", "Heads"):
        return _sets(scope, node)
    if names == ("Vector", "Vector"):
        return _vectors(scope, node, left, right)
    if names == ("States", "States") and node.operator in "+-":
        return states.joined(scope, [(node.left, left), (node.right, right)])
    if (
        "Number" in names
        and not {"Vector", "States"}.isdisjoint(names)
        and (node.operator == "*" or (node.operator == "/" and names[1] == "Number"))
    ):
        if node.operator == "/" and right.value == 0:
            return scope.error("MFV3009", node.right, "division by zero")
        return replace(right if left.name == "Number" else left, value=None)
    help = None
    if set(names) == {"States", "Vector"}:
        help = "rows become a vector by `mean(...)`, `pca(...)` or `probe(..., ...)`"
    if node.operator in "+-":
        scales = set(names) == {"Number", "Vector"}
        help = "a Number can scale a Vector: write `*`" if scales else None
    elif node.operator == "/" and names == ("Number", "Vector"):
        help = "a Vector can be divided by a Number, not the other way round"
    return scope.error(
        "MFV3002", node, f"`{node.operator}` does not join {_a(left.name)} and {_a(right.name)}",
        f"{left} {node.operator} {right}", help,
    )  # fmt: skip


def _a(name: str) -> str:
    if name in ("Heads", "States"):
        return name
    return f"an {name}" if name == "Adapter" else f"a {name}"


def _half_known(operator: str, left: Type, right: Type) -> Type:
    """With one side unknown, keep what must be so whatever the other side is."""
    side = right if left == UNKNOWN else left
    if side.name in ("Vector", "States") and operator in "+-*/":
        return replace(side, model=None)
    return side if side.name == "Heads" and operator in "|&" else UNKNOWN


def _no_arithmetic(
    scope: Scope, node: Expr, node_type: Type, operator: str, context: TypingContext
) -> Type:
    if isinstance(node, Name) and node_type.name in ("Relation", "Family"):
        return mismatch(scope, node, node_type, "Vector", f"`{operator}`", context)
    return scope.error(
        "MFV3002", node, f"`{operator}` does not work on {_a(node_type.name)}", _a(node_type.name)
    )


def _numbers(scope: Scope, node: Binary, left: Type, right: Type) -> Type:
    if node.operator == "/" and right.value == 0:
        return scope.error("MFV3009", node.right, "division by zero")
    if left.value is None or right.value is None:
        return NUMBER
    a, b = left.value, right.value
    try:
        value = {"+": a + b, "-": a - b, "*": a * b}.get(node.operator)
        if value is None:
            value = a // b if isinstance(a, int) and isinstance(b, int) and a % b == 0 else a / b
        if not math.isfinite(value) or abs(value) > 1e300:
            raise OverflowError
    except OverflowError:
        return scope.error("MFV3009", node, "this number is too large", "not finite")
    return Type("Number", value=value)


def _sets(scope: Scope, node: Binary) -> Type:
    if node.operator in "|&-":
        return HEADS
    sign = {"+": "|", "*": "&"}.get(node.operator)
    return scope.error(
        "MFV3002", node, f"`{node.operator}` does not join Heads and Heads", "Heads",
        f"write `{sign}`" if sign else "sets of heads take `|`, `&` and `-`",
    )  # fmt: skip


def _vectors(scope: Scope, node: Binary, left: Type, right: Type) -> Type:
    if node.operator in "+-":
        return join(scope, [(node.left, left), (node.right, right)])
    if node.operator == "*":
        a, b = (_text(scope, side.span) for side in (node.left, node.right))
        fix = f"dot({a}, {b})"
        return scope.error(
            "MFV3003", node, "a Vector times a Vector is not a Vector", "Vector * Vector",
            f"their inner product is `{fix}`" if len(fix) < 60 else "their inner product is "
            "`dot(v, w)`",
            fixes=[Fix("write `dot(...)`", node.span, fix)],
        )  # fmt: skip
    return scope.error(
        "MFV3002", node, f"`{node.operator}` does not join a Vector and a Vector", "",
        None if node.operator == "/" else "vectors take `+` and `-`; sets of heads `|` and `&`",
    )  # fmt: skip


def _text(scope: Scope, span: Span) -> str:
    return scope.source.text[span.start : span.end]


def join(scope: Scope, vectors: Sequence[tuple[Expr, Type]]) -> Type:
    """The type of a combination of vectors: one model and one bias convention, and parts only if
    all have them."""
    for node, vector_type in vectors:
        no_blend(scope, node, vector_type, "a combination of vectors")
    parts = all(vector_type.parts for _, vector_type in vectors)
    bias = _one_bias(scope, vectors)
    layers = {vector_type.layer for _, vector_type in vectors}
    layer = layers.pop() if len(layers) == 1 else None
    places = next((of.places for _, of in vectors if of.places is not None), None)
    of_first = next(((node, of) for node, of in vectors if of.places is not None), None)
    for node, vector_type in vectors:
        if of_first is not None and not states.same_places(of_first[1], vector_type):
            return states.other_places(scope, node, vector_type, *of_first)
    model, first = None, None
    for node, vector_type in vectors:
        if vector_type.model is None:
            continue
        if model is None:
            model, first = vector_type.model, node
        elif vector_type.model != model and first is not None:
            scope.error(
                "MFV3004", node, f"these vectors belong to two models: `{model}` and "
                f"`{vector_type.model}`", f"from `{vector_type.model}`",
                "vectors can be combined only within one model",
                secondary=[Label(first.span, f"from `{model}`")],
            )  # fmt: skip
            return Type("Vector", parts=parts)
    return Type("Vector", model=model, parts=parts, bias=bias, layer=layer, places=places,
                sites=states.sites_of(vectors))  # fmt: skip


def _one_bias(scope: Scope, vectors: Sequence[tuple[Expr, Type]]) -> str | None:
    """The bias convention of vectors that are combined; a second one is reported."""
    biases = [
        (node, vector_type.bias) for node, vector_type in vectors if vector_type.bias is not None
    ]
    for node, bias in biases[1:]:
        first, convention = biases[0]
        if bias != convention:
            scope.error(
                "MFV6013", node,
                f"these vectors have two bias conventions: `{convention}` and `{bias}`",
                f"`{bias}`", "make both with the same `bias`",
                secondary=[Label(first.span, f"`{convention}`")],
            )  # fmt: skip
            return None
    return biases[0][1] if biases else None


def no_blend(scope: Scope, node: Expr, vector_type: Type, subject: str) -> None:
    """Report a blend where one vector is needed."""
    if vector_type.blend:
        scope.error(
            "MFV5351", node, f"{subject} needs one vector, and a blend is another for every item",
            "a blend", "it can only be what an `eval` adds, or a multiple of that",
        )  # fmt: skip
