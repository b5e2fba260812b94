"""95 % intervals of means that are no shares: effects of heads, and divergences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from mfv_dsl.methods.intervals import numbered, student


def effect_intervals(
    effects: np.ndarray, least: float = -1.0, most: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of the means of ``effects`` (prompts, ...), which lie between ``least`` and
    ``most``: low and high, each (...); NaN where an effect is.

    Many heads do nothing on nearly all prompts and much on a few, so a sample may miss what there
    is.  Each bound is therefore that of Student's interval on the sample with one prompt more, on
    which the effect is the largest possible in the bound's direction.  Without any effect on n
    prompts the bounds are about ± 3 / n, as the rule of three has it.  An estimate beyond
    ``least`` or ``most`` takes its place.
    """
    n = len(effects)
    total, square = effects.sum(0, dtype=np.float64), (effects.astype(np.float64) ** 2).sum(0)
    bounds = []
    for sign, extra in (
        (-1, np.minimum(least, effects.min(0))),
        (1, np.maximum(most, effects.max(0))),
    ):
        mean = (total + extra) / (n + 1)
        variance = np.maximum(square + extra**2 - (n + 1) * mean**2, 0) / n
        bounds.append(mean + sign * student(n) * np.sqrt(variance / (n + 1)))
    return bounds[0], bounds[1]


def divergence_interval(
    divergences: np.ndarray, clusters: Sequence[Hashable] | None = None
) -> tuple[float, float]:
    """The interval of the mean of ``divergences`` (n,), which are 0 or more and mostly small, with
    a long tail: Student's after a cubic transformation that removes the skewness (Hall 1992; Zhou
    & Dinh 2005).  A single one has no interval above: (0, inf).  Those of one of ``clusters``, such
    as an image, count as one."""
    if clusters is not None:
        places = numbered(clusters)
        divergences = np.bincount(places, divergences) * ((places.max() + 1) / len(divergences))
    n = len(divergences)
    if n < 2:
        return (0.0, float("inf"))
    mean, deviation = divergences.mean(), divergences.std(ddof=1)
    if deviation == 0:
        return (float(mean), float(mean))
    skewness = ((divergences - mean) ** 3).mean() / deviation**3
    low, high = (
        mean - _unskewed(x, skewness, n) * deviation for x in (student(n - 1), -student(n - 1))
    )
    return (max(0.0, float(low)), float(high))


def _unskewed(x: float, skewness: float, n: int) -> float:
    """The w with x / √n = w + g w² / 3 + g² w³ / 27 + g / (6 n), g the skewness (Hall 1992)."""
    shifted = x / np.sqrt(n) - skewness / (6 * n)
    if abs(skewness) < 1e-6:
        return float(shifted)
    return float((np.cbrt(1 + skewness * shifted) - 1) * 3 / skewness)
