"""Values that are known from the text alone: of numbers, lists and ranges."""

from __future__ import annotations

import math

from mfv_dsl.lang.syntax import Binary, Expr, ListExpr, Number, Range, Text, Unary
from mfv_dsl.lang.unparse import unparse

#: The most values of one list or range.
MAX_VALUES = 1000


class Unusable(Exception):
    """A list or range that has no values; ``message`` has a place for what it is of."""

    def __init__(self, code: str, node: Expr, message: str, label: str = "") -> None:
        super().__init__(message)
        self.code, self.node, self.message, self.label = code, node, message, label


def plain(node: Expr) -> int | float | str:
    """A value as results show it: a number, else its text.

    >>> plain(Unary("-", Number(2))), plain(Text("a b")), plain(ListExpr((Number(1),)))
    (-2, 'a b', '[1]')
    """
    number = number_of(node)
    if number is not None:
        return number
    return node.value if isinstance(node, Text) else unparse(node)


def number_of(node: Expr | None) -> int | float | None:
    """The number that a literal, or a sum or product of such, is; None for anything else."""
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Unary):
        operand = number_of(node.operand)
        return None if operand is None else -operand if node.operator == "-" else operand
    if isinstance(node, Binary) and node.operator in "+-*":
        left, right = number_of(node.left), number_of(node.right)
        if left is None or right is None:
            return None
        return {"+": left + right, "-": left - right, "*": left * right}[node.operator]
    return None


def values_of(node: Expr) -> tuple[Expr, ...]:
    """The values of a list or a range; of anything else itself.  Raises Unusable.

    >>> [plain(value) for value in values_of(Range(Number(0), Number(4), Number(2)))]
    [0, 2, 4]
    """
    if isinstance(node, ListExpr):
        if not node.items:
            raise Unusable("MFV3014", node, "{} is an empty list", "nothing in it")
        if len(node.items) > MAX_VALUES:
            raise Unusable("MFV3012", node, f"{{}} has more than {MAX_VALUES} values")
        return node.items
    if not isinstance(node, Range):
        return (node,)
    start, stop = number_of(node.start), number_of(node.stop)
    step = 1 if node.step is None else number_of(node.step)
    if start is None or stop is None or step is None:
        raise Unusable("MFV2050", node, "the ends of {} have to be numbers", "not a number")
    if step <= 0:
        assert node.step is not None
        direction = "is 0" if step == 0 else "goes down"
        raise Unusable("MFV3008", node.step, f"the step of {{}} {direction}", "above 0")
    if start > stop:
        message = f"{{}} begins at {start} and ends before it, at {stop}"
        raise Unusable("MFV3008", node, message)
    numbers = numbers_of(start, stop, step)
    if numbers is None:
        raise Unusable("MFV3012", node, f"{{}} has more than {MAX_VALUES} values")
    return tuple(_literal(number, node) for number in numbers)


def numbers_of(
    start: int | float, stop: int | float, step: int | float
) -> tuple[int | float, ...] | None:
    """The numbers of a range from ``start`` to ``stop``, both included; None of too many.

    >>> numbers_of(0, 0.3, 0.1)
    (0.0, 0.1, 0.2, 0.3)
    """
    steps = (stop - start) / step
    if not math.isfinite(steps) or steps >= MAX_VALUES:
        return None
    exact = (start + index * step for index in range(math.floor(steps + 1e-9) + 1))
    return tuple(amount if isinstance(amount, int) else round(amount, 12) for amount in exact)


def _literal(number: int | float, of: Range) -> Expr:
    if number < 0:
        return Unary("-", Number(-number, span=of.span), span=of.span)
    return Number(number, span=of.span)
