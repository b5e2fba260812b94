"""Intervals."""

from __future__ import annotations

import math

import numpy as np

_Z = 1.959963984540054  # the 97.5 % point of the normal distribution
_SMALL = 30


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson 1927)."""
    if n == 0:
        return (0.0, 1.0)
    p = correct / n
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return (max(0.0, middle - half), min(1.0, middle + half))


def bootstrap(values: np.ndarray, seed: int, draws: int = 2000) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of ``values`` (n,), over items."""
    rng = np.random.default_rng(seed)
    n = len(values)
    means = np.empty(draws)
    for start in range(0, draws, 500):  # bounded memory
        picked = rng.integers(0, n, size=(min(500, draws - start), n))
        means[start : start + len(picked)] = values[picked].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def accuracy_interval(correct: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy: bootstrap over items, or Wilson's where the bootstrap
    fails (under 30 items, or all answers alike)."""
    right, n = int(correct.sum()), len(correct)
    if n < _SMALL or right in (0, n):
        return wilson(right, n)
    return bootstrap(correct.astype(np.float64), seed)
