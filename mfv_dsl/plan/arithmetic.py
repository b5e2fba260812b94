"""Numbers and linear forms of a plan."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mfv_dsl.base.errors import MfvError

#: A sum of multiples of vectors: step key -> coefficient, in order of first appearance.
Linear = dict[str, float]

_ROUNDING = 1e-12  # a sum this much smaller than its terms is rounding, and counts as zero


def calculate(operator: str, left: float, right: float) -> float:
    """``left operator right``; an error (MFV5306) if that is no finite number.

    >>> calculate("/", 1.0, 4.0)
    0.25
    """
    if operator == "+":
        return finite(left + right)
    if operator == "-":
        return finite(left - right)
    if operator == "*":
        return finite(left * right)
    if right == 0:
        raise MfvError(
            "MFV5306",
            "division by a number that came out as zero",
            help="the number is measured or calculated; look at the vectors it is made of",
        )
    return finite(left / right)


def finite(number: float) -> float:
    """``number``; an error (MFV5306) if it is infinite or none."""
    if not math.isfinite(number):
        raise MfvError("MFV5306", "a number in this expression came out too large to hold")
    return number


def sweep(value: Any) -> tuple[Any, ...]:
    """A value as the tuple of its conditions: itself where it is one."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def scaled(form: Linear, factor: float) -> Linear:
    """``factor`` times a linear form, without zero terms."""
    return {key: factor * value for key, value in form.items() if factor * value != 0}


def summed(*forms: Linear) -> tuple[Linear, tuple[str, ...]]:
    """The sum of linear forms, like terms merged, and the keys of terms that cancelled.

    >>> summed({"v": 1.0, "w": 2.0}, {"v": -1.0, "w": 0.5})
    ({'w': 2.5}, ('v',))
    """
    total: Linear = {}
    largest: Linear = {}
    for form in forms:
        for key, value in form.items():
            total[key] = total.get(key, 0.0) + value
            largest[key] = max(largest.get(key, 0.0), abs(value))
    cancelled = tuple(key for key in total if abs(total[key]) <= _ROUNDING * largest[key])
    return {key: value for key, value in total.items() if key not in cancelled}, cancelled


def sum_text(terms: Iterable[tuple[float, str]]) -> str:
    """A sum of multiples of vectors in the recipe's language.

    >>> sum_text([(1.0, "fv(left)"), (-2.0, "fv(right)")])
    'fv(left) - 2.0 * fv(right)'
    """
    text = ""
    for factor, vector in terms:
        multiple = "" if abs(factor) == 1 else f"{abs(factor)!r} * "
        text += f" {'-' if factor < 0 else '+'} {multiple}{vector}"
    if not text:
        return "zeros()"
    return text[3:] if text.startswith(" + ") else f"-{text[3:]}"
