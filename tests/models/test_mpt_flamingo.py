"""Flamingos over MPT: the sites, and the prefix engine held against full passes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.evaluation import measure, measure_many
from mfv_dsl.methods.mediation import mediate, mediate_plain
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.sites import find_sites
from tests.engine.support import (
    drawn,
    lively_flamingo,
    lively_mpt,
    mixed_batch,
    random_variants,
    traces,
)
from tests.engine.test_prefix import check_parity

SHAPES: list[dict[str, Any]] = [
    {"layers": 4, "heads": 4, "d_model": 32, "every": 1},
    {"layers": 4, "heads": 4, "d_model": 32, "every": 2, "qk_ln": True},
    {"layers": 3, "heads": 6, "d_model": 48, "every": 4, "qk_ln": True},  # no power of two
    {"layers": 3, "heads": 3, "d_model": 48, "every": 2, "clip": 0.5},
]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "qk_ln"])
def model(request: pytest.FixtureRequest) -> OpenFlamingo:
    return lively_mpt(4, 4, 32, 2, qk_ln=request.param)


# -- the prefix engine ----------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), shots=st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_random_plans(scenes: Scenes, shape: dict[str, Any], seed: int, shots: list[int]):
    model = lively_mpt(**shape)
    batch = mixed_batch(model, scenes, shots)
    check_parity(model, batch, random_variants(model.sites, len(batch), seed))


@pytest.mark.slow
def test_prompts_of_one_token_and_without_pictures(model: OpenFlamingo, scenes: Scenes):
    batch = mixed_batch(model, scenes)
    variants = random_variants(model.sites, 4, seed=8)
    alone = replace(batch, tokens=batch.tokens[:, -1:], mask=batch.mask[:, -1:])
    check_parity(model, alone, variants)
    blind = batch.tokens.clone()
    blind[1][blind[1] == model.model.media_token_id] = 5
    check_parity(model, replace(batch, tokens=blind), variants)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "atol"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision(model: OpenFlamingo, scenes: Scenes, dtype: torch.dtype, atol: float):
    """Roundings differ, the model does not; probabilities are in single precision."""
    half = OpenFlamingo(
        copy.deepcopy(model.model).to(dtype), model.tokenizer, model.preprocess, model.facts, 40,
        model.pad_token,
    )  # fmt: skip
    batch = mixed_batch(half, scenes)
    variants = random_variants(half.sites, len(batch), seed=5)
    check_parity(half, batch, variants, atol)
    assert encode_prefix(half, batch).scores(variants).p.dtype == torch.float32


def test_gradients_are_those_of_the_full_pass(model: OpenFlamingo, scenes: Scenes):
    batch = mixed_batch(model, scenes)
    vector = drawn(32).requires_grad_()
    edits = [Edit("lm.resid", 1, "add", vector)]
    (fast,) = torch.autograd.grad(encode_prefix(model, batch).scores([edits]).log_p.sum(), vector)
    plain = full_pass(model, batch, edits).logits.log_softmax(-1)
    (slow,) = torch.autograd.grad(plain.gather(1, batch.answers[:, None]).sum(), vector)
    assert (fast - slow).norm() < 1e-4 * slow.norm()


@pytest.mark.slow
def test_mediation_is_the_plain_one(model: OpenFlamingo, scenes: Scenes):
    batches = [mixed_batch(model, scenes), mixed_batch(model, scenes, (2, 0))]
    mean = drawn(4, 4, 8)
    fast, plain = (way(model, batches, "left", mean) for way in (mediate, mediate_plain))
    np.testing.assert_allclose(fast.cie, plain.cie, atol=1e-5)
    assert np.abs(fast.cie).max() > 1e-3


def test_nothing_stays_behind(model: OpenFlamingo, scenes: Scenes):
    clean = traces(model.model)
    assert clean["hooks"] == 0 and clean["forwards"] == []
    batch = mixed_batch(model, scenes)
    prefix = encode_prefix(model, batch)
    variants = random_variants(model.sites, 4, seed=11)
    for _ in prefix.run(variants, at_once=3):
        assert traces(model.model) == clean
    handle = model.layers[2].register_forward_pre_hook(lambda module, inputs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prefix.scores(variants)
    handle.remove()
    assert traces(model.model) == clean


# -- full passes ----------------------------------------------------------------------------------
def test_forward_equals_open_flamingos_own(model: OpenFlamingo, scenes: Scenes):
    prompt = draw_prompts(scenes, "left", "test", 1, 3)[0]
    batch = model.batch([prompt], scenes)
    pixels = model.preprocess(scenes.pictures(prompt.images, 40))
    with torch.no_grad():
        theirs = model.model(
            vision_x=pixels[None, :, None], lang_x=batch.tokens, attention_mask=batch.mask
        ).logits[:, -1]
    torch.testing.assert_close(full_pass(model, batch).logits, theirs, atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing(model: OpenFlamingo, scenes: Scenes):
    batch = mixed_batch(model, scenes)
    together = full_pass(model, batch).logits
    for i, prompt in enumerate(batch.prompts):
        alone = full_pass(model, model.batch([prompt], scenes)).logits[0]
        torch.testing.assert_close(together[i], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", [lively_flamingo, lively_mpt])
def test_the_residual_stream_is_the_sum_of_what_the_sites_say(make: Any, scenes: Scenes):
    """Where no cross-attention writes: what came in, the attention's output and the MLP's."""
    model = make(4, 4, 32, 2)
    reads = [Read("lm.resid", 1), Read("lm.attn.out", 2), Read("lm.mlp", 2), Read("lm.resid", 2)]
    before, attention, mlp, after = full_pass(
        model, mixed_batch(model, scenes), reads=reads
    ).readings
    torch.testing.assert_close(after, before + attention + mlp)


def test_heads_side_by_side_make_the_attentions_output(model: OpenFlamingo, scenes: Scenes):
    heads, out = full_pass(
        model, mixed_batch(model, scenes), reads=[Read("lm.attn", 1), Read("lm.attn.out", 1)]
    ).readings
    weight = model.model.lang_encoder.old_decoder_blocks[1].attn.out_proj.weight
    torch.testing.assert_close(heads.flatten(2) @ weight.T, out)


def test_sweeps_are_those_of_full_passes(model: OpenFlamingo, scenes: Scenes):
    batch = mixed_batch(model, scenes)
    variants = [[Edit("lm.resid", layer, "add", drawn(32))] for layer in range(4)]
    for found, edits in zip(measure_many(model, [batch], variants), variants, strict=True):
        plain = measure(model, [batch], edits)
        np.testing.assert_allclose(found.p_answer, plain.p_answer, atol=1e-5)


def test_edits_attach_to_a_flamingo_of_ones_own(model: OpenFlamingo, scenes: Scenes):
    batch = mixed_batch(model, scenes)
    edits = [
        Edit("lm.resid", 2, "add", drawn(32)),
        Edit("lm.attn", 1, "scale", torch.zeros(())),
    ]
    with HookPlan.of(model.model, edits).attach():
        found = model.forward(batch)
    assert torch.equal(found, full_pass(model, batch, edits).logits)
    for name, site in find_sites(model.model).items():
        assert site == model.sites[name]


# -- generation -----------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("edited", [False, True])
def test_generation_does_not_depend_on_the_batch(
    model: OpenFlamingo, scenes: Scenes, beams: int, edited: bool
):
    """Together, padded, and one at a time; with a cache, and the first token by a full pass."""
    batch = mixed_batch(model, scenes)
    edits = [Edit("lm.resid", 1, "add", 3 * drawn(32))] if edited else []
    together = generate(model, batch, 5, edits, everywhere=edited, beams=beams)
    for prompt, found in zip(batch.prompts, together, strict=True):
        one = model.batch([prompt], scenes)
        (alone,) = generate(model, one, 5, edits, everywhere=edited, beams=beams)
        assert found.tokens == alone.tokens
        assert found.log_p == pytest.approx(alone.log_p, abs=1e-3)
    if beams == 1:
        logits = full_pass(model, batch, edits).logits
        logits[:, list(model.banned_tokens)] = -torch.inf
        for found, token in zip(together, logits.argmax(-1).tolist(), strict=True):
            assert (found.tokens or tuple(model.end_tokens))[0] == token
