"""The head of a vector file, read with nothing but json: enough for ``mfv check``, and the bounds
within which the rest is read.

A safetensors file is eight bytes of length, that many bytes of JSON, then the tensors' bytes
without a gap.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import open_regular
from mfv_dsl.base.short import Short
from mfv_dsl.library.metadata import Unreadable, read_metadata, strict_json

LARGEST = 512 << 20  # bytes of a file; all 5,120 heads of a model 8,192 wide take 168 MiB
LARGEST_HEADER = 1 << 20

#: The tensors of a vector: dtype and shape; k is the number of heads, and `numbers` is d_model,
#: times the number of places where there are several.
PARTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "residual": ("F32", ("numbers",)),
    "heads.index": ("I32", ("k", "2")),
    "heads.mean": ("F32", ("k", "head_dim")),
    "heads.projected": ("F32", ("k", "d_model")),
    "heads.score": ("F32", ("k",)),
}
_WITH_HEADS = ("heads.index", "heads.mean", "heads.projected")


@dataclass(frozen=True)
class Part:
    """One tensor: dtype, shape, and its first byte and the one after its last, from the file's
    start."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, repr=False)
class Header(Short):
    """What a vector file says of itself, and where its tensors are."""

    metadata: Mapping[str, Any]
    parts: Mapping[str, Part]

    @property
    def has_parts(self) -> bool:
        """Whether the vector keeps its per-head parts."""
        return "heads.index" in self.parts


def read_header(path: Path) -> Header:
    """The header of a vector file; neither its content nor the hash of it is looked at.

    Raises MFV6001 where there is no file, MFV6002 or MFV6003 where there is another one.
    """
    return _read(path, with_content=False)[0]


def read_file(path: Path) -> tuple[Header, bytes]:
    """The header of a vector file and all of its bytes, which match its hash; raises likewise."""
    return _read(path, with_content=True)


def unreadable_file(path: object, why: str) -> MfvError:
    """MFV6002, as an error to raise."""
    return MfvError("MFV6002", f"cannot read the vector file {path}: {why}")


def content_hash(parts: Iterable[tuple[str, str, Sequence[int], bytes]]) -> str:
    """SHA-256 over (name, dtype, shape, bytes) of tensors, sorted by name.

    Of each: a line ``name dtype [size, size]``, ended by a line feed, then the bytes as stored.
    """
    digest = hashlib.sha256()
    for name, dtype, shape, data in sorted(parts):
        digest.update(f"{name} {dtype} {list(shape)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def stored_hash(header: Header, data: bytes) -> str:
    """The content hash of a file's tensors."""
    return content_hash(
        (name, part.dtype, part.shape, data[part.start : part.stop])
        for name, part in header.parts.items()
    )


def parse_header(data: bytes, size: int, path: object = "a vector file") -> Header:
    """The header of a file of ``size`` bytes that begins with ``data``; :class:`Unreadable` says
    what does not fit."""
    text = _text(data, size)
    tree = strict_json(text.rstrip(" "), "its header")
    if not isinstance(tree, dict) or not isinstance(tree.get("__metadata__", {}), dict):
        raise Unreadable("its header is not that of a safetensors file")
    texts = tree.pop("__metadata__", {})
    if list(texts) != ["mfv"] or not isinstance(texts["mfv"], str):
        raise Unreadable("its one metadata key is not `mfv`: it is not a vector of mfv-dsl")
    if json.dumps({"__metadata__": texts, **tree}, separators=(",", ":")) != text.rstrip(" "):
        raise Unreadable("its header is not written in the canonical form")
    metadata = read_metadata(texts["mfv"], path)
    start = 8 + len(text)
    parts = {name: _part(name, entry, start) for name, entry in tree.items()}
    _check_layout(parts, start, size)
    _check_shapes(parts, metadata)
    return Header(metadata, parts)


def _read(path: Path, with_content: bool) -> tuple[Header, bytes]:
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                raise Unreadable(f"the file is larger than {LARGEST >> 20} MiB")
            data = file.read(8)
            data += file.read(_length(data, size))
            header = parse_header(data, size, path)
            if with_content:
                data += file.read(size - len(data))
    except FileNotFoundError:
        raise MfvError("MFV6001", f"there is no vector file {path}") from None
    except OSError as error:
        raise unreadable_file(path, error.strerror or str(error)) from None
    except Unreadable as error:
        raise unreadable_file(path, str(error)) from None
    if with_content and (
        len(data) != size or stored_hash(header, data) != header.metadata["content_sha256"]
    ):
        raise unreadable_file(
            path, "its content does not match its hash: it was changed or damaged"
        )
    return header, data


def _length(data: bytes, size: int) -> int:
    """How long the header is, which must lie within the file and within reason."""
    if len(data) < 8:
        raise Unreadable("it is too short to be a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > min(size - 8, LARGEST_HEADER):
        raise Unreadable(f"its header would be {length:,} bytes long")
    return length


def _text(data: bytes, size: int) -> str:
    length = _length(data, size)
    if len(data) < 8 + length or length % 8:
        raise Unreadable("its header is cut off")
    try:
        return data[8 : 8 + length].decode("ascii")
    except UnicodeDecodeError:
        raise Unreadable("its header is not ASCII") from None


def _part(name: str, entry: Any, start: int) -> Part:
    if name not in PARTS:
        raise Unreadable(f"it has an unknown tensor `{name}`")
    if not isinstance(entry, dict) or list(entry) != ["dtype", "shape", "data_offsets"]:
        raise Unreadable(f"its header does not describe `{name}` as it must")
    dtype, shape, offsets = entry.values()
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [-1]
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in numbers):
        raise Unreadable(f"its header does not describe `{name}` as it must")
    if dtype != PARTS[name][0]:
        raise Unreadable(f"`{name}` has dtype {dtype}, expected {PARTS[name][0]}")
    if len(offsets) != 2 or offsets[1] - offsets[0] != 4 * math.prod(shape):
        raise Unreadable(f"`{name}` does not have the size that its shape gives")
    return Part(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _check_layout(parts: Mapping[str, Part], start: int, size: int) -> None:
    """The tensors follow one another in the order named, up to the file's end."""
    for name, part in parts.items():
        if part.start != start:
            raise Unreadable(f"`{name}` overlaps another tensor, or leaves a gap")
        start = part.stop
    if start != size:
        raise Unreadable(f"it is {size:,} bytes long, and its header describes {start:,}")


def _check_shapes(parts: Mapping[str, Part], metadata: Mapping[str, Any]) -> None:
    model = metadata["model"]
    if "residual" not in parts:
        raise Unreadable("it lacks the tensor `residual`")
    if any(name != "residual" for name in parts):
        for name in _WITH_HEADS:
            if name not in parts:
                raise Unreadable(f"it lacks the tensor `{name}`")
    places = metadata.get("places", [])
    if places and metadata["format_version"].startswith("1."):
        raise Unreadable("it has `places`, and files of format 1 have none")
    if places and "heads.index" in parts:
        raise Unreadable("it has both `places` and per-head parts")
    if places != sorted(places, key=lambda place: place[::-1]) or len({*map(tuple, places)}) < len(
        places
    ):
        raise Unreadable("its `places` are not each once, sorted by layer, then by site")
    numbers = model["d_model"] * max(1, len(places))
    sizes = {"d_model": model["d_model"], "numbers": numbers, "2": 2}
    if "head_dim" in model:
        sizes["head_dim"] = model["head_dim"]
    for name in (name for name in PARTS if name in parts):
        shape, axes = parts[name].shape, PARTS[name][1]
        fits = len(shape) == len(axes) and all(
            size == sizes.setdefault(axis, size) and size > 0
            for axis, size in zip(axes, shape, strict=True)
        )
        if not fits:
            expected = ", ".join(str(sizes.get(axis, axis)) for axis in axes)
            raise Unreadable(f"`{name}` has shape {shape}, expected ({expected})")
