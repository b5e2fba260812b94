"""What heads write through a norm: by hand, by the engine, and where it is exact."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.methods.activations import TaskMean, task_mean
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.linearisation import (
    KEPT,
    NormRecorder,
    NormSamples,
    as_written,
    linearisation,
    norm_samples,
)
from mfv_dsl.methods.selection import output_norms
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from tests.models.vlm.test_passes import batch_of

Loaded = Callable[[str], VisionLanguageModel]
#: The norm behind the heads, and what is added to its weight.
NORMS = {
    "gemma3": ("post_attention_layernorm", 1.0),
    "paligemma": ("post_attention_layernorm", 1.0),
    "molmo2_o": ("input_layernorm", 0.0),
}
HEADS = ((1, 0), (2, 3), (2, 1))


def gained(loaded: VisionLanguageModel, dtype: torch.dtype = torch.float32) -> VisionLanguageModel:
    """The model with norms whose gain is not 1 everywhere, as trained ones are."""
    model = copy.deepcopy(loaded.model).to(dtype)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "layernorm" in name and "language_model" in name:
            parameter.data += 0.5 * torch.rand_like(parameter)
    return VisionLanguageModel(
        model, loaded.processor, loaded.architecture, loaded.facts, loaded.form.name
    )


def mean_of(model: VisionLanguageModel) -> TaskMean:
    return task_mean(model, [batch_of(model, (2, 1, 0))], "left", correct_only=False)


@pytest.mark.parametrize("name", [
    "gemma3", pytest.param("paligemma", marks=pytest.mark.slow),
    pytest.param("molmo2_o", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_vector_is_what_its_heads_write_at_the_norms_mean_scale(name: str, loaded: Loaded):
    """By hooks on the model's own projections and the formula of its norm."""
    model = gained(loaded(name))
    mean = mean_of(model)
    vector = function_vector(model, mean.mean, HEADS, norm=mean.norm)
    attribute, offset = NORMS[name]

    outputs: dict[int, torch.Tensor] = {}
    for number in (1, 2):
        model.layers[number].self_attn.o_proj.register_forward_pre_hook(
            lambda _, inputs, number=number: outputs.__setitem__(number, inputs[0][:, -1])
        )
    model.forward(batch_of(model, (2, 1, 0)))
    expected = torch.zeros(model.facts.d_model)
    exact, linear = torch.zeros(3, model.facts.d_model), torch.zeros(3, model.facts.d_model)
    for number, numbers in ((1, [0]), (2, [1, 3])):
        layer = model.layers[number]
        norm, weight = getattr(layer, attribute), layer.self_attn.o_proj.weight
        gain = offset + norm.weight
        alone = torch.zeros_like(outputs[number])
        for head in numbers:
            part = slice(head * model.facts.head_dim, (head + 1) * model.facts.head_dim)
            alone[:, part] = outputs[number][:, part]
        whole, parts = outputs[number] @ weight.T, alone @ weight.T
        scale = (whole.square().mean(-1) + 1e-6).rsqrt().mean()
        expected += gain * (weight @ alone.mean(0)) * scale
        exact += norm(whole) - norm(whole - parts)
        linear += gain * parts * scale
    torch.testing.assert_close(vector.residual, expected, atol=1e-4, rtol=1e-4)
    assert vector.linearised is not None
    error = float(((linear - exact).norm(dim=-1) / exact.norm(dim=-1)).mean())
    assert vector.linearised.error == pytest.approx(error, rel=1e-3) and error > 0.01
    assert [layer for layer, _ in vector.linearised.scales] == [1, 2]
    assert vector.linearised.prompts == 3


def test_the_error_is_that_of_leaving_the_heads_out_in_the_model(loaded: Loaded):
    """Heads of one layer, left out by the engine; what is added for them is added there."""
    model = gained(loaded("gemma3"))
    batch, heads = batch_of(model, (1,)), ((2, 0), (2, 3))
    mean = task_mean(model, [batch], "left", correct_only=False)
    vector = function_vector(model, mean.mean, heads, norm=mean.norm)
    read = Read("lm.attn.out", 2)
    out = Edit("lm.attn", 2, "replace", torch.zeros(2, model.facts.head_dim), (0, 3))
    with torch.no_grad():
        whole, without, added = (
            full_pass(model, batch, edits, [read]).readings[0][0, 0]
            for edits in ([], [out], adding(vector, "native", 1.0))
        )
    exact = whole - without
    error = float((vector.residual - exact).norm() / exact.norm())
    assert vector.linearised is not None
    assert vector.linearised.error == pytest.approx(error, rel=1e-3) and error > 0.01
    torch.testing.assert_close(added - whole, vector.residual, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_one_head_alone_at_the_recorded_scale_nothing_is_lost(
    dtype: torch.dtype, loaded: Loaded
):
    model = gained(loaded("gemma3"), dtype)
    torch.manual_seed(0)
    site = model.sites["lm.attn"]
    outputs = torch.zeros(1, 1, site.heads or 0, site.width)
    outputs[:, :, 2] = torch.randn(site.width)
    recorder = NormRecorder(model)
    recorder.add([outputs.to(dtype)] * len(site.layers), torch.tensor([True]))
    norm = norm_samples([recorder.sums()])
    assert linearisation(model, norm, [(1, 2), (3, 2)]).error < 1e-5
    vector = function_vector(model, norm.outputs[0], ((1, 2),), norm=norm)
    layer = model.layers[1]
    exact = layer.post_attention_layernorm(layer.self_attn.o_proj(outputs.to(dtype).flatten(1)))
    tolerance = 1e-5 if dtype is torch.float32 else 0.02
    torch.testing.assert_close(vector.residual, exact[0].float(), atol=tolerance, rtol=tolerance)


def test_all_heads_of_one_prompt_add_up_to_what_the_layer_writes(loaded: Loaded):
    model = gained(loaded("gemma3"))
    batch = batch_of(model, (1,))
    mean = task_mean(model, [batch], "left", correct_only=False)
    vector = function_vector(model, mean.mean, tuple((1, n) for n in range(4)), norm=mean.norm)
    with torch.no_grad():
        written = full_pass(model, batch, reads=[Read("lm.attn.out", 1)]).readings[0][0, 0]
    torch.testing.assert_close(vector.residual, written, atol=1e-4, rtol=1e-4)
    assert vector.linearised is not None and vector.linearised.error < 1e-4


def test_heads_are_ranked_by_what_they_write_behind_the_norm(loaded: Loaded):
    model = gained(loaded("gemma3"))
    mean = mean_of(model)
    norms = output_norms(model, mean.mean, mean.norm)
    assert norms.shape == (4, 4)
    vector = function_vector(model, mean.mean, ((2, 3),), norm=mean.norm)
    assert norms[2, 3] == pytest.approx(vector.norm(), rel=1e-4)


def test_the_scale_is_the_mean_over_the_prompts_that_are_used(loaded: Loaded):
    model = loaded("gemma3")
    torch.manual_seed(0)
    site = model.sites["lm.attn"]

    def recorded(batches: list[torch.Tensor], used: list[torch.Tensor]) -> NormSamples:
        recorder = NormRecorder(model)
        for batch, rows in zip(batches, used, strict=True):
            recorder.add([batch] * len(site.layers), rows)
        return norm_samples([recorder.sums()])

    outputs = torch.randn(2 * KEPT, 1, site.heads or 0, site.width)
    every = torch.arange(2 * KEPT) % 4 != 0
    together = recorded([outputs], [every])
    apart = recorded([outputs[:5], outputs[5:]], [every[:5], every[5:]])
    torch.testing.assert_close(together.scales, apart.scales)
    assert torch.equal(together.outputs, apart.outputs)
    assert torch.equal(together.outputs[:, 0], outputs[every, 0][:KEPT])
    assert not torch.allclose(together.scales, recorded([outputs], [~every]).scales)


def test_outputs_without_the_scale_are_refused(loaded: Loaded):
    model = loaded("gemma3")
    mean = torch.ones(4, 4, model.facts.head_dim)
    for refused in (
        lambda: function_vector(model, mean, ((0, 0),)),
        lambda: output_norms(model, mean),
    ):
        with pytest.raises(MfvError) as raised:
            refused()
        assert raised.value.code == "MFV7273" and "`fv(...)`" in (raised.value.help or "")


def test_what_is_no_rms_norm_is_refused(loaded: Loaded):
    model = gained(loaded("gemma3"))
    norm = nn.LayerNorm(model.facts.d_model)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    model.layers[2].post_attention_layernorm = norm
    with pytest.raises(MfvError) as raised:
        mean_of(model)
    assert raised.value.code == "MFV7292" and "layer 2" in raised.value.message


def test_without_a_norm_nothing_is_scaled(loaded: Loaded):
    model = loaded("llava")
    mean = mean_of(model)
    assert mean.norm is None
    outputs = torch.randn(model.facts.d_model)
    assert as_written(model, 1, outputs, None) is outputs
    assert function_vector(model, mean.mean, HEADS).linearised is None


def test_vectors_that_are_combined_are_of_no_one_error(loaded: Loaded):
    model = gained(loaded("gemma3"))
    mean = mean_of(model)
    vector = function_vector(model, mean.mean, HEADS, norm=mean.norm)
    assert (2 * vector).linearised is None
    assert replace(vector, expression="v").linearised == vector.linearised
