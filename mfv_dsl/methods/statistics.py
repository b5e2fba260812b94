"""Intervals and tests.

Items that share an image are not independent: where ``clusters`` names each item's image, images
are drawn, not items.  ``strata`` names parts of fixed size, such as relations: draws are made
within each.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

_Z = 1.959963984540054  # the 97.5 % point of the normal distribution
_SMALL = 30
_LEVEL = 0.05


def wilson(correct: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson 1927)."""
    if n == 0:
        return (0.0, 1.0)
    p = correct / n
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return (max(0.0, middle - half), min(1.0, middle + half))


def bootstrap(
    values: np.ndarray,
    seed: int,
    draws: int = 2000,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of ``values`` (n,), over items or clusters
    (Davison & Hinkley 1997, sections 3.2 and 3.8)."""
    rng = np.random.default_rng(seed)
    units = _units(values, clusters, strata)
    means = np.empty(draws)
    for start in range(0, draws, 500):  # bounded memory
        size_of_part = min(500, draws - start)
        total, size = np.zeros(size_of_part), np.zeros(size_of_part)
        for sums, sizes in units:
            draws_of_units = rng.integers(0, len(sums), size=(size_of_part, len(sums)))
            total += sums[draws_of_units].sum(axis=1)
            size += sizes[draws_of_units].sum(axis=1)
        means[start : start + size_of_part] = total / size
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def accuracy_interval(
    correct: np.ndarray,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """The 95 % interval of an accuracy: bootstrap, or Wilson's where the bootstrap fails (under 30
    items or clusters, or all answers alike).

    For Wilson's interval a cluster counts as one item: answers of one image may be all alike.
    """
    n = len(correct) if clusters is None else len(set(clusters))
    n_correct = correct.sum() * n / len(correct)
    if n < _SMALL or n_correct in (0, n):
        return wilson(n_correct, n)
    return bootstrap(correct.astype(np.float64), seed, clusters=clusters, strata=strata)


def sign_test(differences: np.ndarray, clusters: Sequence[Hashable] | None = None) -> float:
    """The two-sided p-value of as many ups as downs among paired ``differences`` (n,), exact; on
    right and wrong answers this is McNemar's test.  A cluster counts by the sign of its sum."""
    ((sums, _),) = _units(differences, clusters, None)
    up, down = int((sums > 0).sum()), int((sums < 0).sum())
    n = up + down
    tail = sum(math.comb(n, i) for i in range(min(up, down) + 1))
    return min(1.0, 2 * tail / 2**n)


def holm(p_values: Sequence[float]) -> list[bool]:
    """Which hypotheses are rejected so that with probability 0.95 none is wrongly (Holm 1979): the
    i-th smallest of m p-values is held against 0.05 / (m - i), until one fails."""
    rejections = [False] * len(p_values)
    for i, place in enumerate(sorted(range(len(p_values)), key=lambda j: p_values[j])):
        if p_values[place] > _LEVEL / (len(p_values) - i):
            break
        rejections[place] = True
    return rejections


def _units(
    values: np.ndarray, clusters: Sequence[Hashable] | None, strata: Sequence[Hashable] | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each stratum the sum of each cluster's values and the cluster's size, both (clusters,) in
    order of first appearance."""
    items = range(len(values)) if clusters is None else clusters
    parts = [0] * len(values) if strata is None else strata
    numbers: dict[tuple[Hashable, Hashable], int] = {}
    place = np.array(
        [numbers.setdefault(key, len(numbers)) for key in zip(parts, items, strict=True)]
    )
    sums = np.bincount(place, weights=values, minlength=len(numbers))
    sizes = np.bincount(place, minlength=len(numbers)).astype(np.float64)
    members: dict[Hashable, list[int]] = {}
    for number, (stratum, _) in enumerate(numbers):
        members.setdefault(stratum, []).append(number)
    return [(sums[rows], sizes[rows]) for rows in members.values()]
