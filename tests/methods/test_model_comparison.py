"""Models compared by their relations' arrangements, held against computations by hand and scipy."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.vector_file import save_vector
from mfv_dsl.methods.model_comparison import (
    arrangement,
    ceiling,
    compare_arrangements,
)
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.model_sets import compare_models

NAMES = ("left", "right", "above", "below", "near")


def vectors(rows: np.ndarray, model: str = "one") -> dict[str, Vector]:
    space = Space(model, rows.shape[1])
    names = [*NAMES, *(f"r{n}" for n in range(len(rows)))]
    return {
        name: Vector(torch.tensor(row, dtype=torch.float32), space, name)
        for name, row in zip(names, rows, strict=False)
    }  # fmt: skip


def drawn(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def arranged(rows: np.ndarray, distance: str = "cosine"):
    own = vectors(rows)
    return arrangement([own], list(own), distance)


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """By its definition: |YᵀX|² / (|XᵀX| |YᵀY|) of centred columns."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))


@pytest.mark.parametrize("distance", ["cosine", "correlation"])
def test_correlations_are_scipys_and_orders_are_tried_by_hand(distance: str):
    a, b = drawn(5, 12, 0), drawn(5, 20, 1)
    b[:, :12] += 0.7 * a
    found = compare_arrangements(arranged(a, distance), arranged(b, distance))
    x, y = pdist(a, distance), pdist(b, distance)
    assert found.spearman == pytest.approx(spearmanr(x, y).statistic)
    assert found.pearson == pytest.approx(pearsonr(x, y).statistic, abs=1e-6)
    orders = [list(order) for order in permutations(range(5))]
    spearmans = [spearmanr(x, pdist(b[order], distance)).statistic for order in orders]
    pearsons = [pearsonr(x, pdist(b[order], distance)).statistic for order in orders]
    assert found.spearman_p == pytest.approx(np.mean(np.array(spearmans) >= spearmans[0] - 1e-9))
    assert found.pearson_p == pytest.approx(np.mean(np.array(pearsons) >= pearsons[0] - 1e-7))
    assert (found.orders, found.exact, found.least_p) == (120, True, 1 / 120)
    if distance == "cosine":
        at_one = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b)]
        assert found.cka == pytest.approx(linear_cka(*at_one))
        by_order = [linear_cka(at_one[0], at_one[1][order]) for order in orders]
        assert found.cka_by_chance == pytest.approx(np.mean(by_order))
        assert found.cka_p == pytest.approx(np.mean(np.array(by_order) >= by_order[0] - 1e-9))


def test_a_turned_model_is_the_same():
    """Rotation and length of another model's space change nothing."""
    a = drawn(6, 8, 2)
    turned, _ = np.linalg.qr(drawn(8, 8, 3))
    found = compare_arrangements(arranged(a), arranged(7 * a @ turned))
    assert found.spearman == pytest.approx(1) and found.pearson == pytest.approx(1, abs=1e-5)
    assert found.cka == pytest.approx(1, abs=1e-5)
    assert found.spearman_p == pytest.approx(1 / math.factorial(6))


@pytest.mark.slow
def test_many_relations_are_drawn_and_p_values_are_even_by_chance():
    a = arranged(drawn(9, 30, 4))
    found = compare_arrangements(a, arranged(drawn(9, 30, 5)), draws=199)
    assert (found.orders, found.exact) == (200, False)
    assert 1 / 200 <= found.spearman_p <= 1
    again = compare_arrangements(a, arranged(drawn(9, 30, 5)), draws=199)
    assert again == found
    p_values = [
        compare_arrangements(arranged(drawn(5, 30, s)), arranged(drawn(5, 30, s + 500))).pearson_p
        for s in range(200)
    ]
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.1
    assert 0.4 < np.mean(p_values) < 0.6


def test_the_ceiling_by_hand():
    base = drawn(5, 40, 6)
    sets = [vectors(base + 0.4 * drawn(5, 40, 7 + n)) for n in range(3)]
    one = arrangement(sets, list(sets[0]))
    found = ceiling(one)
    upper = np.triu_indices(5, 1)
    matrices = [arrangement([own], list(own)).dissimilarities[upper] for own in sets]
    np.testing.assert_allclose(one.dissimilarities[upper], np.mean(matrices, axis=0))
    ranks = np.array([spearmanr_ranks(matrix) for matrix in matrices])
    others = [np.delete(ranks, n, axis=0).mean(axis=0) for n in range(3)]
    lower = [pearsonr(own, other).statistic for own, other in zip(ranks, others, strict=True)]
    most = [pearsonr(own, ranks.mean(axis=0)).statistic for own in ranks]
    assert found.lower == pytest.approx(np.mean(lower))
    assert found.upper == pytest.approx(np.mean(most)) and found.upper > found.lower
    assert ceiling(arrangement(sets[:1], list(sets[0]))) is None


def spearmanr_ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)) + 1.0


def test_what_cannot_be_compared():
    few = vectors(drawn(2, 4, 0))
    with pytest.raises(MfvError, match="MFV5601"):
        arrangement([few], list(few))
    zero = drawn(3, 4, 0)
    zero[1] = 0
    with pytest.raises(MfvError, match="`right` is zero"):
        arranged(zero)
    flat = drawn(3, 4, 0)
    flat[2] = 2.0
    with pytest.raises(MfvError, match="MFV5304"):
        arranged(flat, "correlation")
    with pytest.raises(MfvError, match="MFV5602"):
        compare_arrangements(arranged(np.eye(4)), arranged(drawn(4, 4, 0)))
    mixed = vectors(drawn(3, 4, 0)) | {"near": next(iter(vectors(drawn(1, 4, 0), "two").values()))}
    with pytest.raises(MfvError, match="MFV5303"):
        arrangement([mixed], list(mixed))


# -- folders --------------------------------------------------------------------------------------
def library(folder: Path, rows: np.ndarray, model: str, name: str = "{}") -> Path:
    for relation, vector in vectors(rows, model).items():
        save_vector(folder / f"{name.format(relation)}.safetensors", vector, {"relation": relation})
    return folder


def test_folders_are_taken_together_by_their_models(tmp_path: Path):
    one, two = "1" * 64, "2" * 64
    a = [library(tmp_path / f"a{n}", drawn(4, 8, n), one) for n in range(2)]
    b = library(tmp_path / "b", drawn(5, 16, 9), two)
    found = compare_models([*a, b])
    assert [len(each.single) for each in found.arrangements.values()] == [2, 1]
    assert list(found.ceilings) == [f"{a[0]}, {a[1]}"]
    ((names, pair),) = found.pairs.items()
    assert names == (f"{a[0]}, {a[1]}", str(b)) and set(pair.relations) == set(NAMES[:4])
    alone = compare_models(a)  # of one model: each for itself
    assert list(alone.pairs) == [(str(a[0]), str(a[1]))]
    some = compare_models([*a, b], names=["*t", "above"])
    assert set(some.to_json()["relations"]) == {"left", "right", "above"}
    with pytest.raises(MfvError, match="MFV5601"):
        compare_models([*a, b], names=["nothing"])
    with pytest.raises(MfvError, match="MFV5601"):
        compare_models([b])
    with pytest.raises(MfvError, match="named twice"):
        compare_models([b, tmp_path / "a0" / ".." / "b"])


def test_vectors_of_a_run_are_called_by_their_relations(tmp_path: Path):
    model = "3" * 64
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text("{}")
    library(run / "vectors", drawn(4, 8, 0), model, "fv_{}_0123abcd")
    other = library(tmp_path / "lib", drawn(4, 8, 1), "4" * 64)
    found = compare_models([run, other])
    assert set(found.to_json()["relations"]) == set(NAMES[:4])
    library(run / "vectors", drawn(4, 8, 2), model, "fv_{}_99999999")
    with pytest.raises(MfvError, match="MFV5603"):
        compare_models([run, other])
