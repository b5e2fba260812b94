"""Weights have to be numbers, whatever kind of model they are of."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mfv_dsl.base.errors import MfvError


def check_numbers(model: nn.Module, path: str | Path) -> None:
    """Refuse (MFV7276) a model, read from ``path``, with weights that are NaN or infinite."""
    for name, weights in model.named_parameters():
        if not weights.is_floating_point() or not weights.numel() or weights.is_meta:
            continue
        if not all(bool(extreme.isfinite()) for extreme in weights.detach().aminmax()):
            raise MfvError(
                "MFV7276", f"the weights of {path} are not all numbers: {name}",
                help="fetch the file again, or load it with dtype=fp32 if its numbers are too "
                "large for the precision asked for",
            )  # fmt: skip
