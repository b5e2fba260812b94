"""A mask over all heads: its loss and gradient the plain way, and the heads that it finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.learned_mask import learned_mask, mask_loss
from mfv_dsl.models.tiny.constructor import load
from tests.methods.support import batches


def plain_loss(
    model: Any, batch: Any, mean: torch.Tensor, weights: torch.Tensor, sparsity: float
) -> torch.Tensor:
    """Every head's output at the last token mixed with its mean by hooks of PyTorch on the output
    projections, in one pass of the whole model."""
    site, handles = model.sites["lm.attn"], []
    for layer in site.layers:
        module = model.model.get_submodule(site.module_path(layer))

        def mixed(_: Any, inputs: Any, layer: int = layer) -> Any:
            states = inputs[0].clone()
            own = inputs[0][:, -1].reshape(len(states), site.heads, site.width)
            share = weights[layer][:, None]
            states[:, -1] = ((1 - share) * own + share * mean[layer]).flatten(1)
            return (states, *inputs[1:])

        handles.append(module.register_forward_pre_hook(mixed))
    try:
        logits = model.forward(batch)
    finally:
        for handle in handles:
            handle.remove()
    return cross_entropy(logits.float(), batch.answers) + sparsity * weights.sum()


@pytest.mark.parametrize("name", ["flamingo", pytest.param("llava", marks=pytest.mark.slow)])
def test_the_loss_and_its_gradient_are_the_plain_ways(name: str, scenes: Scenes):
    model = load(name)
    (batch,) = batches(model, scenes, "left", "train", 4, 4)
    layers, n = model.sites["lm.attn"].layers, model.facts.n_heads
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(model.facts.n_layers, n, model.facts.head_dim, generator=generator)
    value = torch.randn(len(layers) * n, generator=generator, requires_grad=True)
    heads = [(layer, head) for layer in layers for head in range(n)]
    found = mask_loss(
        PrefixCache(model), batch, heads, mean.flatten(0, 1)[: len(heads)], value, 0.3
    )
    wanted = plain_loss(model, batch, mean, value.sigmoid().view(len(layers), n), 0.3)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    one, two = (torch.autograd.grad(loss, value)[0] for loss in (found, wanted))
    assert two.norm() > 1e-2
    assert (one - two).norm() < 1e-4 * two.norm()


@pytest.mark.slow
def test_the_heads_that_carry_the_task_get_the_largest_weights(tiny: Any, scenes: Scenes):
    shown = [tiny.batch(draw_prompts(scenes, "left", "extract", 20, 4), scenes)]
    mean = task_mean(tiny, shown, "left").mean
    asked = batches(tiny, scenes, "left", "train", 40, 20)
    seen: list[int] = []
    scores = learned_mask(tiny, asked, mean, epochs=5, progress=seen.append)
    assert scores.shape == mean.shape[:2] and scores.dtype == np.float32
    assert ((scores > 0) & (scores < 1)).all() and sum(seen) == 5 * 40
    best = np.argsort(-scores, axis=None)[:3].tolist()
    assert 2 * tiny.facts.n_heads + 6 in best  # by far the largest effect
    assert np.array_equal(scores, learned_mask(tiny, asked, mean, epochs=5))
    dear = learned_mask(tiny, asked, mean, epochs=5, sparsity=1.0)
    assert dear.sum() < scores.sum() / 2
