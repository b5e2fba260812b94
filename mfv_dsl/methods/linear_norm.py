"""A norm as the linear map that it is for one state: with its own scale.

    N(x) = g · s(x) · (x - m(x)) + b

with s(x) one over the standard deviation (LayerNorm, m the mean) or over the root mean square (RMS
norm, m zero).  With s and m those of x this is linear in what x is a sum of, and the parts' images
add up to N(x) exactly (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short

#: An input beside which no ε of a norm counts.
LARGE = 1e3
_ROUNDING = 0.02  # of a norm in the lowest precision, as a share


@dataclass(frozen=True, repr=False)
class LinearNorm(Short):
    """A norm on states: ``factor`` (states, width), g · s; ``bias`` (width,); ``is_centred``:
    whether the mean is taken away.  float64 on the processor."""

    factor: torch.Tensor
    bias: torch.Tensor
    is_centred: bool

    def direction(self, readout: torch.Tensor) -> torch.Tensor:
        """For ``readout`` (states, width), what is multiplied with N(x): what a part of x is to be
        multiplied with instead, (states, width)."""
        direction = readout.double() * self.factor
        return direction - direction.mean(-1, keepdim=True) if self.is_centred else direction


@torch.no_grad()
def linear_norm(norm: nn.Module, states: torch.Tensor) -> LinearNorm:
    """``norm`` on ``states`` (states, width).

    Raises MfvError (MFV5580) for a norm that is neither a LayerNorm nor an RMS norm.
    """
    outputs, exact = norm(states).double().cpu(), states.double().cpu()
    width = states.shape[-1]
    is_centred = isinstance(norm, nn.LayerNorm)
    if is_centred:
        layer_norm: Any = norm
        one, zero = torch.ones(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
        gain = one if layer_norm.weight is None else layer_norm.weight.double().cpu()
        bias = zero if layer_norm.bias is None else layer_norm.bias.double().cpu()
        exact = exact - exact.mean(-1, keepdim=True)
    else:
        gain = norm(torch.full_like(states[:1], LARGE))[0].double().cpu()
        bias = torch.zeros(width, dtype=torch.float64)
    scale = scales_between(exact * gain, outputs - bias)
    if scale is None:
        raise MfvError(
            "MFV5580",
            f"a {type(norm).__name__} of this model is neither a LayerNorm nor an RMS norm, so "
            "what passes it cannot be told apart by what wrote it",
            help="`mfv paths` measures what parts of the model do, by running it",
        )
    return LinearNorm(scale * gain, bias, is_centred)


def scales_between(gained: torch.Tensor, normed: torch.Tensor) -> torch.Tensor | None:
    """s(x) for every row, (rows, 1): the factor between ``gained``, g · (x - m(x)), and ``normed``,
    what the norm makes of x without its bias, each (rows, width) float64; None where a row has no
    such factor.

    >>> scales_between(torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[2.0, 4.0]]).double())
    tensor([[2.]], dtype=torch.float64)
    >>> scales_between(torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[2.0, 1.0]]).double())
    """
    tiny = torch.finfo(torch.float64).tiny
    squares = gained.square().sum(-1, keepdim=True).clamp(min=tiny)
    scales: torch.Tensor = (normed * gained).sum(-1, keepdim=True) / squares
    rest = (normed - scales * gained).norm(dim=-1)
    return None if bool((rest > _ROUNDING * normed.norm(dim=-1)).any()) else scales
