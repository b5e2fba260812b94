"""Function vectors: what heads write on average, added."""

from __future__ import annotations

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.finite import not_finite
from mfv_dsl.methods.linearisation import NormSamples, as_written, is_behind_norm, linearisation
from mfv_dsl.methods.selection import Head, heads_projection
from mfv_dsl.methods.vectors import Space, Vector, holds
from mfv_dsl.models.base import Backend
from mfv_dsl.models.projections import weights_of


def function_vector(
    backend: Backend,
    mean: torch.Tensor,
    heads: tuple[Head, ...],
    bias: str = "none",
    expression: str = "",
    scores: torch.Tensor | None = None,
    norm: NormSamples | None = None,
) -> Vector:
    """v = Σ over ``heads`` of W_O(l)[:, h] · mean(l, h) (arXiv:2310.15213, equation 5).

    ``mean`` is (layers, heads, head_dim).  The projection's bias is left out; ``bias="per_head"``
    adds the layer's bias once per chosen head, as the official code of arXiv:2510.02528 does.
    ``scores`` (layers, heads) are kept with the chosen heads.  Where a norm stands behind the
    heads, what each writes is made linear by ``norm`` (:mod:`mfv_dsl.methods.linearisation`).  The
    vector is float32 on the processor.  Raises MfvError: MFV5302 for no heads, MFV5373 where it is
    not all numbers, MFV7273 where a norm needs ``norm`` and there is none, MFV7292 for a norm that
    is no RMS norm.
    """
    if not heads:
        raise MfvError("MFV5302", "a function vector needs at least one head")
    site = backend.sites["lm.attn"]
    means = torch.stack([mean[layer, head] for layer, head in heads])
    outputs = []
    for (layer, head), part in zip(heads, means, strict=True):
        linear = heads_projection(backend, layer)
        columns = slice(head * site.width, (head + 1) * site.width)
        output = weights_of(linear)[:, columns].float().cpu() @ part
        if bias == "per_head" and linear.bias is not None:
            output = output + linear.bias.float().cpu()
        outputs.append(as_written(backend, layer, output, norm))
    outputs_of_heads = torch.stack(outputs)
    bad = [head for head, row in zip(heads, outputs_of_heads, strict=True) if not holds(row)]
    if bad or not holds(outputs_of_heads.sum(0)):
        named = ", ".join(f"L{layer}H{head}" for layer, head in bad[:5]) or "their sum"
        what = f"the numbers of `{expression or 'a function vector'}` ({named}) are"
        raise not_finite("MFV5373", what, backend)
    return Vector(
        residual=outputs_of_heads.sum(0),
        space=Space(backend.facts.fingerprint, backend.facts.d_model, bias),
        expression=expression,
        heads=heads,
        head_means=means,
        head_projected=outputs_of_heads,
        head_scores=None if scores is None else torch.stack([scores[i, j] for i, j in heads]),
        linearised=linearisation(backend, norm, heads)
        if norm and is_behind_norm(backend)
        else None,
    )
