"""95 % intervals of accuracies and of paired differences in accuracy.

An accuracy has Wilson's score interval (1927), a paired difference Tango's (1998), which is the
same idea for two answers to one question: both are the values that a score test does not reject,
so neither has width zero where all answers are alike.

Items that share an image are not independent, and the accuracies of the relations in a pooled row
differ.  Both are met by one device (Kish 1965, section 8.2; Dean & Pagano 2015): the interval is
that of n / D items drawn at random, where D, the *design effect*, is the variance of the mean
under the true design over that of n independent items.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np

Numbers: TypeAlias = "np.ndarray | float"
Interval: TypeAlias = tuple[Any, Any]  # low and high: numbers, or arrays for arrays

Z = 1.959963984540054  # the 97.5 % point of the normal distribution
_HALVINGS = 50  # of an interval of length at most 2


def accuracy_interval(
    correct: np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> Interval:
    """The interval of the share of ``correct`` (..., n): low and high, each (...).  ``clusters``
    names each item's image, ``strata`` its relation."""
    values = np.asarray(correct, dtype=np.float64)
    n = effective_size(values, 0, 1, clusters, strata)
    return wilson(values.mean(-1) * n, n)


def difference_interval(
    differences: np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> Interval:
    """The interval of the mean of paired ``differences`` (..., n) of right and wrong answers, each
    1, 0 or -1; the rest is as for :func:`accuracy_interval`."""
    values = np.asarray(differences, dtype=np.float64)
    n = effective_size(values, -1, 1, clusters, strata)
    return tango((values > 0).mean(-1) * n, (values < 0).mean(-1) * n, n)


def wilson(correct: Numbers, n: Numbers) -> Interval:
    """Wilson's score interval of a proportion: the p with |correct/n - p| ≤ z √(p (1 - p) / n).

    ``n`` need not be whole; of 0 items the interval is (0, 1).  Arrays give arrays.
    """
    n = np.asarray(n, dtype=np.float64)
    nothing = n == 0
    n = np.where(nothing, 1.0, n)
    p = np.asarray(correct) / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    spread = np.maximum(p * (1 - p) / n, 0) + Z**2 / (4 * n**2)
    half = Z / (1 + Z**2 / n) * np.sqrt(spread)
    low = np.clip(middle - half, 0.0, np.minimum(p, 1.0))  # rounding must not leave p outside
    high = np.clip(middle + half, np.minimum(p, 1.0), 1.0)
    return np.where(nothing, 0.0, low)[()], np.where(nothing, 1.0, high)[()]


def tango(up: Numbers, down: Numbers, n: Numbers) -> Interval:
    """Tango's score interval (1998) of a difference of paired proportions, ``up`` of ``n`` items
    right only now and ``down`` only before: the d with

        |up - down - n d| ≤ z √(n (2 q + d (1 - d)))

    where q is the likeliest probability of ``down`` at a difference of d.  Counts need not be
    whole.  Arrays give arrays.
    """
    up, down, n = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (up, down, n)))
    found = (up - down) / n
    ends = []
    for end in (-1.0, 1.0):
        inside, outside = found, np.full_like(found, end)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            holds = _tango_holds(middle, up, down, n)
            inside, outside = np.where(holds, middle, inside), np.where(holds, outside, middle)
        ends.append(outside[()])
    return ends[0], ends[1]


def _tango_holds(d: np.ndarray, up: np.ndarray, down: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Whether a difference of ``d`` is not rejected."""
    distance, variance = tango_parts(d, up, down, n)
    holds: np.ndarray = distance**2 <= Z**2 * variance
    return holds


def tango_parts(d: Numbers, up: Numbers, down: Numbers, n: Numbers) -> tuple[Any, Any]:
    """How far ``up - down`` is from what a difference of ``d`` would have, and the variance of that
    under it (Tango 1998, equations 9 and 10)."""
    b = (2 * n - up + down) * d - up - down
    c = -down * d * (1 - d)
    q = (np.sqrt(np.maximum(b**2 - 8 * n * c, 0)) - b) / (4 * n)
    return up - down - n * d, n * (2 * q + d * (1 - d))


def effective_size(
    values: np.ndarray,
    least: float,
    most: float,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """How many independent items tell as much about the mean of ``values`` (..., n), between
    ``least`` and ``most``, as these do: (...).  That is n where ``clusters`` and ``strata`` are
    not there or say nothing.

    The design effect compares sums of squares: of clusters' sums about the means of their strata
    with items about the mean of all.  To both are added, in each stratum, a cluster whose values
    are all ``most`` and one with all ``least``: where nothing has varied yet, a cluster counts as
    one item.  Few clusters make the design effect uncertain: the size shrinks by the square of
    the ratio of Student's quantiles (Korn & Graubard 1998).

    Where clusters reach over strata, such as images that show several relations, the clusters of
    all strata are taken together.
    """
    n = values.shape[-1]
    stratum = numbered([0] * n if strata is None else strata)
    cluster = numbered(range(n) if clusters is None else clusters)
    n_clusters = cluster.max() + 1
    if n_clusters == n and not stratum.any():
        return np.full(values.shape[:-1], float(n))
    deviations = values - values.mean(-1, keepdims=True)
    independent = (deviations**2).sum(-1)
    for number in range(stratum.max() + 1):
        rows = stratum == number
        deviations[..., rows] -= deviations[..., rows].mean(-1, keepdims=True)
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    sums = np.add.reduceat(deviations[..., order], starts, axis=-1)
    nested = len(set(zip(stratum.tolist(), cluster.tolist(), strict=True))) == n_clusters
    block = stratum if nested else np.zeros(n, dtype=int)
    owner = block[order[starts]]
    mean = values.mean(-1)
    apart = (most - mean) ** 2 + (mean - least) ** 2
    designed = np.zeros(values.shape[:-1])
    n_blocks = block.max() + 1
    for number in range(n_blocks):
        size, count = float((block == number).sum()), float((owner == number).sum())
        each = size / count
        correction = count / max(count - 1, 1) * (size - 1) / size  # 1 for clusters of one item
        designed += correction * (sums[..., owner == number] ** 2).sum(-1) + apart * each**2
        independent += apart * each
    shrink = student(n - n_blocks) / student(n_clusters - n_blocks)
    sizes: np.ndarray = n * independent / designed * shrink**2
    return sizes


def freedom(
    n: int,
    clusters: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> float:
    """The degrees of freedom that :func:`effective_size` makes up for: of clusters less strata
    where items share clusters, else infinity."""
    if clusters is None or len(set(clusters)) == n:
        return float("inf")
    nested = len(set(zip(clusters, [0] * n if strata is None else strata, strict=True)))
    blocks = 1 if strata is None or nested > len(set(clusters)) else len(set(strata))
    return float(max(len(set(clusters)) - blocks, 1))


def student(freedom: float) -> float:
    """The 97.5 % point of Student's t with so many degrees of freedom, one at least."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1), 0.975))


def numbered(names: Sequence[Hashable]) -> np.ndarray:
    """The names numbered from 0, in order of first appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])
