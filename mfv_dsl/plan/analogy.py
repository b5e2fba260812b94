"""``blend([...], by=analogy)`` in a plan.

An eval that adds a blend measures in the mode ``blend``; the inputs of its step are the candidates.
"""

from __future__ import annotations

from dataclasses import replace

from mfv_dsl.lang.syntax import Binary, Call, Expr, Match, Name, Unary
from mfv_dsl.plan.arithmetic import Linear, scaled
from mfv_dsl.plan.context import Context, case_of, text_of
from mfv_dsl.plan.expressions import Planner


def candidates(planner: Planner, expr: Expr, context: Context) -> tuple[str, ...] | None:
    """The steps of the candidates if ``expr`` is a blend, None for any other vector.

    A multiple of a blend is the blend of the candidates' multiples: they are injected at that
    length when their weights are found, too.
    """
    forms = _forms(planner, expr, context)
    return None if forms is None else tuple(planner.combination(f, context) for f in forms)


def _forms(planner: Planner, expr: Expr, context: Context) -> list[Linear] | None:
    vectors = planner.checked.vectors
    if isinstance(expr, Name):
        return _forms(planner, vectors[expr.text].value, replace(context, relations={}))
    if isinstance(expr, Match):
        return _forms(planner, case_of(expr, context), context)
    if isinstance(expr, Unary):
        forms = _forms(planner, expr.operand, context)
        sign = -1.0 if expr.operator == "-" else 1.0
        return None if forms is None else [scaled(form, sign) for form in forms]
    if isinstance(expr, Binary) and expr.operator in "*/":
        number, vector = planner.factors(expr)
        forms = _forms(planner, vector, context)
        if forms is None:
            return None
        by = planner.number(number, context)
        label = f"{text_of(number, context)} {expr.operator} candidate"
        return [
            planner.multiple(form, expr.operator, by, f"{label} {place}", context)
            for place, form in enumerate(forms, 1)
        ]
    if isinstance(expr, Call) and expr.function.text in vectors:
        family = vectors[expr.function.text]
        return _forms(planner, family.value, planner.member(expr, context))
    if isinstance(expr, Call) and expr.function.text == "blend":
        return [planner.linear(part, context) for part in planner.options(expr)["vectors"]]
    return None
