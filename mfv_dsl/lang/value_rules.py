"""What holds of the values of parameters, whatever they are made of; no expression is looked into
here."""

from __future__ import annotations

from typing import Any

from mfv_dsl.base.diagnostics import Fix, Label
from mfv_dsl.lang.entries import UNITS
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Expr, ListExpr, SetExpr


def no_repeats(scope: Scope, node: ListExpr | SetExpr, entries: list[Any]) -> None:
    """A name or number stands in a list or set once; the first repeat is reported."""
    places: dict[Any, Expr] = {}
    for item, entry in zip(node.items, entries, strict=True):
        if isinstance(entry, str | int | float):
            first = places.setdefault(entry, item)
            if first is not item:
                scope.error(
                    "MFV2013", item, f"`{entry}` is given twice", "and again",
                    secondary=[Label(first.span, "given here")],
                )  # fmt: skip
                return


def not_a_list(scope: Scope, parameter: Parameter, node: Expr, element: str) -> None:
    """Report (MFV3001) a value where a list of some is needed, with the list that was meant."""
    text = scope.source.text[node.span.start : node.span.end]
    fix = f"[{text}]" if len(text) < 60 else "[...]"
    of = {"Choice": "names", "Name": "names", "Code": "codes"}.get(element, f"{element}s")
    scope.error(
        "MFV3001", node, f"`{parameter.name}` needs a List of {of}", "not a List",
        f"write `{fix}`", fixes=[Fix(f"write `{fix}`", node.span, f"[{text}]")],
    )  # fmt: skip


def in_unit(
    scope: Scope, parameter: Parameter, amount: int | float, node: Expr, context: TypingContext
) -> int | float | None:
    """A number in the unit of its parameter; None after a report that it cannot be one (MFV3006,
    MFV4003, MFV4001)."""
    unit = UNITS[parameter.unit] if parameter.unit else None
    if unit is None:
        return amount
    subject = f"`{parameter.name}`"
    if unit.whole:
        if amount != int(amount):
            message = f"{subject} needs a whole number, and this is {amount}"
            scope.error("MFV3006", node, message, f"{unit.name}: {unit.doc}")
            return None
        amount = int(amount)
    low = unit.minimum is not None and amount < unit.minimum
    low = low or (unit.above is not None and amount <= unit.above)
    high = unit.maximum is not None and amount > unit.maximum
    if low or high:
        most = f", {unit.maximum:,} at most" if high and unit.maximum != 1 else ""
        scope.error(
            "MFV4003", node, f"{subject} cannot be {amount}", f"{unit.name}: {unit.doc}{most}"
        )
        return None
    if unit.name == "layer":
        facts = scope.model_facts(context)
        if facts and all(amount >= fact.n_layers for fact in facts):
            last = max(fact.n_layers for fact in facts) - 1
            scope.error(
                "MFV4001", node, f"the model has no layer {amount}", f"its layers are 0..{last}"
            )
            return None
    return amount
