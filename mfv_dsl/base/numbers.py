"""How numbers are shown."""

from __future__ import annotations


def percent(value: float, low: float, high: float, sign: str = "") -> str:
    """A share with its interval, in per cent; ``sign`` is a format's sign, such as ``"+"``.

    >>> percent(0.98, 0.95, 1)
    '98 [95, 100]'
    >>> percent(0.02, -0.01, 0.05, "+")
    '+2 [-1, +5]'
    """
    return f"{100 * value:{sign}.0f} [{100 * low:{sign}.0f}, {100 * high:{sign}.0f}]"


def decimals(value: float, places: int = 2) -> str:
    """A number with so many decimals; what rounds to zero has no sign.

    >>> decimals(0.126), decimals(-0.001)
    ('0.13', '0.00')
    """
    return f"{round(value, places) + 0.0:.{places}f}"


def p_value(p: float) -> str:
    """A p-value; below 0.001 no more than that is said.

    >>> p_value(0.0312), p_value(0.00002), p_value(1)
    ('0.031', '<0.001', '1.000')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def points(share: float) -> str:
    """A difference in accuracy in points.

    >>> points(0.02), points(0.01), points(0.125)
    ('2 points', '1 point', '12.5 points')
    """
    number = f"{100 * share:g}"
    return f"{number} point" if number == "1" else f"{number} points"
