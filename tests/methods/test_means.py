"""Intervals of heads' effects and of divergences."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from mfv_dsl.methods.means import _unskewed, divergence_interval, effect_intervals


def test_bounds_are_students_with_one_prompt_more():
    effects = np.random.default_rng(0).normal(0.1, 0.3, size=(80, 2, 3)).clip(-1, 1)
    low, high = effect_intervals(effects)
    assert low.shape == high.shape == (2, 3)
    for layer in range(2):
        for head in range(3):
            below, above = (
                ttest_1samp(np.append(effects[:, layer, head], extra), 0).confidence_interval()
                for extra in (-1, 1)
            )
            assert low[layer, head] == pytest.approx(below.low)
            assert high[layer, head] == pytest.approx(above.high)


def test_no_effect_on_any_prompt_leaves_room_for_a_rare_one():
    """The bounds are ± (1 + t) / (n + 1)."""
    low, high = effect_intervals(np.zeros((100, 1)))
    assert high[0] == -low[0] == pytest.approx((1 + t.ppf(0.975, 100)) / 101)
    low, high = effect_intervals(np.zeros((100, 1)), least=0.0)
    assert low[0] == 0


def test_an_estimate_beyond_one_takes_the_bounds_place():
    effects = np.array([[-2.0], [0.0], [0.5], [0.1]])
    low, high = effect_intervals(effects)
    assert low == effect_intervals(effects, least=-2.0)[0] < effect_intervals(effects.clip(-1))[0]
    assert high == effect_intervals(effects, least=-3.0)[1]


def test_heads_that_are_not_there_have_no_bounds():
    effects = np.random.default_rng(1).normal(size=(20, 2, 2)).clip(-1, 1)
    whole = effect_intervals(effects)
    effects[:, 1, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = effect_intervals(effects)
    assert np.isnan([low[1, 0], high[1, 0]]).all()
    for found, wanted in zip((low, high), whole, strict=True):
        assert (found[0] == wanted[0]).all() and found[1, 1] == wanted[1, 1]


def test_skewness_is_removed():
    """Hall (1992): w + g w² / 3 + g² w³ / 27 + g / (6 n) is x / √n."""
    for x, g, n in ((2.0, 1.5, 40), (-2.1, 3.0, 25), (1.9, -0.7, 60)):
        w = _unskewed(x, g, n)
        assert w + g * w**2 / 3 + g**2 * w**3 / 27 + g / (6 * n) == pytest.approx(x / np.sqrt(n))


def test_a_divergences_interval():
    symmetric = np.repeat([1.0, 2.0, 3.0], 10)
    wanted = ttest_1samp(symmetric, 0).confidence_interval()
    assert divergence_interval(symmetric) == pytest.approx((wanted.low, wanted.high))
    skew = np.random.default_rng(2).exponential(1, 40)
    low, high = divergence_interval(skew)
    mean, deviation = skew.mean(), skew.std(ddof=1)
    g = ((skew - mean) ** 3).mean() / deviation**3
    for bound, x in ((low, t.ppf(0.975, 39)), (high, -t.ppf(0.975, 39))):
        w = (mean - bound) / deviation
        assert w + g * w**2 / 3 + g**2 * w**3 / 27 + g / 240 == pytest.approx(x / np.sqrt(40))
    assert high - mean > 1.2 * (mean - low)
    assert divergence_interval(np.zeros(8)) == (0, 0)
    assert divergence_interval(np.array([0.3])) == (0, float("inf"))
    low, high = divergence_interval(np.array([0.0, 0.0, 0.0, 9.0]))
    assert low == 0
