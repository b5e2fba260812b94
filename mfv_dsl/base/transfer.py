"""Tensors between the processor and a device, so that neither waits more than it has to.

A processor gives a GPU its work ahead of time.  An ordinary copy in either direction waits until
all of that is done, and then the GPU waits for the next.  So what goes there goes from pinned
memory, and what comes back comes together.
"""

from __future__ import annotations

import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``tensor`` on ``device``; nobody waits for a copy from the processor to a GPU.

    >>> sent(torch.arange(3), torch.device("cpu"))
    tensor([0, 1, 2])
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def brought(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """``tensors`` on the processor, without gradients; of those on a GPU it is waited for once.

    >>> (lengths,) = brought(torch.ones(2, 4).norm(dim=-1))
    >>> lengths.tolist()
    [2.0, 2.0]
    """
    gpus = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    copies = tuple(
        tensor.detach().to("cpu", non_blocking=tensor.device.type == "cuda") for tensor in tensors
    )
    for gpu in gpus:
        torch.cuda.current_stream(gpu).synchronize()
    return copies
