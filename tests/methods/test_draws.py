"""The interval of a mean over seeds: it holds what it says, and is that of the items alone where
seeds do not differ."""

from __future__ import annotations

import numpy as np
import pytest

from mfv_dsl.methods.draws import Draw, accuracy_over_draws, difference_over_draws, effective_size
from mfv_dsl.methods.intervals import accuracy_interval, difference_interval


def drawn(values: np.ndarray, images: list[str] | None = None, relations: int = 1) -> list[Draw]:
    """Draws (seeds, items) on the same items."""
    count = values.shape[1]
    images = images or [f"{i}.png" for i in range(count)]
    strata = [i * relations // count for i in range(count)]
    return [Draw(row, images, strata) for row in values]


def share(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("images", [None, [f"{i // 4}.png" for i in range(60)]])
@pytest.mark.parametrize("relations", [1, 3])
def test_draws_that_are_alike_tell_as_much_as_one(images: list[str] | None, relations: int):
    rng = np.random.default_rng(0)
    one = (rng.random(60) < 0.7).astype(float)
    draws = drawn(np.tile(one, (4, 1)), images, relations)
    clusters, strata = draws[0].clusters, draws[0].strata
    if relations > 1 and images is not None:  # an image belongs to one relation
        clusters = [(a, b) for a, b in zip(clusters, strata, strict=True)]
        draws = [Draw(draw.values, clusters, strata) for draw in draws]
    assert accuracy_over_draws(draws) == pytest.approx(accuracy_interval(one, clusters, strata))
    gain = one - (rng.random(60) < 0.5)
    same = [Draw(gain, clusters, strata)] * 4
    assert difference_over_draws(same) == pytest.approx(
        difference_interval(gain, clusters, strata), abs=1e-6
    )


def test_seeds_that_differ_make_it_wider_than_items_alone():
    values = np.zeros((4, 100))
    for seed, right in enumerate((50, 60, 80, 90)):
        values[seed, :right] = 1
    low, high = accuracy_over_draws(drawn(values))
    mean = values.mean(axis=1)
    by_t = 3.182 * mean.std(ddof=1) / 2  # Student's interval of four means
    assert low < mean.mean() - 0.6 * by_t and high - low > 1.2 * by_t
    one_low, one_high = accuracy_interval(values[1])
    assert high - low > one_high - one_low


def test_other_items_for_each_seed_tell_more_than_the_same_items():
    rng = np.random.default_rng(1)
    # easy and hard items, the same for all seeds, or new ones for each
    logits = rng.choice([-3.0, 3.0], size=100)
    same = (rng.random((5, 100)) < share(logits)).astype(float)
    apart = np.stack([
        (rng.random(100) < share(rng.choice([-3.0, 3.0], size=100))).astype(float)
        for _ in range(5)
    ])  # fmt: skip
    own = [Draw(row, [(n, i) for i in range(100)], [0] * 100) for n, row in enumerate(apart)]
    assert effective_size(drawn(same), 0, 1) < effective_size(own, 0, 1)


def test_all_right_leaves_doubt():
    low, high = accuracy_over_draws(drawn(np.ones((3, 50))))
    assert 0.8 < low < 0.95 and high == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "of_seeds", "of_items", "least"),
    [(5, 0.5, 1.0, 0.93), (5, 0.0, 1.0, 0.93), (3, 0.5, 1.0, 0.90), (5, 1.0, 0.2, 0.90),
     (10, 0.3, 1.0, 0.93)],
)  # fmt: skip
def test_it_holds_the_truth_as_often_as_it_says(
    seeds: int, of_seeds: float, of_items: float, least: float
):
    """Seeds and items drawn from normal distributions of logits, 400 times."""
    rng = np.random.default_rng(seeds)
    many = rng.standard_normal((2, 200_000))
    truth = share(1 + of_seeds * many[0] + of_items * many[1]).mean()
    held = 0
    for _ in range(400):
        by_seed = of_seeds * rng.standard_normal((seeds, 1))
        logits = 1 + by_seed + of_items * rng.standard_normal((1, 100))
        values = (rng.random((seeds, 100)) < share(logits)).astype(float)
        low, high = accuracy_over_draws(drawn(values))
        held += low <= truth <= high
    assert least <= held / 400 <= 0.99
