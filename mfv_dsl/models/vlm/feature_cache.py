"""Encoded pictures, kept while there is room for them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import torch

from mfv_dsl.base.memory import free_bytes

#: The part of the memory, free when the first picture is kept, that encoded pictures may take.
_SHARE = 8

T = TypeVar("T")


class FeatureCache(Generic[T]):
    """What was made of pictures, found again by their content; what was not asked for longest is
    dropped where there is no room.

    ``limit`` in bytes is by default an eighth of the memory that is free on ``device`` when the
    first picture is kept.
    """

    def __init__(self, device: torch.device, limit: int | None = None) -> None:
        self.device, self.limit = device, limit
        self.nbytes = 0
        self._kept: OrderedDict[bytes, tuple[T, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, picture: np.ndarray, make: Callable[[], tuple[T, int]]) -> T:
        """What was made of ``picture`` (height, width, 3) uint8; ``make`` gives it and its bytes
        where it is not kept."""
        key = _content(picture)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        value, size = make()
        if self.limit is None:
            self.limit = free_bytes(self.device) // _SHARE
        self._kept[key] = value, size
        self.nbytes += size
        while self.nbytes > self.limit:
            _, (_, dropped) = self._kept.popitem(last=False)
            self.nbytes -= dropped
        return value


def _content(picture: np.ndarray) -> bytes:
    content = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(picture))
    return content.digest()
