"""A vector file as numpy arrays and metadata; :mod:`vector_file` makes vectors of them.

Equal arrays and equal metadata give equal bytes.  Nothing here imports torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.library.header import (
    PARTS,
    content_hash,
    parse_header,
    read_file,
    read_header,
    unreadable_file,
)
from mfv_dsl.library.metadata import Unreadable, metadata_text, version_for

Arrays = Mapping[str, np.ndarray]
_DTYPES = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4")}


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a vector file, every value checked, and its metadata."""
    header, data = read_file(path)
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise unreadable_file(path, str(error)) from None
    if (fault := _fault(arrays, header.metadata["model"])) is not None:
        raise unreadable_file(path, fault)
    return arrays, dict(header.metadata)


@disk_trouble()
def write(path: Path, arrays: Arrays, metadata: Mapping[str, Any]) -> str:
    """Write a vector file atomically; returns its content hash.

    ``metadata`` is without what is filled in here: ``format_version``, the hashes, and
    ``created`` where it is not given: ``$SOURCE_DATE_EPOCH``, else now.  A file that says the same
    already, but for such a moment, is left as it is.  MFV6120 to MFV6124 where it cannot be
    written.
    """
    arrays = _stored(arrays)
    digest = hash_of(arrays)
    metadata = {**metadata, "format_version": version_for(metadata), "content_sha256": digest}
    moment = metadata.get("created") or _epoch()
    data = encode(arrays, {**metadata, "created": moment or _created(path) or _utc(time.time())})
    if path.is_file() and path.read_bytes() == data:
        return digest
    if moment is None:
        data = encode(arrays, {**metadata, "created": _utc(time.time())})
    write_atomically(path, data)
    return digest


def encode(arrays: Arrays, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a vector file; MFV6004 for metadata or arrays that do not belong in one."""
    try:
        data: bytes = save(dict(arrays), metadata={"mfv": metadata_text(metadata)})
        parse_header(data, len(data))
    except (Unreadable, ValueError, TypeError) as error:
        raise MfvError("MFV6004", f"a vector file cannot hold this: {error}") from None
    if (fault := _fault(arrays, metadata["model"])) is not None:
        raise MfvError("MFV6004", f"a vector file cannot hold this: {fault}")
    return data


def hash_of(arrays: Arrays) -> str:
    """The content hash of a file of these arrays."""
    return content_hash(
        (name, PARTS[name][0], array.shape, array.tobytes())
        for name, array in _stored(arrays).items()
    )


def _stored(arrays: Arrays) -> dict[str, np.ndarray]:
    return {
        name: np.ascontiguousarray(array, dtype=_DTYPES[PARTS[name][0]])
        for name, array in arrays.items()
    }


def _fault(arrays: Arrays, model: Mapping[str, Any]) -> str | None:
    """What no vector's values can be, in words; None if they can."""
    for name, array in arrays.items():
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            place = ", ".join(map(str, bad[0]))
            return f"`{name}` is not finite at [{place}]: {array[tuple(bad[0])]}"
    if "heads.index" not in arrays:
        return None
    index = arrays["heads.index"]
    bounds = [model.get("n_layers", np.iinfo(np.int32).max), model.get("n_heads", 2**31)]
    if (index < 0).any() or (index >= bounds).any():
        return "`heads.index` names heads that the model does not have"
    if len(np.unique(index, axis=0)) < len(index):
        return "`heads.index` names a head twice"
    return None


def _created(path: Path) -> str | None:
    """When the file that is there says it was made."""
    try:
        created: str = read_header(path).metadata["created"]
    except MfvError:
        return None
    return created


def _epoch() -> str | None:
    """The moment that ``$SOURCE_DATE_EPOCH`` names, for builds that are to be the same again."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return _utc(float(epoch)) if epoch else None


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
