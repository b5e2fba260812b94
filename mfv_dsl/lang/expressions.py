"""Types of expressions: names, calls, arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mfv_dsl.base.diagnostics import Fix, Label
from mfv_dsl.base.source import Span
from mfv_dsl.base.suggest import suggest
from mfv_dsl.lang import calls
from mfv_dsl.lang.entries import CONSTANTS, CONSTRUCTOR, FUNCTION, ITEM
from mfv_dsl.lang.scope import UNKNOWN, Context, Scope, Type
from mfv_dsl.lang.syntax import (
    Binary,
    Call,
    Expr,
    HeadLabel,
    Hole,
    ListExpr,
    Name,
    Number,
    Range,
    SetExpr,
    Text,
    Unary,
)

MAX_LISTED = 12
NUMBER, HEADS, RELATION = Type("Number"), Type("Heads"), Type("Relation")


def infer(scope: Scope, node: Expr, context: Context, want: str = "") -> Type:
    """The type of an expression, reporting what is wrong inside; ``want`` steers suggestions."""
    found = _infer(scope, node, context, want)
    scope.types[node.span] = found.name
    scope.inferred[node.span] = found
    return found


def _infer(scope: Scope, node: Expr, context: Context, want: str) -> Type:
    if isinstance(node, Hole):
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
        return head_set(scope, node, context)
    if isinstance(node, Call):
        return calls.call(scope, node, context)
    if isinstance(node, Unary):
        return unary(scope, node, context)
    return binary(scope, node, context, want)


def expect(scope: Scope, node: Expr, context: Context, want: str, what: str) -> Type:
    """Infer and require a type; ``what`` is what needs it, e.g. "`add`"."""
    found = infer(scope, node, context, want)
    if found.name in (want, "Unknown"):
        return found
    return mismatch(scope, node, found, want, what, context)


def mismatch(scope: Scope, node: Expr, found: Type, want: str, what: str, context: Context) -> Type:
    """Report a wrong type, with the spelling that would give the right one where there is one."""
    help, fixes = None, []
    if isinstance(node, HeadLabel) and want == "Heads":
        label = f"{{L{node.layer}H{node.head}}}"
        help, fixes = (
            f"a set of one head is written `{label}`",
            [Fix(f"write `{label}`", node.span, label)],
        )
    elif isinstance(node, Name) and want == "Vector" and found.name == "Relation":
        help, fixes = (
            f"its function vector is `fv({node.text})`",
            [Fix(f"write `fv({node.text})`", node.span, f"fv({node.text})")],
        )
    elif isinstance(node, Name) and found.name == "Family":
        argument = "each" if context.each else context.parameter and context.parameter.text
        help = f"`{node.text}` is one vector per relation; say which: " + (
            f"`{node.text}({argument})`" if argument else f"`{node.text}(...)`"
        )
        return scope.error(
            "MFV3010", node, f"{what} needs a {want}, and this is a Family", "", help
        )
    elif (
        isinstance(node, ListExpr)
        and want == "Heads"
        and all(isinstance(item, HeadLabel) for item in node.items)
    ):
        help = "a set of heads stands in `{ }`"
    return scope.error(
        "MFV3001", node, f"{what} needs {_a(want)}, and this is {_a(found.name)}",
        _a(found.name), help, fixes=fixes,
    )  # fmt: skip


# -- leaves ---------------------------------------------------------------------------------------
def name(scope: Scope, node: Name, context: Context, want: str) -> Type:
    text = node.text
    if context.parameter is not None and text == context.parameter.text:
        return RELATION
    if text == "each":
        return each(scope, node, context)
    kind = scope.kind(text)
    if kind is not None:
        if text in scope.doubtful and kind not in ITEM:
            return UNKNOWN
        if scope.is_family(text):
            return Type("Family")
        if kind == "vector":
            return scope.vector_types.get(text, Type("Vector"))
        return Type(ITEM[kind].result) if kind in ITEM else UNKNOWN
    if text in CONSTANTS:
        return Type("Boolean")
    if text in (scope.relations(context) or {}):
        return RELATION
    return _unknown_name(scope, node, scope.relations(context), want)


def _unknown_name(scope: Scope, node: Name, relations: dict[str, str] | None, want: str) -> Type:
    text = node.text
    what = {"Vector": "vector", "Heads": "heads", "Model": "model", "Dataset": "dataset"}
    if text in FUNCTION and suggest(text, scope.names) is None:
        return scope.error(
            "MFV2002", node, f"`{text}` is a function and needs its arguments", "",
            f"for example `{FUNCTION[text].example}`",
        )  # fmt: skip
    if want == "Heads" and _looks_like_head(text):
        return scope.error(
            "MFV2002", node, f"unknown name `{text}`", "",
            "heads are written `L12H3` (layer 12, head 3), a set of them `{L12H3, L14H7}`",
        )  # fmt: skip
    kinds = {"Vector": ("vector", "tune"), "Heads": ("heads",)}.get(want, ())
    candidates = [*scope.of_kind(*kinds), *scope.names, *(relations or {})]
    label, help = f"a {want} is needed" if want else "", None
    if kinds:
        declared = scope.of_kind(*kinds)
        shown = [*declared[:MAX_LISTED], *(["..."] if len(declared) > MAX_LISTED else [])]
        label = f"declared: {', '.join(shown)}" if declared else "none is declared"
    if want == "Vector" and relations is None:
        help = f"if it is a relation, its function vector is `fv({text})`"
    return scope.unknown("MFV2002", what.get(want, "name"), node, candidates, label, help)


def _looks_like_head(text: str) -> bool:
    return text[:1] in "lL" and text[1:2].isdigit()


def each(scope: Scope, node: Name, context: Context) -> Type:
    if not context.each:
        return scope.error(
            "MFV2010", node, "`each` has no meaning here",
            "it is the relation under test, in `eval`, `tune` and `save`",
            "a vector per relation is declared as a family: `vector name(r) = fv(r)`",
        )  # fmt: skip
    return RELATION


def head(scope: Scope, node: HeadLabel, context: Context) -> None:
    """Check a head label against the models that may be meant."""
    facts = scope.model_facts(context)
    if not facts or any(node.layer < f.n_layers and node.head < f.n_heads for f in facts):
        return
    shape = facts[0]
    scope.error(
        "MFV4002", node, f"the model has no head `L{node.layer}H{node.head}`",
        f"its layers are 0..{shape.n_layers - 1}, its heads 0..{shape.n_heads - 1}",
    )  # fmt: skip


def head_set(scope: Scope, node: SetExpr, context: Context) -> Type:
    for item in node.items:
        if isinstance(item, HeadLabel):
            infer(scope, item, context)
        elif not isinstance(item, Hole):
            help = None
            if isinstance(item, Name) and scope.kind(item.text) == "heads":
                help = "join sets with `|`: `{L3H1} | spatial`"
            elif isinstance(item, Name) and _looks_like_head(item.text):
                help = "heads are written `L12H3`: layer 12, head 3"
            scope.error(
                "MFV3001", item, "a set holds heads such as `L12H3`, and this is none", "", help
            )
    return HEADS


# -- arithmetic -----------------------------------------------------------------------------------
def unary(scope: Scope, node: Unary, context: Context) -> Type:
    operand = infer(scope, node.operand, context)
    if operand.name in ("Vector", "Unknown"):
        return operand
    if operand.name == "Number":
        if operand.value is None or node.operator == "+":
            return operand
        return Type("Number", value=-operand.value)
    return _no_arithmetic(scope, node.operand, operand, node.operator, context)


def binary(scope: Scope, node: Binary, context: Context, want: str) -> Type:
    want = want if node.operator in "+-|&" else ""
    left = infer(scope, node.left, context, want)
    right = infer(scope, node.right, context, want)
    sides = [(node.left, left), (node.right, right)]
    odd = [side for side in sides if side[1].name not in ("Number", "Vector", "Heads", "Unknown")]
    for side, found in odd:
        _no_arithmetic(scope, side, found, node.operator, context)
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
    if set(names) == {"Number", "Vector"} and (
        node.operator == "*" or (node.operator == "/" and names[1] == "Number")
    ):
        if node.operator == "/" and right.value == 0:
            return scope.error("MFV3009", node.right, "division by zero")
        return replace(left if left.name == "Vector" else right, value=None)
    help = None
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
    return name if name == "Heads" else f"a {name}"


def _half_known(operator: str, left: Type, right: Type) -> Type:
    """With one side unknown, keep what must be so whatever the other side is."""
    known = right if left == UNKNOWN else left
    if known.name == "Vector" and operator in "+-*/":
        return replace(known, model=None)
    return known if known.name == "Heads" and operator in "|&" else UNKNOWN


def _no_arithmetic(scope: Scope, node: Expr, found: Type, operator: str, context: Context) -> Type:
    if isinstance(node, Name) and found.name in ("Relation", "Family"):
        return mismatch(scope, node, found, "Vector", f"`{operator}`", context)
    return scope.error(
        "MFV3002", node, f"`{operator}` does not work on {_a(found.name)}", _a(found.name)
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
    meant = {"+": "|", "*": "&"}.get(node.operator)
    return scope.error(
        "MFV3002", node, f"`{node.operator}` does not join Heads and Heads", "Heads",
        f"write `{meant}`" if meant else "sets of heads take `|`, `&` and `-`",
    )  # fmt: skip


def _vectors(scope: Scope, node: Binary, left: Type, right: Type) -> Type:
    if node.operator in "+-":
        return join(scope, [(node.left, left), (node.right, right)])
    if node.operator == "*":
        a, b = (_written(scope, side.span) for side in (node.left, node.right))
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


def _written(scope: Scope, span: Span) -> str:
    return scope.source.text[span.start : span.end]


def join(scope: Scope, vectors: Sequence[tuple[Expr, Type]]) -> Type:
    """The type of a combination of vectors: one model and one bias convention, and parts only if
    all have them."""
    for node, found in vectors:
        no_blend(scope, node, found, "a combination of vectors")
    parts = all(found.parts for _, found in vectors)
    bias = _one_bias(scope, vectors)
    model, first = None, None
    for node, found in vectors:
        if found.model is None:
            continue
        if model is None:
            model, first = found.model, node
        elif found.model != model and first is not None:
            scope.error(
                "MFV3004", node, f"these vectors belong to two models: `{model}` and "
                f"`{found.model}`", f"from `{found.model}`",
                "vectors can be combined only within one model",
                secondary=[Label(first.span, f"from `{model}`")],
            )  # fmt: skip
            return Type("Vector", parts=parts)
    return Type("Vector", model=model, parts=parts, bias=bias)


def _one_bias(scope: Scope, vectors: Sequence[tuple[Expr, Type]]) -> str | None:
    """The bias convention of vectors that are combined; a second one is reported."""
    known = [(node, found.bias) for node, found in vectors if found.bias is not None]
    for node, bias in known[1:]:
        first, other = known[0]
        if bias != other:
            scope.error(
                "MFV6013", node, f"these vectors have two bias conventions: `{other}` and `{bias}`",
                f"`{bias}`", "make both with the same `bias`",
                secondary=[Label(first.span, f"`{other}`")],
            )  # fmt: skip
            return None
    return known[0][1] if known else None


def no_blend(scope: Scope, node: Expr, found: Type, what: str) -> None:
    """Report a blend where one vector is needed."""
    if found.blend:
        scope.error(
            "MFV5351", node, f"{what} needs one vector, and a blend is another for every item",
            "a blend", "it can only be what an `eval` adds, or a multiple of that",
        )  # fmt: skip


__all__ = ["CONSTRUCTOR", "expect", "infer", "join", "mismatch", "no_blend"]
