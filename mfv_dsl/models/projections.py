"""The weights of a projection as numbers, however they are held."""

from __future__ import annotations

from typing import Any

import torch


def weights_of(projection: Any) -> torch.Tensor:
    """(d_model, inputs): what a projection multiplies by; unpacked where the weights are packed."""
    unpacked = getattr(projection, "unpacked", None)
    weights: torch.Tensor = projection.weight if unpacked is None else unpacked()
    return weights.detach()
