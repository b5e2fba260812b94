"""Half precision: what the bundled model answers, and what stays in single precision."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.activations import head_reads, task_mean
from mfv_dsl.methods.evaluation import measure, measure_many
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.mediation import mediate
from mfv_dsl.models.openflamingo import OpenFlamingo


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def half(request: pytest.FixtureRequest, tiny: OpenFlamingo) -> OpenFlamingo:
    return OpenFlamingo(
        copy.deepcopy(tiny.model).to(request.param), tiny.tokenizer, tiny.preprocess, tiny.facts,
        tiny.image_size, tiny.pad_token,
    )  # fmt: skip


@pytest.mark.slow
def test_the_answers_are_those_of_single_precision(
    tiny: OpenFlamingo, half: OpenFlamingo, scenes: Scenes
):
    prompts = draw_prompts(scenes, "left", "test", 12, 4)
    whole, found = (measure(one, [one.batch(prompts, scenes)]) for one in (tiny, half))
    assert (whole.said == found.said).mean() >= 0.9
    assert np.abs(whole.p_answer - found.p_answer).mean() < 0.02


@pytest.mark.slow
def test_the_prefix_engine_is_the_full_pass(half: OpenFlamingo, scenes: Scenes):
    batch = half.batch(draw_prompts(scenes, "left", "test", 6, 2), scenes)
    full, (fast,) = measure(half, [batch]), measure_many(half, [batch], [[]])
    assert np.abs(full.p_answer - fast.p_answer).max() < 0.05


def test_probabilities_are_in_single_precision(half: OpenFlamingo, scenes: Scenes):
    """Those of a whole vocabulary add up to 1 far closer than half precision could say."""
    batch = half.batch(draw_prompts(scenes, "left", "test", 3, 1), scenes)
    words = half.tokenizer.get_vocab_size()
    targets = torch.arange(words).expand(3, -1)
    p = encode_prefix(half, batch).scores([[]], targets).p
    assert p.dtype == torch.float32
    torch.testing.assert_close(p.sum(-1), torch.ones(3, 1), atol=1e-5, rtol=0)
    for one, log_p in zip(generate(half, batch, 1), full_pass(half, batch).logits, strict=True):
        log_p = log_p.float().index_fill(0, torch.tensor(list(half.banned_tokens)), -torch.inf)
        assert one.log_p == pytest.approx(float(log_p.log_softmax(-1).max()), abs=1e-6)


@pytest.mark.slow
def test_means_effects_and_vectors_are_in_single_precision(half: OpenFlamingo, scenes: Scenes):
    prompts = draw_prompts(scenes, "left", "extract", 10, 2)
    batches = [half.batch(prompts[:7], scenes), half.batch(prompts[7:], scenes)]
    mean = task_mean(half, batches, "left", correct_only=False).mean
    assert mean.dtype == torch.float32
    reads = head_reads(half)
    each = [full_pass(half, batch, reads=reads).readings[3][:, 0].double() for batch in batches]
    torch.testing.assert_close(mean[3], torch.cat(each).mean(0).float(), atol=1e-7, rtol=1e-6)

    twins = half.batch([corrupt(prompt, "mix", scenes, "extract") for prompt in prompts], scenes)
    effects = mediate(half, [twins], "left", mean)
    assert effects.cie.dtype == np.float32 and np.isfinite(effects.cie).all()
    vector = function_vector(half, mean, ((3, 1), (4, 2)))
    assert vector.residual.dtype == torch.float32
