"""A model, or what is written into it, that gives NaN or infinity: always an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.finite import first_place
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.scoring import score
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.analogy import measure_blends
from mfv_dsl.methods.answers import measure_answers
from mfv_dsl.methods.attribution import attribute
from mfv_dsl.methods.courses import Settings
from mfv_dsl.methods.decoding import decode
from mfv_dsl.methods.evaluation import adding, measure
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.likeliest_answers import likeliest_answers
from mfv_dsl.methods.mediation import mediate, mediate_plain
from mfv_dsl.methods.off_task import off_task_cost
from mfv_dsl.methods.residual_stream import residual_stream
from mfv_dsl.methods.selection import output_norms
from mfv_dsl.methods.tuning import tune
from mfv_dsl.methods.vectors import Space, Vector, combine
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.conftest import small_flamingo

WAYS = ("first", "first_token", "full", "generate")


def batch_of(model: OpenFlamingo, scenes: Scenes, shots: int = 0) -> PromptBatch:
    return model.batch(draw_prompts(scenes, "left", "test", 3, shots, seed=1), scenes)


def weight(model: OpenFlamingo) -> torch.Tensor:
    layer = model.model.lang_encoder.gpt_neox.layers[1].decoder_layer
    tensor: torch.Tensor = layer.mlp.dense_4h_to_h.weight.data
    return tensor


@pytest.fixture
def model() -> OpenFlamingo:
    return small_flamingo()


@pytest.fixture
def broken(model: OpenFlamingo) -> OpenFlamingo:
    """Whatever it is asked, NaN comes out from the MLP of layer 1 on."""
    weight(model)[0, 0] = torch.nan
    return model


def names_of(scenes: Scenes) -> tuple[str, ...]:
    items = [item for r in scenes.relations for item in scenes.items(r, "test")[:20]]
    return tuple(sorted({name for item in items for name in item.neighbours.values()}))


def mean_of(model: OpenFlamingo, number: float = 0.1) -> torch.Tensor:
    facts = model.facts
    return torch.full((facts.n_layers, facts.n_heads, facts.head_dim), number)


def vector_of(model: OpenFlamingo, number: float = 1.0) -> Vector:
    facts = model.facts
    numbers = torch.full((facts.d_model,), number)
    return Vector(numbers, Space(facts.fingerprint, facts.d_model))


def tuned(model: OpenFlamingo, batches: Sequence[PromptBatch]) -> Any:
    return tune(model, batches, batches, vector_of(model), Settings(layer=0, epochs=1))


MEASUREMENTS: dict[str, tuple[str, Callable[[OpenFlamingo, PromptBatch], Any]]] = {
    "full passes": ("MFV5370", lambda m, b: measure(m, [b])),
    "means": ("MFV5370", lambda m, b: task_mean(m, [b], "left", correct_only=False)),
    "stream": ("MFV5372", lambda m, b: residual_stream(m, [b])),
    "mediation": ("MFV5370", lambda m, b: mediate(m, [b], "left", mean_of(m))),
    "plain mediation": ("MFV5370", lambda m, b: mediate_plain(m, [b], "left", mean_of(m))),
    "attribution": ("MFV5370", lambda m, b: attribute(m, [b], "left", mean_of(m))),
    "cost": ("MFV5370", lambda m, b: off_task_cost(m, [b], adding(vector_of(m), 0, 1.0))),
    "ask": ("MFV5370", lambda m, b: likeliest_answers(m, b, [[]])),
    "tuning": ("MFV5314", lambda m, b: tuned(m, [b])),
    "generation": ("MFV5370", lambda m, b: generate(m, b, 2)),
    "beams": ("MFV5370", lambda m, b: generate(m, b, 2, beams=2)),
    "names": ("MFV5370", lambda m, b: sequence_log_p(m, b, [(5,), (6, 7)])),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", MEASUREMENTS)
def test_every_measurement_of_a_broken_model_is_an_error(
    what: str, broken: OpenFlamingo, scenes: Scenes
):
    code, measurement = MEASUREMENTS[what]
    with pytest.raises(MfvError) as caught:
        measurement(broken, batch_of(broken, scenes))
    assert caught.value.code == code


def test_the_error_says_where_it_begins(broken: OpenFlamingo, scenes: Scenes):
    batch = batch_of(broken, scenes, shots=1)
    assert first_place(broken, batch) == "lm.mlp[1]"
    with pytest.raises(MfvError, match=r"3 of 3 prompts are not all numbers; it begins at lm\.mlp"):
        measure(broken, [batch])
    blind = PromptBatch(
        batch.prompts, batch.tokens, batch.mask, batch.media * torch.nan, batch.answers
    )
    assert first_place(broken, blind) == "the encoded pictures"


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_fp16_overflows_inside_the_network(how: str, model: OpenFlamingo, scenes: Scenes):
    for layer in model.model.lang_encoder.gpt_neox.layers:  # their sum is too large for fp16 alone
        layer.decoder_layer.mlp.dense_4h_to_h.bias.data[::2] = 6e4
    names = names_of(scenes)
    (fine,) = measure_answers(model, [batch_of(model, scenes)], [()], how, names)
    assert fine.failure is None
    model.model.half()
    (answers,) = measure_answers(model, [batch_of(model, scenes)], [()], how, names)
    assert answers.failure is not None and answers.failure.code == "MFV5370"
    assert "dtype=bf16" in str(answers.failure)


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("number", [1e25, torch.inf, torch.nan])
def test_a_variant_fails_alone(number: float, how: str, model: OpenFlamingo, scenes: Scenes):
    batches, names = [batch_of(model, scenes)], names_of(scenes)
    variants = [adding(vector_of(model, size), 0, 1.0) for size in (0.5, number, 2.0)]
    alone = [measure_answers(model, batches, [variants[i]], how, names)[0] for i in (0, 2)]
    first, bad, last = measure_answers(model, batches, variants, how, names)
    assert bad.failure is not None and "add at lm.resid[0]" in bad.failure.message
    assert not len(bad.outcomes) and not bad.names
    for together, single in zip((first, last), alone, strict=True):
        assert together.failure is None and together.names == single.names
        np.testing.assert_allclose(together.outcomes.p_answer, single.outcomes.p_answer, rtol=1e-4)


def test_a_state_too_long_for_a_norm_is_none(model: OpenFlamingo, scenes: Scenes):
    batch, long = batch_of(model, scenes), adding(vector_of(model, 1e25), 0, 1.0)
    scores = encode_prefix(model, batch).scores([(), long])
    assert scores.finite.tolist() == [[True, False]] * 3
    assert scores.log_p[:, 1].isnan().all() and scores.log_p[:, 0].isfinite().all()


@pytest.mark.parametrize("number", [1e25, torch.inf, torch.nan])
def test_logits_of_what_is_no_state_are_none(number: float):
    states = torch.tensor([[[number] * 4, [1e15] * 4]])
    scores = score(states, lambda rows: torch.zeros(len(rows), 5), 5, torch.tensor([0]))
    assert scores.finite.tolist() == [[False, True]] and scores.log_p.isnan().tolist()[0][0]


def test_a_head_s_effect_that_is_none(model: OpenFlamingo, scenes: Scenes):
    mean = mean_of(model)
    mean[1, 2] = 3e38
    with pytest.raises(MfvError, match=r"first that of lm\.attn\[1\], head 2") as caught:
        mediate(model, [batch_of(model, scenes)], "left", mean)
    assert caught.value.code == "MFV5371"
    with pytest.raises(MfvError, match=r"first at lm\.attn\[1\], head 2") as caught:
        mean[1, 2] = torch.inf
        attribute(model, [batch_of(model, scenes)], "left", mean)
    assert caught.value.code == "MFV5371"


def test_blends_fail_alone(model: OpenFlamingo, scenes: Scenes):
    batch = batch_of(model, scenes)
    conditions = [
        [adding(vector_of(model, size), 0, 1.0) for size in sizes]
        for sizes in ((1.0, 2.0), (1.0, 1e30))
    ]
    fine, bad = measure_blends(model, [(batch, batch)], conditions)
    assert fine.failure is None and np.isfinite(fine.weights).all()
    assert bad.failure is not None and bad.failure.code == "MFV5370"


def test_vectors_and_lengths_that_are_none(model: OpenFlamingo):
    mean = mean_of(model)
    mean[0, 1] = torch.inf
    with pytest.raises(MfvError, match="L0H1") as caught:
        function_vector(model, mean, ((0, 1), (1, 1)))
    assert caught.value.code == "MFV5373"
    with pytest.raises(MfvError, match="layer 0") as caught:
        output_norms(model, mean)
    assert caught.value.code == "MFV5373"
    parts = Vector(
        torch.zeros(model.facts.d_model), vector_of(model).space, heads=((0, 0),),
        head_means=torch.full((1, model.facts.head_dim), 1e30),
        head_projected=torch.zeros(1, model.facts.d_model),
    )  # fmt: skip
    with pytest.raises(MfvError, match="MFV5306"):
        combine([(1e30, parts)])


def test_decoding_what_is_no_vector(model: OpenFlamingo):
    with pytest.raises(MfvError, match="MFV5370"):
        decode(model, vector_of(model, torch.nan))
