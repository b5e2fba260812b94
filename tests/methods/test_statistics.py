"""Tests, held against books and against computations by hand."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest

from mfv_dsl.methods.statistics import benjamini_hochberg, holm, sign_flip_test, sign_test


def test_sign_test_by_the_book():
    """10 of 12 discordant pairs one way: 2 · (1 + 12 + 66) / 2^12."""
    differences = np.repeat([1.0, -1.0, 0.0], [10, 2, 50])
    assert sign_test(differences) == pytest.approx(158 / 4096)
    assert sign_test(-differences) == sign_test(differences)
    assert sign_test(np.zeros(20)) == 1
    assert sign_test(np.array([1.0, -1.0])) == 1
    pairs = np.repeat(np.arange(31), 2).tolist()  # ups and downs of one image cancel
    assert sign_test(np.tile([1.0, -1.0], 31), pairs) == 1
    ups = np.repeat([1.0, -1.0], [8, 2])  # four images up, one down: 2 · (1 + 5) / 2^5
    assert sign_test(ups, np.repeat(np.arange(5), 2).tolist()) == pytest.approx(12 / 32)


def test_holm_by_the_book():
    """Holm (1979): the smallest is held against α/m, the next against α/(m-1), …"""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.03, 0.02, 0.01]) == pytest.approx([0.04, 0.04, 0.03])
    assert holm([0.02, 0.04]) == pytest.approx([0.04, 0.04])
    assert holm([0.03, 0.04]) == pytest.approx([0.06, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([]).tolist() == []


#: The 15 p-values of Benjamini & Hochberg (1995), section 4.1.
PUBLISHED = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
             0.4262, 0.5719, 0.6528, 0.7590, 1.0000]  # fmt: skip


def test_false_discoveries_by_the_paper_and_by_scipy():
    """Their procedure rejects the first four at 0.05, Holm's the first three."""
    from scipy.stats import false_discovery_control

    assert (benjamini_hochberg(PUBLISHED) <= 0.05).tolist() == [True] * 4 + [False] * 11
    assert (holm(PUBLISHED) <= 0.05).tolist() == [True] * 3 + [False] * 12
    drawn = np.random.default_rng(0).permutation([*PUBLISHED, *PUBLISHED[::2]])
    assert benjamini_hochberg(drawn) == pytest.approx(false_discovery_control(drawn))
    assert benjamini_hochberg([]).tolist() == []


def test_holm_is_bonferroni_step_by_step():
    """By its definition: a hypothesis goes at level a if all steps up to it do."""
    p_values = np.random.default_rng(1).random(12) ** 3
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, place in enumerate(np.argsort(p_values)):
            if p_values[place] > level / (12 - step):
                break
            rejected.add(int(place))
        assert rejected == set(np.flatnonzero(adjusted <= level).tolist())


def flipped(effects: np.ndarray) -> float:
    """The share of all sign patterns with a sum as far from zero."""
    signs = 1 - 2 * (np.arange(2 ** len(effects))[:, None] >> np.arange(len(effects)) & 1)
    return float(np.mean(np.abs(signs @ effects) >= abs(effects.sum()) - 1e-12))


def test_sign_flips_are_all_tried_where_they_are_few():
    effects = np.random.default_rng(0).normal(0.2, 0.5, size=(9, 2, 3))
    found = sign_flip_test(effects, seed=0)
    assert found.shape == (2, 3)
    for layer, head in product(range(2), range(3)):
        assert found[layer, head] == pytest.approx(flipped(effects[:, layer, head]))
    assert sign_flip_test(np.full((10, 1), -0.1), 0) == pytest.approx(2 / 2**10)
    assert sign_flip_test(np.full((16, 1), 0.1), 0) == pytest.approx(2 / 2**16)


def test_sign_flips_are_drawn_where_they_are_many():
    effects = np.random.default_rng(1).normal([0.4, 0.0], size=(17, 2))
    found = sign_flip_test(effects, seed=3)
    for head in range(2):
        wanted = flipped(effects[:, head])
        assert found[head] == pytest.approx(wanted, rel=0.2)
    assert (sign_flip_test(effects, seed=3) == found).all()
    # never reached by a draw: the effects themselves are one of 100,001
    assert sign_flip_test(np.full((40, 1), 0.1), 0) == pytest.approx(1 / 100_001)
    assert sign_flip_test(np.zeros((40, 1)), 0) == 1


@pytest.mark.parametrize("n", [8, 30])
def test_heads_that_are_not_there_have_no_p_value(n: int):
    effects = np.random.default_rng(2).normal(size=(n, 2, 2))
    whole = sign_flip_test(effects, 0)
    effects[:, 1, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sign_flip_test(effects, 0)
    assert np.isnan(found[1, 0])
    assert (found[0] == whole[0]).all() and found[1, 1] == whole[1, 1]
