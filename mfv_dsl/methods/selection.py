"""Choosing attention heads by a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mfv_dsl.base.short import Short
from mfv_dsl.engine.finite import not_finite
from mfv_dsl.engine.hooks import find_module, find_site
from mfv_dsl.methods.linearisation import NormSamples, as_written
from mfv_dsl.models.base import Backend
from mfv_dsl.models.projections import weights_of

Head = tuple[int, int]


@dataclass(frozen=True, repr=False)
class Heads(Short):
    """A set of heads, best first where ranked, and then with the ``scores`` (layers, heads) that
    they were ranked by.  ``site`` says whose heads they are: those of self-attention (``lm.attn``),
    or of cross-attention (``xattn``)."""

    chosen: tuple[Head, ...]
    scores: torch.Tensor | None = None
    site: str = "lm.attn"


def heads_projection(backend: Backend, layer: int) -> Any:
    """The projection through which the heads of a layer write into the residual stream, or into
    the norm before it.  Raises MfvError (MFV5103) for a layer without heads."""
    return find_module(backend.model, find_site(backend.sites, "lm.attn", layer), layer)


def output_norms(
    backend: Backend, mean: torch.Tensor, norm: NormSamples | None = None
) -> np.ndarray:
    """The Euclidean length of W_O(l)[:, h] · mean(l, h) for every head, (layers, heads) float32,
    made linear by ``norm`` where a norm stands behind the heads; NaN where a layer has no heads.

    ``mean`` is (layers, heads, head_dim).  A baseline for choosing heads: it knows nothing of
    effects.  Raises MfvError: MFV5373 for lengths that are no numbers, MFV7273 where a
    norm needs ``norm`` and there is none.
    """
    site = backend.sites["lm.attn"]
    norms = np.full(mean.shape[:2], np.nan, dtype=np.float32)
    for layer in site.layers:
        linear = heads_projection(backend, layer)
        weight = weights_of(linear).float().cpu().unflatten(1, (-1, site.width))
        outputs = torch.einsum("dhw,hw->hd", weight, mean[layer].float())
        lengths = as_written(backend, layer, outputs, norm).norm(dim=-1)
        if not bool(lengths.isfinite().all()):
            what = f"the lengths of what the heads of layer {layer} write are"
            raise not_finite("MFV5373", what, backend)
        norms[layer] = lengths.numpy()
    return norms


def top_heads(scores: Sequence[np.ndarray], k: int) -> tuple[Head, ...]:
    """The ``k`` heads with the largest mean of ``scores``, each (layers, heads), best first.

    Equal scores are ordered by layer, then head, so that the choice never depends on chance.  NaN,
    where there is no head, is never chosen.
    """
    mean = np.mean(scores, axis=0)
    there = int((~np.isnan(mean)).sum())
    order = np.argsort(-mean, axis=None, kind="stable")[: min(k, there)]  # NaN comes last
    layers, numbers = np.unravel_index(order, mean.shape)
    return tuple((int(layer), int(head)) for layer, head in zip(layers, numbers, strict=True))
