"""How much of every head to patch, learned: a score of all heads.

Where mediation patches one head at a time (arXiv:2310.15213), all are patched here at once, each in
part: the output z of head h becomes (1 - w_h) z + w_h m_h, m_h its mean on the task and
w_h = sigmoid(value_h).  The weights minimise

    mean over prompts of -log p(answer's first token) + sparsity · Σ w_h

so that a head keeps its weight only as far as it adds to the others.  At w = 0 the gradient of the
first term is that of attribution patching; a sampled mask is in
:class:`~mfv_dsl.methods.tuning_variables.PatchMaskVariable` (arXiv:2406.15334).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.partial_patches import partly_patched
from mfv_dsl.models.base import Backend, PromptBatch

#: Where every weight starts: 0.12, little of the mean.
_FIRST_LOGIT = -2.0


def learned_mask(
    backend: Backend,
    batches: Sequence[PromptBatch],
    mean: torch.Tensor,
    *,
    epochs: int = 10,
    lr: float = 0.3,
    sparsity: float = 0.01,
    seed: int = 1234,
    progress: Progress = lambda _: None,
) -> np.ndarray:
    """The learned weight of every head, (layers, heads) float32, from 0 to 1; NaN where a layer has
    no heads.

    Args:
        backend: The model, which stays as it is.
        batches: What it is asked: zero-shot prompts, or corrupted twins; a step of Adam for each.
        mean: Mean head outputs on the task, (layers, heads, head_dim), as of
            :class:`~mfv_dsl.methods.activations.TaskMean`.
        epochs: Passes over the batches.
        lr: Adam's learning rate at the first step; it falls to 0 along a cosine.
        sparsity: What the weight of a head costs.
        seed: Orders the batches anew for each epoch.
        progress: Counts prompts.

    Raises MfvError: MFV5545 where the loss is no longer finite.
    """
    layers = backend.sites["lm.attn"].layers
    heads = [(layer, head) for layer in layers for head in range(mean.shape[1])]
    means = sent(torch.stack([mean[layer, head] for layer, head in heads]).float(), backend.device)
    value = torch.full((len(heads),), _FIRST_LOGIT, device=backend.device, requires_grad=True)
    prefixes = PrefixCache(backend)
    adam = torch.optim.Adam([value], lr=lr)
    order = np.random.default_rng(seed)
    steps = [int(number) for _ in range(epochs) for number in order.permutation(len(batches))]
    for step, number in enumerate(steps):
        batch = batches[number]
        adam.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / len(steps)))
        adam.zero_grad()
        loss = mask_loss(prefixes, batch, heads, means, value, sparsity)
        if not bool(loss.isfinite()):
            raise MfvError(
                "MFV5545", "the loss of a mask over heads is not a finite number",
                help="rank the heads by another measure, such as `aie`",
            )  # fmt: skip
        loss.backward()
        adam.step()
        progress(len(batch))
    scores = np.full(mean.shape[:2], np.nan, dtype=np.float32)
    for (layer, head), weight in zip(heads, value.detach().sigmoid().tolist(), strict=True):
        scores[layer, head] = weight
    return scores


def mask_loss(
    prefixes: PrefixCache,
    batch: PromptBatch,
    heads: Sequence[tuple[int, int]],
    means: torch.Tensor,
    value: torch.Tensor,
    sparsity: float,
) -> torch.Tensor:
    """The loss of one batch under weights sigmoid(``value``) of ``heads``, with gradients."""
    weights = value.sigmoid()
    log_p = prefixes.together([batch], False).log_p([partly_patched(heads, means, weights)])
    return sparsity * weights.sum() - log_p.mean()
