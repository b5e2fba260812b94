"""What the store may hold: numbers, and NaN only where a layer has no heads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.methods.activations import TaskMean
from mfv_dsl.methods.head_outputs import HeadOutputs
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.methods.selection import Heads

#: Fields whose arrays may have layers of NaN, and which of their dimensions are the layers.
_LAYERS = {(TaskMean, "mean"): 0, (Mediation, "cie"): 1, (Heads, "scores"): 0,
           (HeadOutputs, "outputs"): 1}  # fmt: skip


def check_finite(value: Any, label: str) -> None:
    """Refuse (MFV5374) a step's value that holds NaN or infinity where a number should be."""
    for place in not_numbers(value):
        raise NotFinite(
            "MFV5374", f"{label}: {place} is not all numbers, and was not kept",
            help="a smaller `scale` or a precision that holds larger numbers (dtype=bf16 or "
            "dtype=fp32) may do",
        )  # fmt: skip


def not_numbers(value: Any, place: str = "the result") -> Iterator[str]:
    """The places in a step's value that hold NaN or infinity.  A layer whose heads are all NaN is
    one without heads, unless all layers are; a value that is a tensor (layers, heads, head_dim) are
    mean outputs of heads, too."""
    if isinstance(value, str | int | None):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            yield place
    elif isinstance(value, torch.Tensor) and value.ndim == 3 and place == "the result":
        if not _are_finite(_measured(value, 0)):
            yield place
    elif isinstance(value, torch.Tensor | np.ndarray):
        if not _are_finite(value):
            yield place
    elif isinstance(value, tuple | list):
        for part in value:
            yield from not_numbers(part, place)
    elif is_dataclass(value):
        for item in fields(value):
            part, name = getattr(value, item.name), f"`{item.name}`"
            layers = _LAYERS.get((type(value), item.name))
            if layers is None or part is None:
                yield from not_numbers(part, name)
            elif not _are_finite(_measured(torch.as_tensor(part), layers)):
                yield name


def _are_finite(array: torch.Tensor | np.ndarray) -> bool:
    tensor = torch.as_tensor(array)
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _measured(array: torch.Tensor, layers: int) -> torch.Tensor:
    """The layers of ``array`` that have heads; all of them where none has."""
    by_layer = array.movedim(layers, 0).flatten(1)
    holes = by_layer.isnan().all(1)
    return by_layer if bool(holes.all()) else by_layer[~holes]
