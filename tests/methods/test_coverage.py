"""How often the intervals hold the truth: a small part of ``benchmarks/coverage.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import coverage

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def test_accuracies_and_differences_by_enumeration():
    for n, least in ((20, 0.90), (100, 0.90)):
        found = list(coverage.accuracies(n))
        assert 0.94 <= np.mean([one.covered for one in found]) <= 0.96
        assert min(one.covered for one in found) > least
    changes = ((0.0, 0.0), (0.01, 0.0), (0.02, 0.01), (0.05, 0.05), (0.35, 0.05), (1.0, 0.0))
    found = list(coverage.differences(50, changes))
    assert 0.94 <= np.mean([one.covered for one in found]) <= 0.985
    assert min(one.covered for one in found) > 0.93
    assert max(one.width for one in found) < 0.35


def test_the_pages_lines_are_what_is_enumerated():
    """Enumeration gives the same digits everywhere."""
    lines = coverage.table([one for n in (20, 50, 100, 400) for one in coverage.accuracies(n)])
    assert lines in PAGE.read_text()


def drawn(kind: str, n: int, draws: int, sample, interval, truth: float) -> coverage.Coverage:
    return coverage.drawn(kind, n, kind, draws, sample, interval, truth)


@pytest.mark.parametrize(
    ("each", "correlation", "bounds"),
    [(1, 0.0, (0.92, 0.98)), (4, 0.0, (0.92, 1.0)), (4, 1.0, (0.92, 0.98))],
)
def test_images_that_are_shared(each: int, correlation: float, bounds: tuple[float, float]):
    images = np.repeat(np.arange(200 // each), each).tolist()
    found = drawn(
        "images", 200, 600,
        lambda rng, size: coverage.alike(rng, size, 200, each, correlation) < 0.3,
        lambda values: coverage.accuracy_interval(values, images), 0.3,
    )  # fmt: skip
    assert bounds[0] <= found.covered <= bounds[1]
    assert found.width < 0.32


def test_relations_that_differ():
    of_items = np.repeat([0.05, 0.3, 0.7, 0.99], 50)
    strata = np.repeat(np.arange(4), 50).tolist()
    found = drawn(
        "pooled", 200, 1000, lambda rng, size: rng.random((size, 200)) < of_items,
        lambda values: coverage.accuracy_interval(values, strata=strata), of_items.mean(),
    )  # fmt: skip
    assert 0.93 <= found.covered <= 0.97
    assert found.width < 0.1  # 200 items of one kind: 0.138


def test_effects_that_are_rare_and_divergences_that_are_skew():
    found = list(coverage.effects(50, 300))
    assert min(one.covered for one in found) > 0.92
    assert max(one.width for one in found) < 0.26
    found = list(coverage.divergences(50, 200))
    assert min(one.covered for one in found) > 0.87
