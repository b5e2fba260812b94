"""The science, held against computations by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.algebra import cosine, dot, normalize, project, random_like, reject
from mfv_dsl.methods.evaluation import ablating, adding, measure, patching
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.mediation import mediate
from mfv_dsl.methods.outcomes import outcomes
from mfv_dsl.methods.selection import top_heads
from mfv_dsl.methods.vectors import Space, Vector, combine
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.conftest import small_flamingo

LAYER, HEAD = 1, 2


@pytest.fixture(scope="module")
def one_head_model() -> OpenFlamingo:
    """A Flamingo in which a single attention head can reach the answer: every other head's columns
    of the output projection are zero, MLPs write nothing and cross-attention is shut."""
    model = small_flamingo(layers=2, heads=4, d_model=32, seed=3)
    language = model.model.lang_encoder
    with torch.no_grad():
        for number, block in enumerate(language.old_decoder_blocks):
            block.attention.dense.bias.zero_()
            block.mlp.dense_4h_to_h.weight.zero_()
            block.mlp.dense_4h_to_h.bias.zero_()
            for head in range(4):
                columns = slice(8 * head, 8 * head + 8)
                if (number, head) == (LAYER, HEAD):
                    block.attention.dense.weight[:, columns] = torch.randn(32, 8)
                else:
                    block.attention.dense.weight[:, columns] = 0.0
        for gate in language.gated_cross_attn_layers:
            if gate is not None:
                gate.attn_gate.zero_()
                gate.ff_gate.zero_()
    return model


def test_mediation_finds_the_head_that_is_there_by_construction(
    one_head_model: OpenFlamingo, scenes: Scenes
):
    """Only head (1, 2) has an effect, and its effect is what the weights say."""
    model = one_head_model
    intact = draw_prompts(scenes, "left", "extract", 6, shots=3)
    batch = model.batch([corrupt(p, "mix", scenes, "extract") for p in intact], scenes)
    mean = torch.randn(2, 4, 8)
    effect = mediate(model, [batch], "left", mean)

    others = np.ones((2, 4), dtype=bool)
    others[LAYER, HEAD] = False
    assert np.abs(effect.cie[:, others]).max() == 0
    assert np.abs(effect.cie[:, LAYER, HEAD]).min() > 1e-4

    language = model.model.lang_encoder
    embedded = language.gpt_neox.embed_in.weight[batch.tokens[:, -1]]
    written = (
        language.old_decoder_blocks[LAYER].attention.dense.weight[:, 16:24] @ mean[LAYER, HEAD]
    )
    logits = language.get_output_embeddings()(
        language.gpt_neox.final_layer_norm(embedded + written)
    )
    by_hand = outcomes(logits, batch.answers).p_answer - effect.p_corrupted
    np.testing.assert_allclose(effect.cie[:, LAYER, HEAD], by_hand, atol=1e-6)
    assert top_heads([effect.aie * np.sign(effect.aie[LAYER, HEAD])], 1) == ((LAYER, HEAD),)


@pytest.mark.slow
def test_task_mean_by_hand(tiny: OpenFlamingo, scenes: Scenes):
    """Over the correct prompts only, and the same whatever the batches."""
    prompts = draw_prompts(scenes, "left", "extract", 20, shots=1)
    halves = [tiny.batch(prompts[:13], scenes), tiny.batch(prompts[13:], scenes)]
    found = task_mean(tiny, halves, "left")
    layer = 4
    rows, right = [], []
    for prompt in prompts:
        done = full_pass(tiny, tiny.batch([prompt], scenes), reads=[Read("lm.attn", layer)])
        rows.append(done.readings[0][0, 0])
        right.append(int(done.logits.argmax()) == tiny.first_tokens([prompt.query.answer])[0])
    assert list(found.correct) == right
    assert 0 < found.n_used == sum(right)
    by_hand = torch.stack([row for row, ok in zip(rows, right, strict=True) if ok]).mean(0)
    torch.testing.assert_close(found.mean[layer], by_hand, atol=1e-5, rtol=1e-4)
    everything = task_mean(tiny, halves, "left", correct_only=False)
    assert everything.n_used == 20
    torch.testing.assert_close(
        everything.mean[layer], torch.stack(rows).mean(0), atol=1e-5, rtol=1e-4
    )


def test_no_correct_prompt_is_a_clear_error(scenes: Scenes):
    model = small_flamingo()
    # says token 0 to everything
    model.model.lang_encoder.get_output_embeddings().weight.data.zero_()
    batch = model.batch(draw_prompts(scenes, "left", "extract", 4, 0), scenes)
    with pytest.raises(MfvError, match="none of the 4 prompts of `left`"):
        task_mean(model, [batch], "left")
    with pytest.raises(MfvError, match="no prompt of `left`"):
        mediate(model, [], "left", torch.zeros(2, 4, 8))


def test_function_vector_straight_from_the_weights(tiny: OpenFlamingo):
    mean = torch.randn(tiny.facts.n_layers, 8, 16)
    heads = ((4, 1), (3, 7), (4, 6))
    language = tiny.model.lang_encoder
    by_hand, biases = torch.zeros(128), torch.zeros(128)
    for layer, head in heads:
        dense = language.old_decoder_blocks[layer].attention.dense
        alone = torch.zeros(128)
        alone[16 * head : 16 * head + 16] = mean[layer, head]
        by_hand += dense(alone) - dense.bias
        biases += dense.bias
    vector = function_vector(tiny, mean, heads)
    torch.testing.assert_close(vector.residual, by_hand, atol=1e-5, rtol=1e-4)
    with_bias = function_vector(tiny, mean, heads, bias="per_head")
    torch.testing.assert_close(with_bias.residual, by_hand + biases, atol=1e-5, rtol=1e-4)
    with pytest.raises(MfvError, match="bias differs"):
        _ = vector + with_bias


def test_injection_is_the_same_where_two_ways_meet(tiny: OpenFlamingo, scenes: Scenes):
    """With all heads from one layer: native injection = adding at the attention output; and
    patching a head by what it is anyway changes nothing."""
    batch = tiny.batch(draw_prompts(scenes, "above", "test", 6, 0), scenes)
    here = full_pass(tiny, batch, reads=[Read("lm.attn", 5)]).readings[0][:, 0]
    mean = torch.zeros(tiny.facts.n_layers, 8, 16)
    mean[5] = here[0]
    vector = function_vector(tiny, mean, tuple((5, head) for head in range(8)))
    native = adding(vector, "native", 2.0)
    assert [(edit.site, edit.layer) for edit in native] == [("lm.attn.out", 5)]
    torch.testing.assert_close(native[0].value, 2 * vector.residual)
    one = tiny.batch(batch.prompts[:1], scenes)
    patched, plain = measure(tiny, [one], patching(vector)), measure(tiny, [one])
    np.testing.assert_allclose(patched.p_answer, plain.p_answer, atol=1e-6)
    zeroed = full_pass(tiny, one, ablating([(5, 0)], 16), [Read("lm.attn", 5)]).readings[0][0, 0]
    assert (zeroed[0] == 0).all()
    torch.testing.assert_close(zeroed[1:], here[0, 1:])


# -- algebra --------------------------------------------------------------------------------------
def made(seed: int, heads: tuple[tuple[int, int], ...] | None = None) -> Vector:
    torch.manual_seed(seed)
    space = Space("model", 6)
    if heads is None:
        return Vector(torch.randn(6), space)
    parts = torch.randn(len(heads), 6)
    return Vector(parts.sum(0), space, "", heads, torch.randn(len(heads), 3), parts)


def test_algebra_on_the_residual():
    v, w = made(0), made(1)
    x, y = v.residual.double().numpy(), w.residual.double().numpy()
    for vector, wanted in (
        (v + w, x + y), (v - w, x - y), (-v, -x), (2 * v, 2 * x), (v / 4, x / 4),
        (normalize(v), x / np.linalg.norm(x)), (project(v, w), (x @ y) / (y @ y) * y),
        (reject(v, w), x - (x @ y) / (y @ y) * y),
    ):  # fmt: skip
        np.testing.assert_allclose(vector.residual.numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert dot(v, w) == pytest.approx(x @ y)
    assert cosine(v, w) == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    noise = random_like(v, seed=3)
    assert noise.norm() == pytest.approx(v.norm(), rel=1e-5)
    assert abs(cosine(noise, v)) < 0.999
    assert torch.equal(noise.residual, random_like(v, seed=3).residual)


def test_parts_follow_the_algebra_where_both_have_them():
    v, w = made(0, ((1, 0), (2, 3))), made(1, ((2, 3), (4, 4)))
    total = 2 * v - w
    assert total.heads == ((1, 0), (2, 3), (4, 4))
    assert total.head_projected is not None and v.head_projected is not None
    torch.testing.assert_close(total.head_projected.sum(0), total.residual)
    torch.testing.assert_close(total.head_projected[0], 2 * v.head_projected[0])
    assert not (v + made(2)).has_parts
    with pytest.raises(MfvError, match="no per-head parts"):
        patching(v + made(2))


def test_vectors_that_do_not_belong_together():
    stranger = Vector(torch.zeros(6), Space("another", 6))
    with pytest.raises(MfvError, match="fingerprint differs"):
        combine([(1.0, made(0)), (1.0, stranger)])
    with pytest.raises(MfvError, match="did you mean dot"):
        _ = made(0) * made(1)
    zero = Vector(torch.zeros(6), Space("model", 6))
    for function in (normalize, lambda z: project(made(0), z), lambda z: cosine(z, z)):
        with pytest.raises(MfvError, match="zero vector"):
            function(zero)


# -- rankings of heads ----------------------------------------------------------------------------
def test_ties_between_heads_are_settled_by_place():
    scores = np.zeros((3, 2))
    scores[2, 1] = 1.0
    assert top_heads([scores], 3) == ((2, 1), (0, 0), (0, 1))


@pytest.mark.slow
def test_heads_can_be_ranked_on_prompts_that_are_answered_wrongly(tmp_path: Path):
    """Without examples the bundled model is never right about novel objects."""
    recipe = """mfv 1
model   m = tiny()
dataset d = scenes(relations=[left, right], objects=novel, count=8)
eval e { ablate = top(2, shots=0, trials=4, corrupt=none, on=[left]CHOICE), items = 4, on = [left] }
"""
    with pytest.raises(MfvError, match="correct_only=false"):
        mfv.Recipe(recipe.replace("CHOICE", "")).run(tmp_path / "strict")
    result = mfv.Recipe(recipe.replace("CHOICE", ", correct_only=false")).run(tmp_path / "loose")
    (effect,) = (
        result.values[step.key] for step in result.plan.steps if step.operation == "mediation"
    )
    assert len(effect.cie) == 4 and np.isfinite(effect.cie).all()
