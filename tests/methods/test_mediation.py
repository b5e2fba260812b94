"""Mediation, its estimate, and sweeps on the prefix engine, held against full passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.attribution import attribute
from mfv_dsl.methods.evaluation import measure, measure_many
from mfv_dsl.methods.mediation import mediate, mediate_plain
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.engine.support import lively_flamingo, mixed_batch, random_variants


@pytest.fixture(scope="module")
def model() -> OpenFlamingo:
    return lively_flamingo(4, 4, 32, 2)


@pytest.fixture(scope="module")
def batches(model: OpenFlamingo, scenes: Scenes) -> list[PromptBatch]:
    return [mixed_batch(model, scenes), mixed_batch(model, scenes, (2, 2, 0))]


@pytest.mark.slow
@pytest.mark.parametrize(("site", "layers"), [("lm.attn", (0, 1, 2, 3)), ("xattn", (1, 3))])
def test_mediation_is_the_plain_one(
    model: OpenFlamingo, batches: list[PromptBatch], site: str, layers: tuple[int, ...]
):
    place = model.sites[site]
    mean = torch.randn(len(layers), place.heads, place.width)
    counted: list[int] = []
    fast = mediate(model, batches, "left", mean, counted.append, site)
    plain = mediate_plain(model, batches, "left", mean, site=site)
    assert sum(counted) == len(batches) * len(layers) * place.heads
    assert fast.cie.shape == (7, len(layers), place.heads)
    assert fast.layers == plain.layers == layers and fast.site == plain.site == site
    np.testing.assert_allclose(fast.cie, plain.cie, atol=1e-6)
    np.testing.assert_allclose(fast.p_corrupted, plain.p_corrupted, atol=1e-6)
    np.testing.assert_array_equal(fast.correct, plain.correct)
    np.testing.assert_array_equal(fast.correct_corrupted, plain.correct_corrupted)
    np.testing.assert_allclose(fast.accuracy_change, plain.accuracy_change)
    assert np.abs(fast.cie).max() > 1e-3


@pytest.mark.slow
def test_mediation_of_the_bundled_model(tiny: OpenFlamingo, scenes: Scenes):
    intact = draw_prompts(scenes, "left", "extract", 3, shots=2)
    batch = tiny.batch([corrupt(prompt, "shuffle", scenes, "extract") for prompt in intact], scenes)
    mean = task_mean(tiny, [batch], "left", correct_only=False).mean
    fast, plain = (way(tiny, [batch], "left", mean) for way in (mediate, mediate_plain))
    np.testing.assert_allclose(fast.cie, plain.cie, atol=1e-5)
    np.testing.assert_array_equal(fast.correct, plain.correct)


def test_a_head_put_back_has_no_effect(model: OpenFlamingo, scenes: Scenes):
    """Every head's own activation in its place: nothing changes."""
    one = mixed_batch(model, scenes, (2,))
    reads = [Read("lm.attn", layer) for layer in range(4)]
    own = torch.stack([r[0, 0] for r in full_pass(model, one, reads=reads).readings])
    assert np.abs(mediate(model, [one], "left", own).cie).max() < 1e-6


# -- attribution ----------------------------------------------------------------------------------
def test_the_estimate_is_the_slope_of_the_exact_effect(model: OpenFlamingo, scenes: Scenes):
    """For a small step away from the prompt's own activation, the two are the same."""
    one = mixed_batch(model, scenes, (2,))
    for site in ("lm.attn", "xattn"):
        layers = model.sites[site].layers
        reads = [Read(site, layer) for layer in layers]
        own = torch.stack([r[0, 0] for r in full_pass(model, one, reads=reads).readings])
        mean = own + 1e-2 * torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
        exact = mediate(model, [one], "left", mean, site=site)
        estimate = attribute(model, [one], "left", mean, site=site)
        assert estimate.cie.shape == exact.cie.shape
        np.testing.assert_allclose(estimate.cie, exact.cie, atol=0.05 * np.abs(exact.cie).max())
        assert estimate.correct is None and estimate.layers == layers
        assert spearmanr(estimate.aie.ravel(), exact.aie.ravel()).statistic > 0.95
        np.testing.assert_allclose(estimate.p_corrupted, exact.p_corrupted, atol=1e-6)


# -- sweeps ---------------------------------------------------------------------------------------
@pytest.mark.slow
def test_many_measurements_are_those_made_one_by_one(
    model: OpenFlamingo, batches: list[PromptBatch]
):
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(32, generator=generator)
    variants = [
        [],
        *([Edit("lm.resid", layer, "add", s * vector)] for layer in range(4) for s in (1, 3)),
        *random_variants(model.sites, 1, seed=1, count=6),
    ]
    together = measure_many(model, batches, variants)
    assert len(together) == len(variants)
    for edits, found in zip(variants, together, strict=True):
        wanted = measure(model, batches, edits)
        np.testing.assert_allclose(found.p_answer, wanted.p_answer, atol=1e-5)
        np.testing.assert_array_equal(found.correct, wanted.correct)
        np.testing.assert_array_equal(found.said, wanted.said)
        assert found.p_answer.dtype == wanted.p_answer.dtype
    assert measure_many(model, batches, []) == []
