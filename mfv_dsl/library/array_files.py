"""Files that hold arrays and nothing else: numpy's, safetensors, GGUF control vectors.

Readers raise ValueError, or what their library raises, for files that are damaged.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from mfv_dsl.library.gguf_file import read_gguf
from mfv_dsl.library.torch_file import open_zip

_SHOWN = 8  # names that a message has
#: Keys of a GGUF file that say how its directions are to be used, by their last word.
_MODES = ("mode", "action", "operation", "op", "method")
#: Keys, behind the architecture's name, that say nothing of how.
_HINTS = ("model_hint", "layer_count")


class Unfit(Exception):
    """A file that could be read, of vectors that are not to be added; the second text is what to
    do about it."""


def directions(data: bytes) -> tuple[dict[int, np.ndarray], list[str]]:
    """The directions of a GGUF control vector by layer, and remarks on what was not understood."""
    file = read_gguf(data)
    for key, value in file.values.items():
        if key.rpartition(".")[2].lower() in _MODES and str(value).lower() != "add":
            raise Unfit(
                f"`{key}` is `{str(value)[:40]}`: its directions are meant for something other "
                "than to be added",
                "only what is added is a vector",
            )
    vectors: dict[int, np.ndarray] = {}
    others = []
    for name, tensor in file.tensors.items():
        word, _, number = name.partition(".")
        if word != "direction" or not number.isascii() or not number.isdecimal():
            others.append(name)
            continue
        if tensor.numbers is None:
            raise Unfit(
                f"`{name}` is {tensor.type}; F32, F16, BF16 and F64 are read",
                "make the control vector anew, without quantization",
            )
        if len(number) > 6 or int(number) in vectors:
            raise Unfit(f"`{name}` is of a layer that cannot be, or of one for a second time", "")
        vectors[int(number)] = tensor.numbers
    if not vectors:
        raise Unfit("there are no directions of a control vector (`direction.4`)", "")
    if others:
        names = ", ".join(others[:_SHOWN])
        raise Unfit(f"there are other tensors beside its directions: {names}", "")
    return vectors, _remarks(file.values)


def _remarks(values: Any) -> list[str]:
    architecture = values.get("general.architecture")
    unknown = [
        key for key in values
        if not key.startswith("general.") and key.partition(".")[2] not in _HINTS
    ]  # fmt: skip
    remarks = []
    if architecture != "controlvector":
        remarks.append(f"its architecture is {architecture!r}, not 'controlvector'")
    if unknown:
        remarks.append(f"its keys {', '.join(unknown[:_SHOWN])} were not understood")
    return remarks


def numpy_array(data: bytes) -> np.ndarray:
    """The array of a ``.npy`` file, a view of its bytes."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)  # fmt: skip
    if read is None:
        raise ValueError(f"its version is {version}")
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds objects, not numbers")
    count = int(np.prod(shape, dtype=object))
    if count < 0 or count * dtype.itemsize > len(data) - file.tell():
        raise ValueError("it is cut off")
    array: np.ndarray = np.frombuffer(data, dtype, count, file.tell())
    return array.reshape(shape, order="F" if fortran else "C")


def numpy_archive(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file; empty for another archive."""
    with open_zip(data) as file:
        names = file.namelist()
        if not names or any(not name.endswith(".npy") for name in names):
            return {}
        return {name.removesuffix(".npy"): numpy_array(file.read(name)) for name in names}


def safetensors(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file; bfloat16 and 8-bit numbers come as float32."""
    import torch
    from safetensors.torch import load

    tensors = load(data)
    if "residual" in tensors and b'"mfv":' in data[: 1 << 20]:
        raise ValueError("it is a vector of mfv-dsl: copy it into the library")
    floats = {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}
    return {
        name: (tensor.float() if tensor.dtype in floats else tensor).numpy()
        for name, tensor in tensors.items() if not tensor.is_complex()
    }  # fmt: skip
