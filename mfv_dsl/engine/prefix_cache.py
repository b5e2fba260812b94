"""Prefixes that are needed again and again, kept as far as memory allows."""

from __future__ import annotations

from collections.abc import Sequence

from mfv_dsl.base.memory import free_bytes
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix import Prefix, PrefixOf, encode_prefix
from mfv_dsl.models.base import Backend, PromptBatch

_SHARE = 4  # of free memory, one part in so many is for prefixes that are kept


class PrefixCache:
    """The prefixes of batches, each run when first asked for.

    Those that fit into a quarter of what is free at the start are kept; the others are run again
    each time.  What comes out is the same either way.  ``prefix_of`` makes them:
    :func:`~mfv_dsl.engine.prefix.full_passes` where more is edited than last tokens.
    """

    def __init__(self, backend: Backend, prefix_of: PrefixOf = encode_prefix) -> None:
        self._backend, self._prefix_of = backend, prefix_of
        self._left = free_bytes(backend.device) // _SHARE
        self._prefixes: dict[
            int, Prefix
        ] = {}  # by the identity of the batch, which its prefix holds
        self._injections: dict[tuple[int, ...], Injection] = {}  # likewise

    def of(self, batch: PromptBatch) -> Prefix:
        """The prefix of ``batch``."""
        if id(batch) in self._prefixes:
            return self._prefixes[id(batch)]
        prefix = self._prefix_of(self._backend, batch)
        if prefix.nbytes <= self._left:
            self._left -= prefix.nbytes
            self._prefixes[id(batch)] = prefix
        return prefix

    def together(self, batches: Sequence[PromptBatch], keep: bool) -> Injection:
        """The last tokens of ``batches`` behind their prefixes.  With ``keep`` they are joined once
        and for all where what is left of the memory allows it: right for batches that come together
        again, once the prefixes of all batches have found their place."""
        key = tuple(map(id, batches))
        if key in self._injections:
            return self._injections[key]
        prefixes = [self.of(batch) for batch in batches]
        size = sum(prefix.nbytes for prefix in prefixes)
        fits = keep and len(batches) > 1 and size <= self._left
        injection = Injection(prefixes, keep=fits)
        if fits:
            self._left -= size
            self._injections[key] = injection
        return injection
