"""What heads write through a norm, made linear.

In some architectures (Gemma 2 and 3, Molmo 2 on OLMo) what the heads of a layer put out together,
x = Σ over heads of W_O[:, h] a(h), passes an RMS norm before it is added to the residual stream:

    N(x) = g · s(x) · x        s(x) = 1 / sqrt(mean(x²) + ε)

with the norm's gain g (its weight, or 1 + weight in Gemma).  The scale s depends on all heads
together, so that no head's part is linear in its output.  With s fixed it is, and the parts
g · s · W_O[:, h] a(h) add up to N(x) exactly: a norm is linear up to a variable scaling (Elhage et
al. 2021, "A Mathematical Framework for Transformer Circuits").

Over prompts a head writes E[s · W_O[:, h] a(h)] on average, which is E[s] · W_O[:, h] E[a(h)] where
scale and output vary independently.  So the scale that is recorded is the mean of s over the
extraction prompts, not one over the mean of the root mean square, which is smaller.

What is lost is measured: with p the sum over the chosen heads of what they put out in a prompt, the
exact change by leaving them out is N(x) - N(x - p), the linear one g · E[s] · p.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.methods.linear_norm import LARGE, scales_between
from mfv_dsl.models.base import Backend

#: Prompts whose head outputs are kept to measure the error on.
KEPT = 32
#: A larger error is much: a linear part of zero has an error of 1.
MUCH = 0.5


@dataclass(frozen=True, repr=False)
class NormSamples(Short):
    """How the norm behind the heads scaled the extraction prompts.

    ``scales`` (layers,) float32: the mean of s(x) at the last token.  ``outputs``
    (prompts, layers, heads, head_dim) float32: every head's output there, before the projection, in
    the first prompts, at most :data:`KEPT`.
    """

    scales: torch.Tensor
    outputs: torch.Tensor


@dataclass(frozen=True, repr=False)
class Linearisation(Short):
    """How what a vector's heads write was made linear: by the ``scales`` of their layers, each
    (layer, mean scale).

    ``error`` is the mean over ``prompts`` prompts of the length of (linear - exact change) as a
    share of the exact change's length, changes summed over layers.
    """

    scales: tuple[tuple[int, float], ...]
    error: float
    prompts: int

    def to_json(self) -> dict[str, Any]:
        """As plain data: ``scales`` ([layer, scale] each), ``error``, ``prompts``."""
        scales = [list(scale) for scale in self.scales]
        return {"scales": scales, "error": self.error, "prompts": self.prompts}


def is_behind_norm(backend: Backend) -> bool:
    """Whether a norm stands between the projection of heads and the residual stream."""
    sites = backend.sites
    return "lm.attn.out" in sites and sites["lm.attn.out"].path != sites["lm.attn"].path


def as_written(
    backend: Backend, layer: int, outputs: torch.Tensor, norm: NormSamples | None
) -> torch.Tensor:
    """What the projection of heads in ``layer`` puts out, ``outputs`` (..., d_model) on the
    processor, as it is added to the residual stream: as it is, or times gain and mean scale.

    Raises MfvError: MFV7273 where a norm needs ``norm`` and there is none, MFV7292 for a norm that
    is no RMS norm.
    """
    if not is_behind_norm(backend):
        return outputs
    if norm is None:
        raise MfvError(
            "MFV7273",
            "a norm stands between this model's heads and its residual stream, and its scale on "
            "the prompts that these outputs come from is not known",
            help="extract the vector with `fv(...)`, which records the scale",
        )
    return outputs * (_gain(backend, layer) * norm.scales[layer])


#: The sum of every layer's scales over prompts, in float64, their number, and the outputs of heads
#: in the first of them.
NormSums: TypeAlias = "tuple[torch.Tensor, int, torch.Tensor]"


class NormRecorder:
    """Collects :data:`NormSums` over batches; memory does not grow with their number."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self._layers = backend, backend.sites["lm.attn"].layers
        self._total = torch.zeros(len(self._layers), dtype=torch.float64)
        self._count = 0
        self._outputs: list[torch.Tensor] = []

    def add(self, readings: Sequence[torch.Tensor], used: torch.Tensor) -> None:
        """One batch: every layer's head outputs, each (prompts, 1, heads, head_dim), of which those
        of the prompts ``used`` (prompts,) count."""
        device = self._backend.device  # of several, each layer's reading is on its own
        heads = torch.stack([reading[:, 0].to(device) for reading in readings], dim=1)
        heads = heads[used.to(heads.device)]
        for row, layer in enumerate(self._layers):
            summed = _projected(self._backend, layer, heads[:, row])
            self._total[row] += _scales(self._backend, layer, summed).sum()
        room = KEPT - sum(map(len, self._outputs))
        self._outputs.append(heads[:room].float().cpu())
        self._count += len(heads)

    def sums(self) -> NormSums:
        """What was collected so far."""
        return self._total, self._count, torch.cat(self._outputs)


def norm_samples(parts: Sequence[NormSums]) -> NormSamples:
    """The means, and the outputs that are kept, of all ``parts``, in their order; of one prompt at
    least."""
    totals, counts, outputs = zip(*parts, strict=True)
    total = sum(totals[1:], totals[0])
    return NormSamples((total / sum(counts)).float(), torch.cat(outputs)[:KEPT])


def linearisation(
    backend: Backend, norm: NormSamples, heads: Iterable[tuple[int, int]]
) -> Linearisation:
    """The scales of the layers of ``heads``, (layer, head), and the error that they bring.

    Raises MfvError (MFV7292) for a norm that is no RMS norm.
    """
    by_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        by_layer.setdefault(layer, []).append(head)
    exact = linear = torch.zeros(())
    for layer, numbers in sorted(by_layer.items()):
        outputs = norm.outputs[:, layer]
        nothing, chosen = torch.zeros_like(outputs), torch.zeros_like(outputs)
        chosen[:, numbers] = outputs[:, numbers]
        bias, whole, part = (
            _projected(backend, layer, values) for values in (nothing, outputs, chosen)
        )
        part = part - bias
        exact = exact + _normed(backend, layer, whole) - _normed(backend, layer, whole - part)
        linear = linear + as_written(backend, layer, part, norm)
    sizes = exact.norm(dim=-1)
    errors = (linear - exact).norm(dim=-1) / sizes.clamp_min(torch.finfo(torch.float32).tiny)
    scales = tuple((layer, float(norm.scales[layer])) for layer in sorted(by_layer))
    return Linearisation(scales, float(errors.double().mean()), len(norm.outputs))


def _projected(backend: Backend, layer: int, outputs: torch.Tensor) -> torch.Tensor:
    """What the projection makes of head outputs (prompts, heads, head_dim): (prompts, d_model)
    float32 on the processor, with its bias."""
    projection = backend.model.get_submodule(backend.sites["lm.attn"].path.format(layer=layer))
    precision = next(p.dtype for p in backend.model.parameters() if p.is_floating_point())
    with torch.no_grad():
        summed: torch.Tensor = projection(outputs.flatten(1).to(backend.device, precision))
    return summed.float().cpu()


def _normed(backend: Backend, layer: int, outputs: torch.Tensor) -> torch.Tensor:
    """``outputs`` (..., d_model) behind the model's own norm, float32 on the processor."""
    path = backend.sites["lm.attn.out"].path.format(layer=layer)
    with torch.no_grad():
        result: torch.Tensor = backend.model.get_submodule(path)(outputs.float().to(backend.device))
    return result.float().cpu()


def _gain(backend: Backend, layer: int) -> torch.Tensor:
    """g, (d_model,): what the norm makes of equal numbers, whose root mean square is each."""
    width = backend.sites["lm.attn.out"].width
    return _normed(backend, layer, torch.full((1, width), LARGE))[0]


def _scales(backend: Backend, layer: int, outputs: torch.Tensor) -> torch.Tensor:
    """s(x) for every row of ``outputs`` (prompts, d_model), float64: the factor between x times the
    gain and what the norm makes of x.  Raises MfvError (MFV7292) where there is no such factor."""
    normed = _normed(backend, layer, outputs).double()
    gained = outputs.double() * _gain(backend, layer).double()
    scales = scales_between(gained, normed)
    if scales is None:
        raise MfvError(
            "MFV7292",
            f"what stands behind the heads of layer {layer} is no RMS norm, so that what heads "
            "write cannot be made linear by a scale",
            help="patch or ablate heads, or tune a vector from a random start",
        )
    return scales[:, 0]
