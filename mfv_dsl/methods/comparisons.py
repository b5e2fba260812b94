"""Tests of paired differences in accuracy: that there is one, that it is no loss of more than a
margin, and that it is within a margin either way.

All are the score test that Tango's interval (1998) is made of, so that they say what the 95 %
interval says: a difference is there at 5 % where the interval leaves out 0 (without structure among
the items this is McNemar's test, 1947, without a correction for continuity); a loss of more than a
margin is excluded at 2.5 %, one-sided, where the whole interval is above minus the margin; and a
difference beyond a margin, in both directions, where the interval lies within it (two one-sided
tests, Schuirmann 1987).  Items that share an image and seeds count as in the interval; where these
leave few degrees of freedom, p-values are of Student's distribution.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from mfv_dsl.methods.draws import Draw, size_and_freedom
from mfv_dsl.methods.intervals import (
    Interval,
    Z,
    effective_size,
    freedom,
    student,
    tango,
    tango_parts,
)

#: At which a loss of more than a margin is excluded, on each side: that of the 95 % interval.
ONE_SIDED = 0.025


@dataclass(frozen=True)
class Paired:
    """A paired difference: ``up`` of ``n`` items right only here and ``down`` only there, of the
    effective number of items, and the degrees of freedom that this number makes up for."""

    up: float
    down: float
    n: float
    freedom: float = float("inf")

    @classmethod
    def of_items(
        cls,
        differences: np.ndarray,
        clusters: Sequence[Hashable] | None = None,
        strata: Sequence[Hashable] | None = None,
    ) -> Paired:
        """Of ``differences`` (n,) of right and wrong answers, each 1, 0 or -1; ``clusters`` names
        each item's image, ``strata`` its relation."""
        values = np.asarray(differences, dtype=np.float64)
        n = float(effective_size(values, -1, 1, clusters, strata))
        up, down = float((values > 0).mean()) * n, float((values < 0).mean()) * n
        return cls(up, down, n, freedom(len(values), clusters, strata))

    @classmethod
    def of_draws(cls, draws: Sequence[Draw]) -> Paired:
        """Of the mean over several seeds' differences; seeds and items are both taken as drawn."""
        n, freedom = size_and_freedom(draws, -1, 1)
        up, down = (
            float(np.mean([(sign * draw.values > 0).mean() for draw in draws])) for sign in (1, -1)
        )
        return cls(up * n, down * n, n, freedom)

    @property
    def difference(self) -> float:
        """The difference."""
        return (self.up - self.down) / self.n

    @property
    def interval(self) -> Interval:
        """Its 95 % interval, low and high."""
        return tango(self.up, self.down, self.n)

    @property
    def p(self) -> float:
        """The two-sided p-value of no difference."""
        return min(1.0, 2 * _above(abs(self._score(0.0)), self.freedom))

    def p_no_worse(self, margin: float) -> float:
        """The one-sided p-value of a loss of ``margin`` or more; at most :data:`ONE_SIDED` where
        the interval is above minus the margin."""
        return _above(self._score(-margin), self.freedom)

    def p_equivalent(self, margin: float) -> float:
        """The p-value of a difference of ``margin`` or more, either way: the larger of two
        one-sided ones."""
        return max(self.p_no_worse(margin), _above(-self._score(margin), self.freedom))

    def _score(self, d: float) -> float:
        """How many standard errors the difference is above ``d``."""
        distance, variance = tango_parts(d, self.up, self.down, self.n)
        if variance <= 0:  # nothing has changed, or all that there is
            return 0.0 if distance == 0 else float(np.copysign(np.inf, distance))
        return float(distance / np.sqrt(variance))


def _above(score: float, freedom: float) -> float:
    """The probability of a larger score.  The effective number of items is smaller by the square of
    Student's quantile over the normal one; that is taken back, for the tail of Student's."""
    from scipy.special import ndtr, stdtr

    if np.isinf(freedom):
        return float(ndtr(-score))
    freedom = max(freedom, 1.0)
    return float(stdtr(freedom, -score * student(freedom) / Z))
