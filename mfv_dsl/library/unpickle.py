"""Pickles of tensors, arrays and plain containers, read without running anything of theirs.

A pickle is a program.  This one may only build numbers, texts, lists, tuples, dicts and sets, and
call a handful of functions, which are written here and stand for those of torch and numpy that
tensors and arrays are pickled with.  Everything else is refused before or while it is read.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.header import LARGEST

_ARRAY = "numpy.ndarray"  # what stands for the class, which would allocate what it is asked to
_CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


def read_pickle(data: bytes, name: object) -> Any:
    """What a pickle holds; arrays come as :class:`Array`.  MFV6042 for one that wants more."""
    try:
        _check_opcodes(data)
        return _Reader(io.BytesIO(data)).load()
    except _Refused as error:
        raise MfvError(
            "MFV6042",
            f"{name} is a pickle that would do more than hold numbers: {error}",
            help="nothing of it was run; save the numbers as .npy",
        ) from None
    except Exception as error:  # whatever a malformed program ends with
        why = f"{type(error).__name__}: {error}"
        raise MfvError("MFV6041", f"{name} cannot be read as a pickle: {why}") from None


def as_tensor(value: Any) -> torch.Tensor | None:
    """A tensor or array that came out of a pickle, as float32; None for other things, among them
    tensors without numbers of their own, or with more than a file may have."""
    if isinstance(value, Array) and value.value is not None:
        value = torch.from_numpy(value.value.astype(np.float32))
    if not isinstance(value, torch.Tensor) or value.device.type != "cpu" or value.is_complex():
        return None
    if value.layout is not torch.strided or value.is_quantized or 4 * value.numel() > LARGEST:
        return None
    return value.detach().float()


class Array:
    """A numpy array as it is pickled: made empty, then filled."""

    __slots__ = ("value",)

    def __init__(self, value: np.ndarray | None = None) -> None:
        self.value = value

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        self.value = _shaped(data, dtype, shape, "F" if fortran else "C")


class _Dtype:
    """A numpy dtype as it is pickled: a code, then its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        if code not in _CODES:
            raise _Refused(f"it holds an array of `{code}`")
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise _Refused("it holds an array of an unknown byte order")
        self.order = state[1]

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class _Refused(Exception):
    pass


class _Call:
    """A function that a pickle may call and can do nothing else with."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise _Refused("it would change a function")


def _reconstruct(kind: Any, shape: Any, code: Any) -> Array:
    if kind != _ARRAY or tuple(shape) != (0,):
        raise _Refused("it would make an array in another way than numpy does")
    return Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    return Array(_shaped(data, dtype, shape, order))


def _scalar(dtype: Any, data: Any) -> float:
    return float(_shaped(data, dtype, (), "C"))


def _shaped(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise _Refused("it holds an array of objects")
    flat: np.ndarray = np.frombuffer(data, dtype.numpy())
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes as protocol 2 writes them."""
    if encoding != "latin1":
        raise _Refused(f"it would encode text as {encoding}")
    return str(text).encode("latin1")


def _storage(data: Any) -> Any:
    """A tensor's numbers, which torch pickles as a file of its own inside the pickle."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """A view of a storage, which torch holds against the storage's size."""
    if not isinstance(storage, torch.storage.TypedStorage):
        raise _Refused("it holds a tensor without numbers")
    tensor: torch.Tensor = torch._utils._rebuild_tensor_v2(  # type: ignore[no-untyped-call]
        storage, offset, tuple(size), tuple(stride), False, OrderedDict()
    )
    return tensor


def _parameter(data: Any, *_: Any) -> Any:
    return data


_ALLOWED: Mapping[str, Any] = {
    "collections.OrderedDict": _Call(dict),
    "_codecs.encode": _Call(_encode),
    **{
        f"{module}.{name}": _Call(function)
        for module in ("builtins", "__builtin__")
        for name, function in (("set", set), ("bytes", lambda: b""))
    },
    "numpy.ndarray": _ARRAY,
    "numpy.dtype": _Call(lambda code, align, copy: _Dtype(code)),
    "torch._utils._rebuild_tensor_v2": _Call(_tensor),
    "torch._utils._rebuild_parameter": _Call(_parameter),
    "torch.storage._load_from_bytes": _Call(_storage),
    **{
        f"numpy.{core}.{name}": _Call(function)
        for core in ("core", "_core")
        for name, function in (
            ("multiarray._reconstruct", _reconstruct), ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _frombuffer),
        )
    },
}  # fmt: skip


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ALLOWED:
            raise _Refused(f"it would use {module}.{name}")
        return _ALLOWED[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _Refused("it refers to something outside itself")


def _check_opcodes(data: bytes) -> None:
    """Refuse what would make the reader itself take memory without end, or look elsewhere."""
    most = len(data)
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"):
            raise _Refused(f"it uses the opcode {opcode.name}")
        if opcode.name in ("PUT", "LONG_BINPUT") and (argument or 0) > most:
            raise _Refused("it numbers its parts beyond its size")
