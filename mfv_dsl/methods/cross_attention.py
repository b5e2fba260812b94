"""Vectors of the residual stream that heads of gated cross-attention write.

Cross-attention to pictures stands beside self-attention: what its heads put out passes its own
output projection and is multiplied by a gate that was learned, before it is added to the residual
stream (Flamingo, arXiv:2204.14198).  So a function vector of such heads is

    v = tanh(gate) · Σ W_O[:, h] · mean(l, h)

over the chosen heads, with each layer's gate, as of heads of self-attention (arXiv:2310.15213,
equation 5) but for that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.finite import not_finite
from mfv_dsl.engine.hooks import find_module, find_site
from mfv_dsl.methods.selection import Head
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models.base import Backend
from mfv_dsl.models.gates import cross_attention_gate
from mfv_dsl.models.projections import weights_of


def cross_attention_vector(
    backend: Backend,
    mean: torch.Tensor,
    heads: Sequence[Head],
    bias: str = "none",
    expression: str = "",
) -> Vector:
    """The vector that ``heads`` (layer, head) of cross-attention write on average.

    ``mean`` (layers, heads, head_dim) has a row for every decoder layer.  The vector is float32 on
    the processor, and is not known head by head.  ``bias="per_head"`` adds the projection's bias
    once per head, where it has one.  Raises MfvError: MFV5302 for no heads, MFV5102 and MFV5103 for
    a model or layer without cross-attention, MFV5373 for numbers that are none, MFV5566 for a gate
    that is not known.
    """
    if not heads:
        raise MfvError("MFV5302", "a function vector needs at least one head")
    total = torch.zeros(backend.facts.d_model, dtype=torch.float64)
    for layer, head in heads:
        site = find_site(backend.sites, "xattn", layer)
        linear = find_module(backend.model, site, layer)
        columns = slice(head * site.width, (head + 1) * site.width)
        output = weights_of(linear)[:, columns].double().cpu() @ mean[layer, head].double()
        if bias == "per_head" and linear.bias is not None:  # type: ignore[union-attr]
            output = output + linear.bias.detach().double().cpu()  # type: ignore[union-attr, operator]
        total += output * cross_attention_gate(backend, layer).double().cpu().reshape(-1)
    if not bool(total.isfinite().all()):
        what = f"the numbers of `{expression or 'a function vector'}` are"
        raise not_finite("MFV5373", what, backend)
    space = Space(backend.facts.fingerprint, backend.facts.d_model, bias)
    return Vector(total.float(), space, expression)
