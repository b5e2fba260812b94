"""95 % intervals of a mean over several draws, seeds and items both taken as drawn at random.

What is made from other prompts (a vector, a set of heads, a training) is another thing for each
seed, and is measured on items that are a draw, too.  The mean over seeds varies with both; this is
the model of random readers and random cases (Dorfman, Berbaum & Metz 1992; Obuchowski & Rockette
1995), in which the variance of the mean is::

    variance of the seeds' means / seeds  +  covariance of two seeds' means

The first part holds all that differs from seed to seed.  The second is what the same images bring
to all of them; it is estimated from the products of different seeds on one image, and is none where
every seed has images of its own.  Relations are fixed.  As in :mod:`mfv_dsl.methods.intervals` the
variance becomes a number of independent items, which a score interval is made of; Satterthwaite's
degrees of freedom (1946) of the two parts make it wider where seeds are few.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from mfv_dsl.methods.intervals import Interval, numbered, student, tango, wilson


@dataclass(frozen=True)
class Draw:
    """What was measured with one seed: ``values`` (items,), and of each item its image
    (``clusters``) and relation (``strata``)."""

    values: np.ndarray
    clusters: Sequence[Hashable]
    strata: Sequence[Hashable]


def accuracy_over_draws(draws: Sequence[Draw]) -> Interval:
    """The interval of the mean share of right answers, low and high."""
    mean = float(np.mean([draw.values.mean() for draw in draws]))
    n = effective_size(draws, 0, 1)
    return wilson(mean * n, n)


def difference_over_draws(draws: Sequence[Draw]) -> Interval:
    """The interval of the mean of paired differences of right and wrong answers, each 1, 0 or
    -1."""
    up, down = (
        float(np.mean([(sign * draw.values > 0).mean() for draw in draws])) for sign in (1, -1)
    )
    n = effective_size(draws, -1, 1)
    return tango(up * n, down * n, n)


def effective_size(draws: Sequence[Draw], least: float, most: float) -> float:
    """How many independent items tell as much about the mean over ``draws``, two at least, of
    values between ``least`` and ``most``."""
    return size_and_freedom(draws, least, most)[0]


def size_and_freedom(draws: Sequence[Draw], least: float, most: float) -> tuple[float, float]:
    """The :func:`effective_size`, and the degrees of freedom that it makes up for."""
    parts = _parts(draws, least, most)
    seeds, freedom = len(draws), parts.freedom
    n = sum(len(draw.values) for draw in draws)
    shrink = student(n // seeds - parts.n_blocks) / student(freedom)
    return float(parts.independent / parts.variance * min(shrink, 1.0) ** 2), float(freedom)


def mean_over_draws(draws: Sequence[Draw]) -> tuple[float, float]:
    """Student's interval of the mean over ``draws``, two at least, of values without bounds."""
    mean = float(np.mean([draw.values.mean() for draw in draws]))
    parts = _parts(draws, None, None)
    half = student(parts.freedom) * float(np.sqrt(parts.variance))
    return mean - half, mean + half


@dataclass(frozen=True)
class _Parts:
    """What the mean over draws varies with: its ``variance``, that of so many ``independent``
    values times their number, its degrees of freedom, and how many blocks items fall into."""

    variance: float
    independent: float
    freedom: float
    n_blocks: int


def _parts(draws: Sequence[Draw], least: float | None, most: float | None) -> _Parts:
    """The parts of the variance of the mean over ``draws``.  Between bounds a cluster of ``least``
    and one of ``most`` are added to each block, as where nothing has varied."""
    values = np.concatenate([draw.values for draw in draws]).astype(np.float64)
    seed = np.repeat(np.arange(len(draws)), [len(draw.values) for draw in draws])
    stratum = numbered([name for draw in draws for name in draw.strata])
    cluster = numbered([name for draw in draws for name in draw.clusters])
    total, seeds = len(values), len(draws)
    means = np.array([draw.values.mean() for draw in draws])
    mean = means.mean()
    between = means.var(ddof=1) / seeds
    # each draw counts as much as another, however many items it has
    weights = np.array([total / seeds / len(draw.values) for draw in draws])[seed]
    deviations = weights * (values - _means_of(seed * (stratum.max() + 1) + stratum, values))
    n_clusters = cluster.max() + 1
    sums = np.bincount(cluster, deviations, n_clusters)
    parts = np.bincount(seed * n_clusters + cluster, deviations, seeds * n_clusters)
    parts = parts.reshape(seeds, n_clusters)
    shared = (sums**2 - (parts**2).sum(axis=0)) * seeds / (seeds - 1)
    owner = np.zeros(n_clusters, dtype=int)
    if len(set(zip(stratum.tolist(), cluster.tolist(), strict=True))) == n_clusters:
        owner[cluster] = stratum
    apart = 0.0
    if least is not None and most is not None:
        apart = (most - mean) ** 2 + (mean - least) ** 2
    common = spare = spare_independent = 0.0
    n_blocks = owner.max() + 1
    for number in range(n_blocks):
        count = float((owner == number).sum())
        size = float((owner[cluster] == number).sum())
        correction = count / max(count - 1, 1) * (1 - seeds / size)  # 1 for images of one item
        common += correction * shared[owner == number].sum()
        spare += apart * (size / count) ** 2
        spare_independent += apart * size / count
    common = max(common, 0.0) / total**2 + spare / total**2
    variance = between + common
    independent = float(np.mean(weights * (values - mean) ** 2)) + spare_independent / total
    parts = between**2 / (seeds - 1) + common**2 / max(n_clusters - n_blocks, 1)
    freedom = variance**2 / parts if parts > 0 else float("inf")
    return _Parts(float(variance), float(independent), float(freedom), int(n_blocks))


def _means_of(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each value the mean of its group."""
    counts = np.maximum(np.bincount(groups), 1)
    means: np.ndarray = (np.bincount(groups, values) / counts)[groups]
    return means
