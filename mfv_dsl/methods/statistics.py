"""Tests: of one paired difference, of every head's effect, and of many hypotheses together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

#: At which what is tested holds.
LEVEL = 0.05
_ALL = 16  # prompts: up to so many, all signs are tried
_DRAWS = 100_000  # of signs; Holm's correction over a thousand heads needs p-values of 1 / 20,000
_ENOUGH = 200  # draws that reach a mean
_AT_ONCE = 2048  # draws whose sums are held


def sign_test(differences: np.ndarray, clusters: Sequence[Hashable] | None = None) -> float:
    """The two-sided p-value of as many ups as downs among paired ``differences`` (n,), exact; on
    right and wrong answers this is McNemar's test.  A cluster counts by the sign of its sum."""
    sums = differences
    if clusters is not None:
        places: dict[Hashable, int] = {}
        sums = np.bincount([places.setdefault(name, len(places)) for name in clusters], differences)
    up, down = int((sums > 0).sum()), int((sums < 0).sum())
    n = up + down
    tail = sum(math.comb(n, i) for i in range(min(up, down) + 1))
    return min(1.0, 2 * tail / 2**n)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """The p-values of tests that are made together, by Holm (1979), in their order: rejecting those
    of at most 0.05 rejects any true hypothesis with probability 0.05 at most, whatever their
    dependence.  The i-th smallest of m, from 0, is taken times m - i, and is no smaller than those
    before it.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _back(np.minimum(steps, 1.0), order)


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """The q-values of tests that are made together, by Benjamini & Hochberg (1995), in their order:
    of those of at most 0.05 a share of 0.05 at most is expected to be of true hypotheses, for tests
    that are independent or positively dependent.  The i-th smallest of m, from 1, is taken times
    m / i, and is no larger than those behind it.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    steps = np.minimum.accumulate(steps[::-1])[::-1]
    return _back(np.minimum(steps, 1.0), order)


def _back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``values`` in the order that ``order`` sorted."""
    back = np.empty_like(values)
    back[order] = values
    return back


def sign_flip_test(effects: np.ndarray, seed: int) -> np.ndarray:
    """The two-sided p-values of means of ``effects`` (prompts, ...) as far from zero as these, if
    every effect were as likely to have the other sign (Fisher 1935, section 21): (...), NaN where
    an effect is.

    All signs are tried up to 16 prompts; beyond, 100,000 draws, the same for all heads, and the
    effects themselves count as one more (Phipson & Smyth 2010).  A head for which many draws have
    reached its mean is drawn no longer (Besag & Clifford 1991).
    """
    flat = effects.reshape(len(effects), -1).astype(np.float64)
    missing = np.isnan(flat).any(axis=0)
    flat = np.where(missing, 0, flat)
    least = np.abs(flat.sum(axis=0)) - 1e-9 * np.abs(flat).sum(axis=0)
    exact = len(flat) <= _ALL
    reached, tried = (np.zeros(flat.shape[1]) for _ in range(2))
    going = np.arange(flat.shape[1])
    for signs in _all_signs(len(flat)) if exact else _drawn_signs(len(flat), seed):
        reached[going] += (np.abs(signs @ flat[:, going]) >= least[going]).sum(axis=0)
        tried[going] += len(signs)
        if not exact:
            going = going[reached[going] < _ENOUGH]
    p_values = reached / tried if exact else (reached + 1) / (tried + 1)
    return np.where(missing, np.nan, p_values).reshape(effects.shape[1:])


def _all_signs(n: int) -> Iterator[np.ndarray]:
    """Every pattern of n signs but for a common factor, as rows (patterns, n)."""
    numbers = np.arange(2 ** (n - 1))
    for start in range(0, len(numbers), _AT_ONCE):
        bits = numbers[start : start + _AT_ONCE, None] >> np.arange(n) & 1
        yield 1.0 - 2.0 * bits


def _drawn_signs(n: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for start in range(0, _DRAWS, _AT_ONCE):
        size = (min(_AT_ONCE, _DRAWS - start), n)
        yield 1.0 - 2.0 * rng.integers(0, 2, size=size)
