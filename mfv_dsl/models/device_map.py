"""A Flamingo over several devices: its decoder layers in blocks, each block on one device.

The vision tower, the perceiver and the embeddings are on the first device, where batches go; the
final norm and the output head are on the last, but a head that shares the embeddings' weights stays
with them.  Whatever a part is given is moved to where the part is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.memory import free_bytes
from mfv_dsl.base.transfer import sent
from mfv_dsl.models.families import family_of

#: The part of a device's free memory that weights may take; the rest is for the work.
_SHARE = 0.8


def spread(model: Any, devices: Sequence[torch.device]) -> None:
    """Move the ``open_flamingo.Flamingo`` ``model`` to ``devices``, as much to each as its free
    memory allows.  MfvError (MFV7248) where it does not fit."""
    language = model.lang_encoder
    family = family_of(language.config.model_type)
    core, norm = language.get_submodule(family.core), language.get_submodule(family.final_norm)
    layers = list(language.get_submodule(family.layers))
    embeddings, head = language.get_input_embeddings(), language.get_output_embeddings()
    behind = [norm] if head.weight is embeddings.weight else [norm, head]
    among = {*layers, norm}
    ahead = [part for part in core.children() if not among & set(part.modules())]
    ahead += [model.vision_encoder, model.perceiver]

    budgets = [int(_SHARE * free_bytes(device)) for device in devices]
    budgets[0] -= sum(map(bytes_of, ahead))
    budgets[-1] -= sum(map(bytes_of, behind))
    counts = split_layers([bytes_of(layer) for layer in layers], budgets)
    places = [device for device, count in zip(devices, counts, strict=True) for _ in range(count)]
    for part in ahead:
        part.to(devices[0])
    for part in behind:
        part.to(devices[-1])
    for layer, device in zip(layers, places, strict=True):
        layer.to(device)
    for part in (*layers, norm, head):
        part.register_forward_pre_hook(_bring, with_kwargs=True)


def split_layers(sizes: Sequence[int], budgets: Sequence[int]) -> list[int]:
    """How many of consecutive layers of ``sizes`` go to each of the devices with ``budgets``, both
    in bytes, such that the largest used part of a budget is as small as can be.

    MfvError (MFV7248) where the layers do not fit.
    """

    def filled(part: float) -> list[int]:
        """The same with that part of every budget, each device filled before the next."""
        counts, position = [], 0
        for budget in budgets:
            start, room = position, part * budget
            while position < len(sizes) and sizes[position] <= room:
                room -= sizes[position]
                position += 1
            counts.append(position - start)
        return counts

    if sum(filled(1.0)) < len(sizes):
        rooms = ", ".join(f"{max(0, budget) / 1e9:.1f} GB" for budget in budgets)
        raise MfvError(
            "MFV7248",
            f"the decoder layers take {sum(sizes) / 1e9:.1f} GB, and the devices have room for "
            f"{rooms} of them",
            help="use more devices or a smaller dtype, or free their memory",
        )
    too_little, enough = 0.0, 1.0
    for _ in range(40):
        middle = (too_little + enough) / 2
        if sum(filled(middle)) < len(sizes):
            too_little = middle
        else:
            enough = middle
    return filled(enough)


def bytes_of(module: nn.Module) -> int:
    """What a module's weights and buffers take."""
    return sum(part.nbytes for part in (*module.parameters(), *module.buffers()))


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next(module.parameters()).device


def moved(value: Any, device: torch.device) -> Any:
    """``value`` with every tensor in it, however deep in tuples, lists and dicts, on
    ``device``; anything else is left as it is."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(part, device) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(moved(part, device) for part in value)
    if isinstance(value, dict):
        return {key: moved(part, device) for key, part in value.items()}
    return value


def keep_rows(cache: Any, rows: torch.Tensor) -> None:
    """Go on with ``rows`` (rows,) of a cache of keys and values, each layer's wherever it is."""
    by_device: dict[torch.device, torch.Tensor] = {}
    for layer in cache.layers:
        keys = getattr(layer, "keys", None)
        device = keys.device if isinstance(keys, torch.Tensor) else rows.device
        if device not in by_device:
            by_device[device] = sent(rows, device)
        layer.batch_select_indices(by_device[device])


def _bring(
    module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Before a part runs: bring what it is given, and what it was told of images, to it."""
    device = device_of(module)
    if hasattr(module, "media_locations"):
        module.media_locations = moved(module.media_locations, device)
    return moved(arguments, device), moved(keywords, device)
