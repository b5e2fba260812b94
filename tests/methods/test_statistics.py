"""Intervals and tests, held against books and against computations by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mfv_dsl.methods.statistics import accuracy_interval, bootstrap, holm, sign_test, wilson


def plain_bootstrap(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Over items, as a textbook has it."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), (500, len(values)))].mean(1) for _ in range(4)]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def test_images_of_their_own_change_nothing():
    """Bit for bit: what every item's own image gives is the bootstrap over items."""
    values = np.random.default_rng(0).normal(size=83)
    images = [f"left/test/{i}" for i in range(83)]
    wanted = plain_bootstrap(values, seed=5)
    assert bootstrap(values, 5) == wanted
    assert bootstrap(values, 5, clusters=images) == wanted
    assert bootstrap(values, 5, clusters=images, strata=[0] * 83) == wanted
    correct = values > 0.3
    assert accuracy_interval(correct, 5) == accuracy_interval(correct, 5, clusters=images)


def test_copies_of_an_item_bring_no_certainty():
    """Four items an image that are all alike: the interval is that of the images."""
    values = np.random.default_rng(1).random(60)
    images = np.repeat(np.arange(60), 4).tolist()
    copies = np.repeat(values, 4)
    assert bootstrap(copies, 3, clusters=images) == pytest.approx(bootstrap(values, 3))
    narrow, wide = bootstrap(copies, 3), bootstrap(copies, 3, clusters=images)
    assert wide[1] - wide[0] > 1.7 * (narrow[1] - narrow[0])
    right = np.ones(40, dtype=bool)
    images = np.repeat(np.arange(10), 4).tolist()
    assert accuracy_interval(right, 0, clusters=images) == wilson(10, 10)
    assert accuracy_interval(right, 0) == wilson(40, 40)


def test_under_thirty_items_or_images_the_interval_is_wilsons():
    right = np.arange(60) % 3 > 0
    for n in (6, 29):
        assert accuracy_interval(right[:n], 0) == wilson(right[:n].sum(), n)
    assert accuracy_interval(right[:30], 0) == bootstrap(right[:30].astype(float), 0)
    pairs = (np.arange(60) // 2).tolist()
    assert accuracy_interval(right[:58], 0, clusters=pairs[:58]) == wilson(
        right[:58].sum() * 29 / 58, 29
    )
    assert accuracy_interval(right, 0, clusters=pairs) == bootstrap(
        right.astype(float), 0, clusters=pairs
    )
    nothing = np.zeros(40, dtype=bool)
    assert accuracy_interval(nothing, 0) == wilson(0, 40)


def test_clusters_of_unequal_size_weigh_by_their_items():
    values = np.array([1.0, 1.0, 1.0, 0.0])
    low, high = bootstrap(values, 0, clusters=["a", "a", "a", "b"])
    assert (low, high) == (0.0, 1.0)  # draws: aa, ab, bb with means 1, 3/4, 0


def test_cluster_intervals_cover():
    rng = np.random.default_rng(2)
    covered = 0
    images = np.repeat(np.arange(50), 3).tolist()
    for seed in range(200):
        values = (rng.normal(size=50)[:, None] + 0.3 * rng.normal(size=(50, 3))).ravel()
        low, high = bootstrap(values, seed, draws=500, clusters=images)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_draws_stay_within_strata():
    """Two constant strata: their difference is no uncertainty of the mean over both."""
    values = np.repeat([0.0, 1.0], [30, 70])
    assert bootstrap(values, 0, strata=values.tolist()) == (0.7, 0.7)
    low, high = bootstrap(values, 0)
    assert low < 0.65 and high > 0.75
    mixed = np.random.default_rng(3).random(100)
    apart = [bootstrap(mixed[s], 0) for s in (slice(0, 50), slice(50, 100))]
    low, high = bootstrap(mixed, 0, strata=[0] * 50 + [1] * 50)
    widths = [b - a for a, b in apart]
    assert high - low == pytest.approx(np.hypot(*widths) / 2, rel=0.1)


def test_sign_test_by_the_book():
    """10 of 12 discordant pairs one way: 2 · (1 + 12 + 66) / 2^12."""
    differences = np.repeat([1.0, -1.0, 0.0], [10, 2, 50])
    assert sign_test(differences) == pytest.approx(158 / 4096)
    assert sign_test(-differences) == sign_test(differences)
    assert sign_test(np.zeros(20)) == 1
    assert sign_test(np.array([1.0, -1.0])) == 1
    pairs = np.repeat(np.arange(31), 2).tolist()  # ups and downs of one image cancel
    assert sign_test(np.tile([1.0, -1.0], 31), pairs) == 1


def test_holm_by_the_book():
    """Holm (1979): the smallest is held against α/m, the next against α/(m-1), …"""
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.03, 0.02, 0.01]) == [True, True, True]
    assert holm([0.02, 0.04]) == [True, True]
    assert holm([0.03, 0.04]) == [False, False]
    assert holm([]) == []
