"""How much is done at a time: from free memory, and less where that was too much."""

from __future__ import annotations

import os
import warnings

import torch

#: Working memory aimed at.  On a processor more brings no speed, and a fixed figure keeps results
#: the same from run to run while memory suffices.
_AIM = {"cpu": 256 << 20, "cuda": 16 << 30}


class MemoryWarning(UserWarning):
    """Memory ran out and the work goes on in smaller chunks."""


def free_bytes(device: torch.device) -> int:
    """Bytes of memory that are free on ``device``; on a GPU with those of PyTorch's cache."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + int(cached)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return _AIM["cpu"] * 2


def rows_at_once(device: torch.device, row_bytes: int) -> int:
    """How many rows of ``row_bytes`` bytes fit, at least 1.

    At most half of what is free is used, and the number is a power of two, so that it does not
    follow every change of free memory.
    """
    budget = min(_AIM.get(device.type, _AIM["cpu"]), free_bytes(device) // 2)
    return 1 << max(0, (budget // max(1, row_bytes)).bit_length() - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def give_way(device: torch.device, size: int, what: str) -> int:
    """Half of ``size``, after memory ran out; a MemoryWarning says that there were too many
    ``what``."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    smaller = size // 2
    warnings.warn(
        f"memory ran out with {size} {what} at a time; going on with {smaller}",
        MemoryWarning,
        stacklevel=3,
    )
    return smaller
