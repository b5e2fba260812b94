"""How often a paired difference is shown by McNemar's test, exactly, by sums of binomials.

``up`` items are right only here, ``down`` only there; the difference is shown where
(up - down)² / (up + down) > z².  Given how many answers differ, ``up`` is binomial, and how many
differ is binomial, too.  Nothing but Python is needed, so that a plan stays instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import ceil, exp, lgamma, log, sqrt

#: So many standard deviations away nothing is left of a binomial.
_FAR = 12.0


@lru_cache(maxsize=1024)
def chance_shown(n: int, up: float, down: float, z: float) -> float:
    """The probability that ``n`` pairs show a difference, each being right only here with
    probability ``up`` and only there with ``down``, which together are above 0 and at most 1.

    >>> round(chance_shown(4, 1.0, 0.0, 1.96), 3), round(chance_shown(3, 1.0, 0.0, 1.96), 3)
    (1.0, 0.0)
    """
    share = up + down
    mean, far = n * share, _FAR * sqrt(n * share * (1 - share) + 1)
    total = 0.0
    most = min(n, ceil(mean + far))
    tails = zip(_tails(most, up / share, z), _tails(most, down / share, z), strict=True)
    for differ, (fewer_up, fewer_down) in enumerate(tails):
        if abs(differ - mean) <= far:
            total += _binomial(n, differ, share) * (fewer_up + fewer_down)
    return min(1.0, total)


def _tails(most: int, p: float, z: float) -> Iterator[float]:
    """For each m from 0 to ``most``, P(X <= k) of X binomial (m, p), k the largest number with
    m - 2 k > z √m; 0 where there is none.

    From one m to the next: P(X' <= k) = P(X <= k) - p P(X = k).
    """
    k, at, below = -1, 0.0, 0.0  # P(X = k) and P(X <= k)
    for m in range(most + 1):
        if m and k >= 0:
            below -= p * at
            at *= m / (m - k) * (1 - p)
        largest = ceil((m - z * sqrt(m)) / 2) - 1
        while k < largest:
            step = (1 - p) ** m if k < 0 else (m - k) / (k + 1) * p / (1 - p) if p < 1 else 0.0
            at = step if k < 0 else at * step
            k += 1
            below += at
        yield max(0.0, below)


def _binomial(n: int, k: int, p: float) -> float:
    """P(X = k) of X binomial (n, p)."""
    if p == 1:
        return float(k == n)
    ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(ways + k * log(p) + (n - k) * log(1 - p))
