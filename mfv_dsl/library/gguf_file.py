"""What a GGUF file holds, read within its own bounds; its writer is the package gguf's.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes the format.  The package's
reader makes an object of every number of an array, so that a small file could take all memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MAGIC = b"GGUF"
_MOST = 1_000_000  # keys, texts of arrays, and tensors together
#: Types of values: what struct calls them; texts are 8, arrays 9.
_VALUES = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_TEXT, _ARRAY = 8, 9
#: Types of tensors whose numbers are read, and the names of all others.
_READ = {0: "f4", 1: "f2", 28: "f8", 30: "u2"}
_BFLOAT16 = 30
_NAMES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS",
    17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True)
class GgufTensor:
    """A tensor: its type's name, its shape as numpy has it, and its numbers, None for types that
    are not plain floating-point numbers."""

    type: str
    shape: tuple[int, ...]
    numbers: np.ndarray | None


@dataclass(frozen=True)
class GgufFile:
    """A file's values by key, None for arrays, and its tensors by name."""

    values: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]


def read_gguf(data: bytes) -> GgufFile:
    """What a GGUF file of version 2 or 3 holds.  ValueError says what is wrong with it."""
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._order = data, 0, "<"
        self._left, self._room = _MOST, len(data)

    def read(self) -> GgufFile:
        if self._take(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._number("I")
        if version & 0xFFFF == 0:  # it was written on a machine of the other byte order
            self._order, self._at = ">", 4
            version = self._number("I")
        if version not in (2, 3):
            raise ValueError(f"its version is {version}, and 2 and 3 are read")
        n_tensors, n_values = self._number("Q"), self._number("Q")
        values: dict[str, Any] = {}
        for _ in range(self._count(n_values)):
            key = self._text()
            if key in values:
                raise ValueError(f"it has the key `{key}` twice")
            values[key] = self._value(self._number("I"))
        described = [self._describe() for _ in range(self._count(n_tensors))]
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise ValueError(f"its alignment is {alignment!r}")
        start = -(-self._at // alignment) * alignment
        tensors: dict[str, GgufTensor] = {}
        for name, kind, shape, offset in described:
            if name in tensors:
                raise ValueError(f"it has the tensor `{name}` twice")
            numbers = self._numbers(name, kind, shape, start + offset)
            tensors[name] = GgufTensor(_NAMES.get(kind, f"type {kind}"), shape, numbers)
        return GgufFile(values, tensors)

    def _skip(self, size: int) -> int:
        """Move on; where it was before."""
        if size > len(self._data) - self._at:
            raise ValueError("it is cut off")
        self._at += size
        return self._at - size

    def _take(self, size: int) -> bytes:
        start = self._skip(size)
        return self._data[start : start + size]

    def _number(self, kind: str) -> Any:
        code = self._order + kind
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _count(self, count: int) -> int:
        """So many more parts, of which a file has not without end."""
        self._left -= count
        if self._left < 0:
            raise ValueError(f"it describes more than {_MOST:,} parts")
        return count

    def _text(self) -> str:
        return self._take(self._number("Q")).decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind != _ARRAY:
            return self._number(self._known(kind))
        kind, count = self._number("I"), self._number("Q")
        if kind == _ARRAY:
            raise ValueError("it has an array of arrays")
        if kind == _TEXT:
            for _ in range(self._count(count)):
                self._skip(self._number("Q"))
        else:
            self._skip(count * struct.calcsize(self._order + self._known(kind)))
        return None

    def _known(self, kind: int) -> str:
        if kind not in _VALUES:
            raise ValueError(f"it has a value of the unknown type {kind}")
        return _VALUES[kind]

    def _describe(self) -> tuple[str, int, tuple[int, ...], int]:
        """A tensor's name, type, shape and place, which is counted from where tensors begin."""
        name, axes = self._text(), self._number("I")
        if axes > 4:
            raise ValueError(f"`{name}` has {axes} axes")
        shape = tuple(self._number("Q") for _ in range(axes))[::-1]
        return name, self._number("I"), shape, self._number("Q")

    def _numbers(
        self, name: str, kind: int, shape: tuple[int, ...], start: int
    ) -> np.ndarray | None:
        if kind not in _READ:
            return None
        dtype, count = np.dtype(self._order + _READ[kind]), math.prod(shape)
        self._room -= count * dtype.itemsize
        if start + count * dtype.itemsize > len(self._data) or self._room < 0:
            raise ValueError(f"`{name}` does not lie within it")
        array: np.ndarray = np.frombuffer(self._data, dtype, count, start)
        if kind == _BFLOAT16:
            array = (array.astype("u4") << 16).view("f4")
        return array.reshape(shape)
