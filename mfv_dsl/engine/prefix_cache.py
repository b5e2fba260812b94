"""Prefixes that are needed again and again, kept as far as memory allows."""

from __future__ import annotations

from mfv_dsl.base.memory import free_bytes
from mfv_dsl.engine.prefix import Prefix, encode_prefix
from mfv_dsl.models.base import Backend, PromptBatch

_SHARE = 4  # of free memory, one part in so many is for prefixes that are kept


class PrefixCache:
    """The prefixes of batches, each run when first asked for.

    Those that fit into a quarter of what is free at the start are kept; the others are run again
    each time.  What comes out is the same either way.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._left = free_bytes(backend.device) // _SHARE
        self._prefixes: dict[
            int, Prefix
        ] = {}  # by the identity of the batch, which its prefix holds

    def of(self, batch: PromptBatch) -> Prefix:
        """The prefix of ``batch``."""
        if id(batch) in self._prefixes:
            return self._prefixes[id(batch)]
        prefix = encode_prefix(self._backend, batch)
        if prefix.nbytes <= self._left:
            self._left -= prefix.nbytes
            self._prefixes[id(batch)] = prefix
        return prefix

    def forget(self) -> None:
        """Let go of all that is kept, and keep nothing more: memory is short."""
        self._prefixes.clear()
        self._left = 0
