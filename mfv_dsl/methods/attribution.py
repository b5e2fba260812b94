"""What heads count for, by one backward pass: screens, to be held against the exact effects.

With a(l, h) the head's output at the last token, three scores of one form:

- attribution patching, a first-order estimate of what mediation measures (Nanda 2023, "Attribution
  patching"; Syed et al., arXiv:2310.10348), on the corrupted twin::

    (mean(l, h) - a(l, h)) · ∂p(answer | twin) / ∂a(l, h)

- relevance patching (RelP, arXiv:2508.21258): the same of the answer's logit, with the gradient of
  the rules of layer-wise relevance propagation (:mod:`mfv_dsl.methods.propagation`);
- relevance itself (AttnLRP, arXiv:2402.05602), on the intact prompt::

    a(l, h) · ∂logit(answer | prompt) / ∂a(l, h), the gradient that of the rules

One pass over the prefix, one over the last token and one backward, whatever the number of heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.base.transfer import brought, sent
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.activations import Progress, rows_of
from mfv_dsl.methods.finite import check_heads, check_scores
from mfv_dsl.methods.mediation import Mediation, concatenate_effects
from mfv_dsl.methods.propagation import relevance_rules
from mfv_dsl.models.base import Backend, PromptBatch


def attribute(
    backend: Backend,
    twins: Sequence[PromptBatch],
    relation: str,
    mean: torch.Tensor,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> Mediation:
    """Estimates of :func:`~mfv_dsl.methods.mediation.mediate`'s effects by attribution patching;
    arguments as there.

    ``progress`` counts heads of a batch, so that both can be told alike.
    """
    return _patched(backend, twins, relation, mean, progress, site, False)


def relevance_patching(
    backend: Backend,
    twins: Sequence[PromptBatch],
    relation: str,
    mean: torch.Tensor,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> Mediation:
    """How much the answer's logit gains in place of effects, by relevance patching
    (arXiv:2508.21258); arguments as of :func:`attribute`.  Raises MfvError (MFV5560) for a model
    that the rules of relevance propagation do not cover."""
    return _patched(backend, twins, relation, mean, progress, site, True)


def relevance(
    backend: Backend,
    batches: Sequence[PromptBatch],
    relation: str,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> Mediation:
    """The relevance of every head of ``site`` for the logit of each prompt's answer (AttnLRP,
    arXiv:2402.05602), in the place of effects: ``cie`` (prompts, layers, heads).

    ``batches`` are intact prompts; ``progress`` counts prompts.  Raises MfvError: MFV5202 for no
    batch, MFV5370 and MFV5371 where the model computes no numbers, MFV5560 for a model that the
    rules do not cover.
    """

    def products(rows: Rows) -> Mediation:
        slopes = _slopes(backend, rows.batch, site, True)
        return _scored(backend, rows.batch, relation, slopes, slopes.outputs)

    parts = []
    for rows, part in in_parts(backend, batches, products):
        parts.append(part)
        progress(len(rows))
    return concatenate_effects(parts, relation)


def _patched(
    backend: Backend, twins: Sequence[PromptBatch], relation: str, mean: torch.Tensor,
    progress: Progress, site: str, by_rules: bool,
) -> Mediation:  # fmt: skip
    own = [rows_of(backend, site).index(layer) for layer in backend.sites[site].layers]

    def estimated(rows: Rows) -> Mediation:
        slopes = _slopes(backend, rows.batch, site, by_rules)
        means = sent(mean[own], slopes.outputs.device).to(slopes.outputs.dtype)
        return _scored(backend, rows.batch, relation, slopes, means - slopes.outputs)

    parts = []
    for rows, part in in_parts(backend, twins, estimated):
        parts.append(part)
        if rows.share[1] == 1.0:
            progress(int((~np.isnan(part.cie[0])).sum()))
    return concatenate_effects(parts, relation)


@dataclass(frozen=True)
class _Slopes:
    """Of the heads of ``site`` at the last token: their ``outputs`` and the ``gradient`` of what is
    asked for, each (prompts, layers, heads, width), with the answer's probability ``p`` (prompts,)
    and whether the scores are numbers."""

    site: str
    outputs: torch.Tensor
    gradient: torch.Tensor
    p: torch.Tensor
    finite: torch.Tensor


def _slopes(backend: Backend, batch: PromptBatch, site: str, by_rules: bool) -> _Slopes:
    """The gradient of the answer's probability; ``by_rules`` of its logit, under the rules of
    relevance propagation."""
    place = backend.sites[site]
    shape = (len(batch), len(place.layers), place.heads or 1, place.width)
    # nothing is added, and the gradient of what is added is the gradient of the activation
    added = torch.zeros(shape, dtype=batch.dtype, device=backend.device, requires_grad=True)
    edits = [Edit(site, layer, "add", added[:, row]) for row, layer in enumerate(place.layers)]
    reads = [Read(site, layer) for layer in place.layers]
    prefix = encode_prefix(backend, batch)
    with torch.enable_grad(), relevance_rules(backend.model) if by_rules else nullcontext():
        (chunk,) = prefix.run([edits], reads=reads, logits=by_rules)
        logits = chunk.scores.logits
        asked = chunk.scores.p if logits is None else _of_answers(logits, prefix.answers)
    (gradient,) = torch.autograd.grad(asked.sum(), added)
    outputs = torch.stack([reading[:, 0].to(added.device) for reading in chunk.readings], dim=1)
    return _Slopes(site, outputs, gradient, chunk.scores.p[:, 0], chunk.scores.finite[:, 0])


def _of_answers(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """The answers' logits (prompts, 1) of all, (prompts, 1, vocabulary)."""
    return logits.gather(2, sent(answers[:, None, None], logits.device))[..., 0]


def _scored(
    backend: Backend, batch: PromptBatch, relation: str, slopes: _Slopes, states: torch.Tensor
) -> Mediation:
    """``states`` times the gradient, summed over each head's numbers."""
    place, rows = backend.sites[slopes.site], rows_of(backend, slopes.site)
    products = (states.double() * slopes.gradient.double()).sum(-1).float()
    finite, p, numbers = brought(slopes.finite, slopes.p, products)
    check_scores(backend, batch, finite)
    scores = numbers.detach().numpy()
    what = f"the estimates on `{relation}`"
    by_head = np.moveaxis(scores, 0, -1)
    check_heads(backend, what, slopes.site, place.layers, by_head, batch, "MFV5371")
    cie = np.full((len(batch), len(rows), scores.shape[2]), np.nan, dtype=np.float32)
    cie[:, [rows.index(layer) for layer in place.layers]] = scores
    return Mediation(relation, cie, p.detach().double().numpy(), site=slopes.site, layers=rows)
