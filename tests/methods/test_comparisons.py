"""Tests of paired differences: McNemar's where nothing else is known, and in one with Tango's
interval whatever the items share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm, ttest_1samp

from mfv_dsl.methods.comparisons import ONE_SIDED, Paired
from mfv_dsl.methods.draws import Draw, difference_over_draws
from mfv_dsl.methods.intervals import difference_interval


def differences(up: int, down: int, same: int) -> np.ndarray:
    return np.repeat([1.0, -1.0, 0.0], [up, down, same])


def test_no_difference_is_mcnemars_test():
    """By the formula (up - down)² / (up + down), chi-squared with one degree of freedom."""
    for up, down, same in ((43, 25, 12), (7, 7, 3), (0, 4, 96), (10, 0, 0)):
        found = Paired.of_items(differences(up, down, same))
        z = abs(up - down) / np.sqrt(up + down)
        assert found.p == pytest.approx(2 * norm.sf(z))
        assert found.difference == pytest.approx((up - down) / (up + down + same))
    assert Paired.of_items(differences(0, 0, 30)).p == 1


def likelihood_score(up: int, down: int, n: int, d: float) -> float:
    """The score statistic of a difference ``d``, its nuisance by the likelihood itself: the
    probability q of ``down`` where the derivative of up ln(q + d) + down ln q + same ln(1 - 2q - d)
    is zero."""
    same = n - up - down

    def slope(q: float) -> float:
        return up / (q + d) + (down / q if down else 0) - 2 * same / (1 - 2 * q - d)

    low, high = max(0.0, -d) + 1e-13, (1 - d) / 2 - 1e-13
    q = brentq(slope, low, high, xtol=1e-15)
    return (up - down - n * d) / np.sqrt(n * (2 * q + d - d * d))


@pytest.mark.parametrize("margin", [0.02, 0.1])
def test_a_margin_is_tested_by_the_score_of_the_likelihood(margin: float):
    for up, down, same in ((43, 25, 120), (3, 5, 92), (12, 4, 384), (1, 20, 79)):
        n = up + down + same
        found = Paired.of_items(differences(up, down, same))
        below = norm.sf(likelihood_score(up, down, n, -margin))
        above = norm.cdf(likelihood_score(up, down, n, margin))
        assert found.p_no_worse(margin) == pytest.approx(below, rel=1e-6)
        assert found.p_equivalent(margin) == pytest.approx(max(below, above), rel=1e-6)


@pytest.mark.parametrize("images", [None, np.repeat(np.arange(30), 4).tolist()])
@pytest.mark.parametrize("strata", [None, np.repeat([0, 1], 60).tolist()])
def test_tests_say_what_the_interval_says(images: list[int] | None, strata: list[int] | None):
    """Whether it leaves out 0, and lies above or within a margin."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for shift in np.linspace(0, 0.3, 40):
        values = (rng.random(120) < 0.2 + shift) * 1.0 - (rng.random(120) < 0.2)
        low, high = difference_interval(values, images, strata)
        found = Paired.of_items(values, images, strata)
        assert found.interval == pytest.approx((low, high))
        for margin in (0.02, 0.1, 0.2):
            assert (found.p < 0.05) == (low > 0 or high < 0)
            assert (found.p_no_worse(margin) < ONE_SIDED) == (low > -margin)
            assert (found.p_equivalent(margin) < ONE_SIDED) == (-margin < low and high < margin)
            verdicts |= {("worse", low > -margin), ("equal", -margin < low and high < margin)}
    assert len(verdicts) == 4


def test_two_seeds_have_few_degrees_of_freedom():
    """The p-value is about that of Student's test of the two means, far into the tail, too."""
    draws = [
        Draw(differences(up, 2, 98 - up), [f"{i}" for i in range(100)], [0] * 100)
        for up in (20, 40)
    ]
    found = Paired.of_draws(draws)
    assert found.freedom < 2
    assert found.interval == pytest.approx(difference_over_draws(draws))
    means = [float(draw.values.mean()) for draw in draws]
    assert found.p == pytest.approx(ttest_1samp(means, 0).pvalue, rel=0.2)  # 0.22
    more = [Draw(differences(up, 2, 98 - up), draws[0].clusters, [0] * 100) for up in (60, 62)]
    sure = Paired.of_draws(more)
    assert 2 * norm.sf(sure._score(0)) < 0.1 * sure.p < 0.005


@pytest.mark.slow
def test_a_loss_of_the_margin_is_rarely_called_none():
    """At a true loss of just the margin, in 2.5 % of all samples of 200 items."""
    rng = np.random.default_rng(2)
    margin, shown = 0.05, 0
    for _ in range(4000):
        places = rng.random(200)
        values = (places < 0.1) * 1.0 - (places > 1 - 0.1 - margin)
        shown += Paired.of_items(values).p_no_worse(margin) < ONE_SIDED
    assert 0.015 < shown / 4000 < 0.035
