"""What a number of items can show, held against draws that Tango's interval decides on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

import mfv_dsl as mfv
from mfv_dsl.methods.comparisons import ONE_SIDED, Paired
from mfv_dsl.methods.intervals import tango, wilson
from mfv_dsl.plan.power import (
    EXACT,
    half_width,
    items_for_margin,
    items_needed,
    power_of,
    sight_lines,
    sights,
    smallest_difference,
)

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, below])
"""


def test_the_widest_interval_is_wilsons_at_a_half():
    for n in (1, 20, 100, 400):
        low, high = wilson(np.arange(n + 1), n)
        assert (high - low).max() / 2 <= half_width(n) + 1e-12
        low, high = wilson(n / 2, n)
        assert half_width(n) == pytest.approx((high - low) / 2)


def shown(n: int, difference: float, differing: float, draws: int = 4000) -> float:
    """How often Tango's interval leaves out 0."""
    up, down = (differing + difference) / 2, (differing - difference) / 2
    found = np.random.default_rng(0).multinomial(n, [up, down, 1 - up - down], draws)
    low, high = tango(found[:, 0], found[:, 1], n)
    return float(((low > 0) | (high < 0)).mean())


@pytest.mark.parametrize(("n", "differing"), [(50, 0.5), (100, 0.2), (100, 0.5), (400, 0.1)])
def test_the_smallest_difference_is_shown_in_four_of_five_draws(n: int, differing: float):
    smallest = smallest_difference(n, differing)
    assert shown(n, smallest, differing) == pytest.approx(0.8, abs=0.02)
    assert shown(n, 0.0, differing) == pytest.approx(0.05, abs=0.02)
    assert power_of(n, smallest, differing) == pytest.approx(0.8, abs=1e-4)
    assert items_needed(smallest, differing) <= n + 1


@pytest.mark.parametrize(
    ("n", "up", "down"),
    [(1, 1.0, 0.0), (30, 0.1, 0.0), (50, 0.4, 0.1), (150, 0.01, 0.19), (200, 0.9, 0.1)],
)
def test_the_power_is_the_sum_over_all_that_can_be_answered(n: int, up: float, down: float):
    """By scipy's binomials, written out."""
    z, share, power = norm.isf(0.025), up + down, 0.0
    for differ in range(n + 1):
        ups = np.arange(differ + 1)
        enough = np.abs(2 * ups - differ) > z * np.sqrt(differ)
        given = binom.pmf(ups, differ, up / share)[enough].sum()
        power += binom.pmf(differ, n, share) * given
    assert power_of(n, up - down, share) == pytest.approx(power, abs=1e-12)


def test_few_items_that_differ_show_nothing():
    assert smallest_difference(30, 0.1) is None and power_of(3, 1.0, 1.0) == 0
    assert shown(60, smallest_difference(60, 0.2), 0.2) == pytest.approx(0.8, abs=0.02)


def test_of_many_items_the_approximation_is_as_good():
    for difference, differing in ((0.014, 0.5), (0.0063, 0.1)):
        exact, about = (power_of(n, difference, differing) for n in (EXACT, EXACT + 1))
        assert exact == pytest.approx(about, abs=0.002)


@pytest.mark.parametrize(("margin", "differing"), [(0.1, 0.2), (0.05, 0.1), (0.15, 0.5)])
def test_items_for_a_margin_exclude_a_loss_in_four_of_five_draws(margin: float, differing: float):
    for both in (False, True):
        n = items_for_margin(margin, differing, both=both)
        rng = np.random.default_rng(1)
        half = differing / 2
        excluded = 0
        for up, down, _ in rng.multinomial(n, [half, half, 1 - differing], 1500):
            paired = Paired(up, down, n)
            p = paired.p_equivalent(margin) if both else paired.p_no_worse(margin)
            excluded += p < ONE_SIDED
        assert excluded / 1500 == pytest.approx(0.8, abs=0.06)


def test_published_numbers_of_pairs():
    """Connor (1987) by its formula, a difference of 0.1 where 0.3 differ, 80 % power, 5 %:
    (1.95996·√0.3 + 0.84162·√(0.3 - 0.01))² / 0.01 = 234, which are some more than it takes."""
    assert items_needed(0.1, 0.3) == 229
    assert power_of(228, 0.1, 0.3) < 0.8 <= power_of(229, 0.1, 0.3)
    # beyond what is counted: (1.95996·√0.5 + 0.84162·√(0.5 - 0.0001))² / 0.0001
    assert items_needed(0.01, 0.5) == 39_243
    assert mfv.items_needed is items_needed and mfv.smallest_difference is smallest_difference


@pytest.mark.parametrize(
    "wrong",
    [lambda: items_needed(0.0), lambda: items_needed(0.3, 0.1), lambda: smallest_difference(0),
     lambda: smallest_difference(10, 0.0), lambda: smallest_difference(10, 0.5, 1.0),
     lambda: items_for_margin(0.0), lambda: power_of(10, float("nan")), lambda: half_width(0)],
)  # fmt: skip
def test_what_is_no_number_of_these_is_refused(wrong):
    with pytest.raises(mfv.ArgumentError):
        wrong()


def test_a_plan_says_what_its_items_can_show():
    text = HEAD + "eval few { shots = 4 }\neval zero { shots = 0 }\n"
    text += "eval one {\n  on = [left]\n  against = few\n  margin = 0.02\n}\n"
    plan = mfv.Recipe(text).plan()
    both, one = sights(plan)
    assert both.evals == ("few", "zero") and both.n == {"relation": 100, "all": 400}
    assert not both.few and one.n == {"relation": 100}
    assert one.many["relation"] == pytest.approx(smallest_difference(100, 0.5))
    assert one.margins == {"0.02": (items_for_margin(0.02, 0.1), items_for_margin(0.02, 0.5))}
    lines = list(sight_lines(plan))
    assert lines[0] == (
        "few, zero: at most 100 items on a relation and 400 items over all; 95 % intervals of "
        "accuracies are at most ± 9.6 points and ± 4.9 points"
    )
    assert "from 8.2 points (a tenth of the answers differ) to 19.4 points (half)" in lines[2]
    assert "1,963 items (a tenth of the answers differ) to 9,812 (half)" in lines[3]
    (small,) = sight_lines(mfv.Recipe(HEAD + "eval z { items = 5 }").plan())
    assert "5 items on a relation" in small
