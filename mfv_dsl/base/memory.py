"""How much is done at a time: from free memory, and less where that was too much."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import torch

from mfv_dsl.base.machine import free_memory

#: Working memory aimed at.  On a processor more brings no speed, and a fixed figure keeps results
#: the same from run to run while memory suffices.
_AIM = {"cpu": 256 << 20, "cuda": 16 << 30}


class MemoryWarning(UserWarning):
    """Memory ran out and the work goes on in smaller chunks."""


def free_bytes(device: torch.device) -> int:
    """Bytes of memory that are free on ``device``: on a GPU with those of PyTorch's cache, on a
    processor with those of the system's cache of files, where the system tells them."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + int(cached)
    free_here = free_memory()
    return _AIM["cpu"] * 2 if free_here is None else free_here


def rows_at_once(device: torch.device, row_bytes: int) -> int:
    """How many rows of ``row_bytes`` bytes fit, at least 1.

    At most half of what is free is used, and the number is a power of two, so that it does not
    follow every change of free memory.
    """
    budget = min(_AIM.get(device.type, _AIM["cpu"]), free_bytes(device) // 2)
    return 1 << max(0, (budget // max(1, row_bytes)).bit_length() - 1)


def slice_bytes(device: torch.device) -> int:
    """How many bytes of a large table, such as the logits of a vocabulary, are made and looked at
    at a time: what stays near a processor's caches; on a GPU, which small pieces leave idle, a part
    of its memory, at most 2 GiB."""
    if device.type != "cuda":
        return 64 << 20
    memory: int = torch.cuda.get_device_properties(device).total_memory
    return min(2 << 30, memory // 64)


#: What libraries say on a processor.
_SAID = ("can't allocate memory", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")
#: All that oneDNN says of it; longer texts that begin so are of what it does not support.
_SAID_ALONE = ("could not create a primitive", "could not execute a primitive")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        text in _SAID_ALONE or any(said in text for said in _SAID)
    )


class Sliceable(Protocol):
    """Whatever has a length and parts: a list, a tensor, a batch of prompts."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice, /) -> Any: ...


Items = TypeVar("Items", bound=Sliceable)
Result = TypeVar("Result")


class Spare(Protocol):
    """Whatever keeps what could be made again."""

    def let_go(self) -> bool:
        """Keep nothing more; whether there was anything."""


#: What is asked for its memory before work is done in smaller parts.
SPARE: WeakSet[Spare] = WeakSet()


class AtOnce:
    """How many items are worked on together: fewer from when memory first ran out, for good.

    ``what`` the items are is said in the warning; ``size`` is how many it is at first, by default
    all that there are.
    """

    def __init__(self, device: torch.device, what: str, size: int | None = None) -> None:
        self._device, self._what, self.size = device, what, size

    def of(
        self, items: Items, run: Callable[[Items], Result], most: int | None = None
    ) -> Iterator[tuple[Items, Result]]:
        """Some of ``items``, at most ``most``, and what ``run`` gives for them, until all are done.
        Where memory runs out, ``run`` is called again once nothing is kept that could be made again
        (:data:`SPARE`), and then with half as many, of which a MemoryWarning tells; it has to leave
        nothing behind that a second call would add to.  One item that is too much is an error."""
        n_done = 0
        while n_done < len(items):
            size = min(limit for limit in (self.size, most, len(items)) if limit is not None)
            whole = n_done == 0 and size >= len(items)
            part = items if whole else items[n_done : n_done + size]
            results = _attempted(run, part)
            if not results and _spared():
                results = _attempted(run, part)
            if results:
                n_done += len(part)
                yield part, results[0]
            else:
                self.size = self._give_way(len(part))

    def of_each(
        self, batches: Iterable[Items], run: Callable[[Items], Result]
    ) -> Iterator[tuple[Items, Result]]:
        """The same of every one of ``batches``."""
        for batch in batches:
            yield from self.of(batch, run)

    def _give_way(self, size: int) -> int:
        """Half of ``size``, after memory ran out; a MemoryWarning says so."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        warnings.warn(
            f"memory ran out with {size} {self._what} at a time; going on with {size // 2}",
            MemoryWarning,
            stacklevel=3,
        )
        return size // 2


def _spared() -> bool:
    """Give back what is kept and could be made again; whether there was anything."""
    gave = [spare.let_go() for spare in tuple(SPARE)]
    return any(gave)


def _attempted(run: Callable[[Items], Result], part: Items) -> tuple[Result] | tuple[()]:
    """What ``run`` gives, or nothing where memory ran out and a smaller part may do.  What it held
    is let go before it is tried again."""
    try:
        return (run(part),)
    except Exception as error:
        if len(part) > 1 and is_out_of_memory(error):
            return ()
        raise
