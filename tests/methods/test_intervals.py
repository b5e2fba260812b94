"""Intervals of accuracies and differences, held against books and computations by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm, t

from mfv_dsl.methods.intervals import (
    Z,
    accuracy_interval,
    difference_interval,
    effective_size,
    student,
    tango,
    wilson,
)


def test_quantiles():
    assert pytest.approx(norm.ppf(0.975), abs=1e-12) == Z
    for freedom in (1, 2, 30, 400):
        assert student(freedom) == pytest.approx(t.ppf(0.975, freedom))
    assert student(0) == student(1)


# -- independent items ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("correct", "n", "interval"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_by_the_book(correct: int, n: int, interval: tuple[float, float]):
    """Newcombe (1998), Statistics in Medicine 17, 857-872, table I."""
    assert wilson(correct, n) == pytest.approx(interval, abs=5e-5)
    assert wilson(n - correct, n) == pytest.approx((1 - interval[1], 1 - interval[0]), abs=5e-5)
    assert accuracy_interval(np.arange(n) < correct) == pytest.approx(interval, abs=5e-5)


def test_wilson_at_the_edges():
    assert wilson(0, 0) == (0, 1)
    for n in (3, 7, 100, 400, 417):
        assert wilson(n, n)[1] == 1 and wilson(0, n)[0] == 0
    low, high = wilson(np.array([0, 5, 10]), 10)
    assert (low[1], high[1]) == wilson(5, 10) and low.shape == (3,)


def test_an_error_more_never_makes_the_bound_better():
    """Where images are shared, the design effect that is estimated moves it by a thousandth."""
    for images in (None, np.repeat(np.arange(100), 4).tolist()):
        n = 100 if images is None else 400
        bounds = [accuracy_interval(np.arange(n) >= wrong, images)[0] for wrong in range(10)]
        assert (np.diff(bounds) < (0 if images is None else 1e-3)).all()
    assert f"{100 * accuracy_interval(np.ones(100))[0]:.0f}" == "96"
    assert f"{100 * accuracy_interval(np.arange(100) > 0)[0]:.0f}" == "95"


@pytest.mark.parametrize(
    ("up", "down", "n", "interval"),
    [(6, 16, 161, (-0.1240, -0.0054)), (1, 7, 21, (-0.5172, -0.0260))],
)
def test_tango_by_the_book(up: int, down: int, n: int, interval: tuple[float, float]):
    """Fagerland, Lydersen & Laake (2017), chapter 8: consolidation therapy, from 6, 16 and 161; and
    airway responsiveness, from 1, 7 and 21."""
    assert tango(up, down, n) == pytest.approx(interval, abs=5e-5)
    assert tango(down, up, n) == pytest.approx((-interval[1], -interval[0]), abs=5e-5)
    differences = np.repeat([1.0, -1.0, 0.0], [up, down, n - up - down])
    assert difference_interval(differences) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize(("up", "down", "n"), [(9, 2, 40), (3, 14, 25), (0, 3, 60), (30, 0, 31)])
def test_tango_from_its_definition(up: int, down: int, n: int):
    """The score test, with the likeliest probabilities found by search, is z at both bounds."""
    for bound in tango(up, down, n):
        if abs(bound) == 1:
            continue

        def unlikely(q: float, d: float = bound) -> float:
            chances = np.maximum([q + d, q, 1 - d - 2 * q], 1e-300)
            return float(-np.dot([up, down, n - up - down], np.log(chances)))

        best = minimize_scalar(
            unlikely, bounds=(max(0, -bound), (1 - bound) / 2), options={"xatol": 1e-12},
            method="bounded",
        ).x  # fmt: skip
        score = (up - down - n * bound) / np.sqrt(n * (2 * best + bound - bound**2))
        assert abs(score) == pytest.approx(Z, rel=1e-4)


def test_nothing_seen_is_not_certainty():
    """Without a discordant pair, or with nothing else, the interval is as wide as Wilson's."""
    edge = 1 - wilson(100, 100)[0]
    assert tango(0, 0, 100) == pytest.approx((-edge, edge))
    low, high = tango(100, 0, 100)
    assert high == 1 and low == pytest.approx(1 - 2 * edge, abs=1e-4)


# -- shared images, several relations -------------------------------------------------------------
def test_an_effective_size_by_hand():
    """Three images of two: sums of deviations 1, 0 and -1."""
    values = np.array([1.0, 1, 1, 0, 0, 0])
    images = ["a", "a", "b", "b", "c", "c"]
    # sums of squares: 2 · (3/2) · (5/6) by image and 1.5 by item; apart 0.5, an image has 2 items
    wanted = 6 * (1.5 + 0.5 * 2) / (2.5 + 0.5 * 4) * (student(5) / student(2)) ** 2
    assert effective_size(values, 0, 1, images) == pytest.approx(wanted)
    again = [0, 3, 1, 4, 2, 5]
    shuffled = effective_size(values[again], 0, 1, [images[i] for i in again])
    assert shuffled == pytest.approx(wanted)
    # as differences, between -1 and 1: apart 1.5² + 0.5²
    wanted = 6 * (1.5 + 2.5 * 2) / (2.5 + 2.5 * 4) * (student(5) / student(2)) ** 2
    assert effective_size(values, -1, 1, images) == pytest.approx(wanted)


def test_strata_by_hand():
    """Two relations of three items: 2/3 within each, 1.5 about the common mean."""
    values = np.array([1.0, 1, 0, 0, 0, 1])
    relations = ["left"] * 3 + ["right"] * 3
    wanted = 6 * (1.5 + 2 * 0.5) / (4 / 3 + 2 * 0.5)
    assert effective_size(values, 0, 1, None, relations) == pytest.approx(wanted)
    assert effective_size(values, 0, 1, range(6), relations) == pytest.approx(wanted)
    # images of their own on each side, two and three: 1 and 1/3 after the means
    images = ["a", "a", "b", "c", "c", "d"]
    by_image = ((2 / 3) ** 2 * 2) * 2 * (2 / 3) + ((2 / 3) ** 2 * 2) * 2 * (2 / 3)
    wanted = 6 * (1.5 + 2 * 0.5 * 1.5) / (by_image + 2 * 0.5 * 1.5**2)
    shrink = (student(4) / student(2)) ** 2
    assert effective_size(values, 0, 1, images, relations) == pytest.approx(wanted * shrink)
    # the same images in both relations: sums 2/3 - 2/3, 2/3 - 2/3 about the relations' means
    images = ["a", "b", "c", "b", "c", "a"]
    wanted = (
        6
        * (1.5 + 0.5 * 2)
        / (1.5 * (5 / 6) * ((1 / 3 + 2 / 3) ** 2 + 0 + (-2 / 3 - 1 / 3) ** 2) + 0.5 * 4)
    )
    shrink = (student(5) / student(2)) ** 2
    assert effective_size(values, 0, 1, images, relations) == pytest.approx(wanted * shrink)


def test_what_says_nothing_changes_nothing():
    values = np.random.default_rng(0).random((4, 83)) < 0.7
    images = [f"left/test/{i}" for i in range(83)]
    plain = accuracy_interval(values)
    for same in (accuracy_interval(values, images), accuracy_interval(values, images, [0] * 83)):
        assert np.array_equal(plain, same)
    rows = [accuracy_interval(row) for row in values]
    np.testing.assert_allclose(np.transpose(plain), rows)
    strata = (np.arange(83) % 3).tolist()
    clusters = (np.arange(83) // 2).tolist()
    rows = [accuracy_interval(row, clusters, strata) for row in values]
    np.testing.assert_allclose(np.transpose(accuracy_interval(values, clusters, strata)), rows)


def test_copies_of_an_item_bring_no_certainty():
    """Four items an image that are all alike count about as one."""
    right = np.random.default_rng(1).random(60) < 0.6
    images = np.repeat(np.arange(60), 4).tolist()
    low, high = accuracy_interval(np.repeat(right, 4), images)
    alone = accuracy_interval(right)
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.05)
    gains = right.astype(float) - (np.arange(60) % 4 == 0)
    low, high = difference_interval(np.repeat(gains, 4), images)
    alone = difference_interval(gains)
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.05)
    nothing = effective_size(np.ones(240), 0, 1, images)
    assert nothing == pytest.approx(60 * (student(239) / student(59)) ** 2)
    assert effective_size(np.ones(4), 0, 1, [0] * 4) < 1


def test_differences_between_relations_are_no_uncertainty():
    values = np.repeat([0.0, 1.0], [300, 700])
    low, high = accuracy_interval(values, strata=values.tolist())
    assert 0.690 < low < 0.7 < high < 0.710
    low, high = accuracy_interval(values)
    assert low < 0.675 and high > 0.725
