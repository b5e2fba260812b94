"""What tells whether weights are as they were."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import torch

#: Of every weight: which tensor it is, how often it was changed, its precision, where it lies, and
#: a little of it.
WeightState: TypeAlias = tuple[tuple[int, int, str, str, str], ...]


def weight_state(weights: Iterable[Any]) -> WeightState:
    """The state of ``weights``, equal where nothing was changed.  Of what changes them without
    PyTorch's knowledge (``weight.data``) is seen what changes a whole tensor."""
    weights = list(weights)
    by_device: dict[Any, list[int]] = {}
    for number, weight in enumerate(weights):
        by_device.setdefault(weight.device, []).append(number)
    samples = [0.0] * len(weights)
    for device, numbers in by_device.items():
        if device.type != "meta":
            sums = torch.stack([_sample(weights[number]) for number in numbers]).tolist()
            for number, total in zip(numbers, sums, strict=True):
                samples[number] = total
    return tuple(
        (
            id(weight),
            0 if weight.is_inference() else weight._version,
            str(weight.dtype),
            str(weight.device),
            repr(sample),
        )
        for weight, sample in zip(weights, samples, strict=True)
    )


def _sample(weight: Any) -> Any:
    """The sum of eight of a tensor's numbers, evenly spaced."""
    flat = weight.detach().view(-1) if weight.is_contiguous() else weight.detach()[:1].reshape(-1)
    return flat[:: max(1, len(flat) // 8)][:8].float().sum()
