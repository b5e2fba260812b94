"""Where the parts of a transformers model are: on one device, or spread over all GPUs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.devices import devices


def placement(device: str) -> tuple[torch.device, Any]:
    """The device whose kind all parts have, and what ``from_pretrained`` takes as ``device_map``
    where there are several: then the library accelerate places the parts, and brings to each what
    it is given.

    Raises MfvError: MFV7219 for a device that is not there, MFV7283 where accelerate is missing.
    """
    places = devices(device)
    if len(places) == 1:
        return places[0], None
    if find_spec("accelerate") is None:
        raise MfvError(
            "MFV7283", "spreading a transformers model over several GPUs needs the package "
            "accelerate",
            help="`pip install accelerate`, or name one GPU, as in device=cuda", argument="device",
        )  # fmt: skip
    return places[0], "balanced"


def check_placed(model: Any) -> None:
    """Refuse (MFV7248) a model of which a part found no room on the GPUs: its weights would be
    fetched from the processor's memory or the disk in every pass."""
    places = getattr(model, "hf_device_map", None) or {}
    onto_gpus = any(str(place) not in ("cpu", "disk") for place in places.values())
    outside = [
        part for part, place in places.items()
        if str(place) == "disk" or (str(place) == "cpu" and onto_gpus)
    ]  # fmt: skip
    if outside:
        shown = ", ".join(outside[:3]) + (" …" if len(outside) > 3 else "")
        raise MfvError(
            "MFV7248", f"the model does not fit onto the GPUs; beside them would be: {shown}",
            help="use more GPUs, a smaller dtype or quantize=nf4, or free their memory",
        )  # fmt: skip


def input_device(model: Any) -> torch.device:
    """Where a model's tokens go: to the device of its embeddings."""
    device: torch.device = next(model.get_input_embeddings().parameters()).device
    return device
