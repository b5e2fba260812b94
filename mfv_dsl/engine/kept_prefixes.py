"""Prefixes of prompts that several measurements ask, kept as far as memory allows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from mfv_dsl.base.memory import SPARE, free_bytes
from mfv_dsl.engine.prefix import Prefix, encode_prefix
from mfv_dsl.models.base import Backend, PromptBatch

_SHARE = 4  # of free memory, one part in so many


class KeptPrefixes:
    """The prefixes of one model's batches of one dataset's prompts; those not asked for longest go
    first.

    They take at most a quarter of the memory that is free on the model's device when the first is
    kept, and give it back where it is needed.  What comes out of a prefix that was kept is what
    comes out of one that is run again, to the bit: the same prompts come together in it.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._limit: int | None = None
        self._kept: OrderedDict[Hashable, tuple[Prefix, int]] = OrderedDict()  # by the prompts
        SPARE.add(self)

    def __len__(self) -> int:
        return len(self._kept)

    def __call__(self, backend: Backend, batch: PromptBatch) -> Prefix:
        """The prefix of ``batch``, run now or kept."""
        if batch.prompts in self._kept:
            self._kept.move_to_end(batch.prompts)
            return self._kept[batch.prompts][0]
        if self._limit is None:
            self._limit = free_bytes(backend.device) // _SHARE
        prefix = encode_prefix(backend, batch)
        if batch.prompts and prefix.nbytes:
            self._kept[batch.prompts] = prefix, prefix.nbytes
            self.nbytes += prefix.nbytes
        while self.nbytes > self._limit:
            self.nbytes -= self._kept.popitem(last=False)[1][1]
        return prefix

    def let_go(self) -> bool:
        """Keep nothing more; whether there was anything."""
        had = bool(self._kept)
        self._kept.clear()
        self.nbytes = 0
        return had
