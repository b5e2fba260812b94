"""Attribution patching: a first-order estimate of what mediation measures.

    CIE(l, h) ≈ (mean(l, h) - a(l, h)) · ∂p(answer | twin) / ∂a(l, h)

with a(l, h) the head's output at the last token of the corrupted prompt (Nanda 2023, "Attribution
patching"; Syed et al., arXiv:2310.10348).  One pass over the prefix, one over the last token and
one backward, whatever the number of heads: a screen, to be held against the exact effects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mfv_dsl.base.transfer import brought, sent
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.activations import Progress, rows_of
from mfv_dsl.methods.finite import check_heads, check_scores
from mfv_dsl.methods.mediation import Mediation, concatenate_effects
from mfv_dsl.models.base import Backend, PromptBatch


def attribute(
    backend: Backend,
    twins: Sequence[PromptBatch],
    relation: str,
    mean: torch.Tensor,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> Mediation:
    """Estimates of :func:`~mfv_dsl.methods.mediation.mediate`'s effects; arguments as there.

    ``progress`` counts heads of a batch, so that both can be told alike.
    """

    def estimated(rows: Rows) -> Mediation:
        return _estimate(backend, rows.batch, relation, mean, site)

    parts = []
    for rows, part in in_parts(backend, twins, estimated):
        parts.append(part)
        if rows.share[1] == 1.0:
            progress(int((~np.isnan(part.cie[0])).sum()))
    return concatenate_effects(parts, relation)


def _estimate(
    backend: Backend, batch: PromptBatch, relation: str, mean: torch.Tensor, site: str
) -> Mediation:
    place, rows = backend.sites[site], rows_of(backend, site)
    own = [rows.index(layer) for layer in place.layers]
    shape = (len(batch), len(place.layers), place.heads or 1, place.width)
    # nothing is added, and the gradient of what is added is the gradient of the activation
    added = torch.zeros(shape, dtype=batch.dtype, device=backend.device, requires_grad=True)
    edits = [Edit(site, layer, "add", added[:, row]) for row, layer in enumerate(place.layers)]
    reads = [Read(site, layer) for layer in place.layers]
    with torch.enable_grad():
        (chunk,) = encode_prefix(backend, batch).run([edits], reads=reads)
        p_before = chunk.scores.p[:, 0]
        (gradient,) = torch.autograd.grad(p_before.sum(), added)
    activations = torch.stack([reading[:, 0].to(added.device) for reading in chunk.readings], dim=1)
    mean = sent(mean[own], activations.device).to(activations.dtype)
    products = ((mean - activations).double() * gradient.double()).sum(-1).float()
    finite, p, estimates = brought(chunk.scores.finite[:, 0], p_before, products)
    check_scores(backend, batch, finite)
    estimate = estimates.numpy()
    by_head = np.moveaxis(estimate, 0, -1)
    what = f"the estimates on `{relation}`"
    check_heads(backend, what, site, place.layers, by_head, batch, "MFV5371")
    cie = np.full((len(batch), len(rows), shape[2]), np.nan, dtype=np.float32)
    cie[:, own] = estimate
    return Mediation(
        relation,
        cie,
        p.double().numpy(),
        site=site,
        layers=rows,
    )


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays of one shape; equals share their mean rank.

    Places where one of them is NaN are left out.  NaN where one of them is constant.
    """
    x, y = (np.asarray(values).ravel() for values in (first, second))
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = _ranks(x[known]), _ranks(y[known])
    x, y = x - x.mean(), y - y.mean()
    length = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / length) if length else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, (n,); equal values get the mean of the ranks they take up."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts + 1) / 2)[inverse]
    return ranks
