"""Scores of heads by one backward pass, held against rules written out in plain PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.attribution import relevance, relevance_patching
from mfv_dsl.methods.propagation import relevance_rules
from mfv_dsl.models import load
from tests.methods.plain_relevance import Reference


@pytest.fixture(scope="module", params=["flamingo", "llava"])
def model(request: pytest.FixtureRequest) -> Any:
    return load("tiny", name=request.param)


def batch_of(model: Any, scenes: Scenes, twins: bool = False) -> Any:
    prompts = draw_prompts(scenes, "left", "extract", 3, shots=2)
    if twins:
        prompts = [corrupt(prompt, "shuffle", scenes, "extract") for prompt in prompts]
    return model.batch(prompts, scenes)


@pytest.mark.slow
def test_relevance_is_that_of_the_rules_written_out(model: Any, scenes: Scenes):
    batch = batch_of(model, scenes)
    plain = Reference(model, batch).relevance
    for site in {place for place, _ in plain}:
        ours = relevance(model, [batch], "left", site=site)
        layers = model.sites[site].layers
        expected = torch.stack([plain[site, layer] for layer in layers], 1).numpy()
        np.testing.assert_allclose(ours.cie, expected, rtol=1e-3, atol=2e-5)
        assert ours.layers == layers and np.abs(expected).max() > 0.01


@pytest.mark.slow
def test_relevance_patching_is_that_of_the_rules_written_out(model: Any, scenes: Scenes):
    batch = batch_of(model, scenes, twins=True)
    mean = task_mean(model, [batch_of(model, scenes)], "left", correct_only=False).mean
    reference = Reference(model, batch)
    ours = relevance_patching(model, [batch], "left", mean).cie
    for (site, layer), output in reference.outputs.items():
        if site == "lm.attn":
            gradient = reference.gradients[site, layer]
            plain = ((mean[layer] - output) * gradient).sum(-1).detach()
            np.testing.assert_allclose(ours[:, layer], plain, rtol=1e-3, atol=2e-5)


def test_the_model_is_as_before(model: Any, scenes: Scenes):
    batch = batch_of(model, scenes)
    wanted = {name: weight.requires_grad for name, weight in model.model.named_parameters()}
    hooks = [len(module._forward_hooks) for module in model.model.modules()]
    before = model.forward(batch)
    with pytest.raises(RuntimeError, match="inside"), relevance_rules(model.model):
        torch.testing.assert_close(model.forward(batch), before, rtol=0, atol=0)
        raise RuntimeError("inside")
    assert hooks == [len(module._forward_hooks) for module in model.model.modules()]
    assert wanted == {name: w.requires_grad for name, w in model.model.named_parameters()}


class Block(nn.Module):
    """A small transformer block without biases and without softmax: products of queries and keys
    are the weights of values.  A gated MLP, RMS norms."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, 2 * width, bias=False)
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)
        self.gain = nn.Parameter(torch.rand(width) + 0.5)
        self.act = nn.SiLU()

    def normed(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(self.normed(x)).chunk(3, -1)
        x = x + self.out(query @ key.transpose(-1, -2) @ value)
        normed = self.normed(x)
        return x + self.down(self.act(self.gate(normed)) * self.up(normed))


def test_relevance_is_conserved_without_biases():
    """The inputs have together what comes out."""
    torch.manual_seed(0)
    block = nn.Sequential(Block(), nn.LayerNorm(8, bias=False), Block()).double()
    x = torch.randn(3, 4, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(8, dtype=torch.float64)

    def inputs_together(total: torch.Tensor) -> float:
        return (x.detach() * torch.autograd.grad(total, x)[0]).sum().item()

    with relevance_rules(block):
        total = (block(x) * weights).sum()
    assert inputs_together(total) == pytest.approx(total.item(), rel=1e-9)
    plain = (block(x) * weights).sum()  # outside there are no rules
    assert plain.item() == pytest.approx(total.item(), rel=1e-9)
    assert inputs_together(plain) != pytest.approx(total.item(), rel=0.05)


def test_a_function_without_a_rule_is_refused():
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(x)

    x = torch.ones(2, requires_grad=True)
    with pytest.raises(MfvError, match="sigmoid") as caught, relevance_rules(Odd()):
        Odd()(x)
    assert caught.value.code == "MFV5560"
