"""How numbers are shown."""

from __future__ import annotations


def percent(value: float, low: float, high: float, sign: str = "") -> str:
    """A share with its interval in per cent: ``98 [95, 100]``."""
    return f"{100 * value:{sign}.0f} [{100 * low:{sign}.0f}, {100 * high:{sign}.0f}]"


def decimals(value: float, places: int = 2) -> str:
    """A number with so many decimals; what rounds to zero has no sign."""
    return f"{round(value, places) + 0.0:.{places}f}"
