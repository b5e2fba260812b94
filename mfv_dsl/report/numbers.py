"""How numbers are shown."""

from __future__ import annotations


def percent(value: float, low: float, high: float, sign: str = "") -> str:
    """A share with its interval in per cent: ``98 [95, 100]``."""
    return f"{100 * value:{sign}.0f} [{100 * low:{sign}.0f}, {100 * high:{sign}.0f}]"
