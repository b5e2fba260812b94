"""Vectors and files that the library's tests share."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from mfv_dsl.library.stored import encode

CREATED = "2026-01-02T03:04:05Z"
MODEL = {"id": "tiny", "fingerprint": "abc", "d_model": 6, "n_layers": 4, "n_heads": 4}


def arrays(heads: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a small vector, with two heads if ``heads``."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    found = {"residual": drawn(6)}
    if heads:
        found |= {
            "heads.index": np.array([[1, 0], [2, 3]], dtype=np.int32),
            "heads.mean": drawn(2, 5), "heads.projected": drawn(2, 6), "heads.score": drawn(2),
        }  # fmt: skip
    return found


def said(**more: Any) -> dict[str, Any]:
    """Metadata without the hashes."""
    return {
        "format_version": "1.0", "name": "left", "kind": "extracted", "expression": "fv(left)",
        "model": MODEL, "site": "lm.resid", "bias": "none", "created": CREATED, **more,
    }  # fmt: skip


def good_file(**more: Any) -> bytes:
    """The bytes of a sound vector file, with heads, an é and a parent in its metadata."""
    from mfv_dsl.library.stored import hash_of

    parts = arrays()
    parent = {"name": "fv(é)", "hash": "0" * 64, "coefficient": 0.5, "kind": "extracted"}
    return encode(parts, said(content_sha256=hash_of(parts), parents=[parent], **more))


def opened(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The header without its metadata, the metadata, and the tensors' bytes of a file."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header.pop("__metadata__")["mfv"]), data[8 + length :]


def packed(text: str, body: bytes) -> bytes:
    """A file of a header and a body, padded as safetensors does."""
    text += " " * (-len(text.encode()) % 8)
    return struct.pack("<Q", len(text.encode())) + text.encode() + body


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
