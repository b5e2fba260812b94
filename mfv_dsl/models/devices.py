"""Where a model runs, from what a recipe or the command line says."""

from __future__ import annotations

import torch

from mfv_dsl.base.errors import MfvError


def devices(name: str | torch.device | None) -> list[torch.device]:
    """The devices that ``name`` stands for: one, or with ``balanced`` all GPUs.

    ``auto`` is the first of cuda, mps and cpu that is there; None is the CPU.  Raises MFV7219 for
    a device that is not there.
    """
    gpus = torch.cuda.device_count()
    if name == "balanced":
        if gpus == 0:
            raise _absent(name, "it spreads a model over GPUs")
        return [torch.device("cuda", i) for i in range(gpus)]
    if name == "auto":
        name = "cuda" if gpus else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name or "cpu")
    except RuntimeError:
        raise _absent(name, "it is no device's name") from None
    counts = {"cuda": gpus, "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if (device.index or 0) >= counts.get(device.type, 0):
        raise _absent(name, "it is not there")
    return [device]


def _absent(name: str | torch.device | None, why: str) -> MfvError:
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return MfvError(
        "MFV7219",
        f"cannot run on {name}: {why}",
        help=f"this machine and this torch have {', '.join(['cpu', *gpus, *mps])}",
    )
