"""One vector as a safetensors file with one metadata key, ``mfv``, of canonical JSON.

One key, because safetensors writes several in random order; with one, equal vectors give equal
files.  Reading checks format version, shapes and content hash, and refuses what does not fit.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mfv_dsl.lang.diagnostics import MfvError
from mfv_dsl.library.files import write_atomically
from mfv_dsl.methods.vectors import Space, Vector

FORMAT_VERSION = "1.0"
_LARGEST = 64 * 1024 * 1024  # bytes; a vector with 1,000 heads of a 100,000-wide model is smaller


@dataclass(frozen=True)
class StoredVector:
    """A vector and everything its file says of it."""

    vector: Vector
    metadata: Mapping[str, Any]


def save_vector(path: str | Path, vector: Vector, metadata: Mapping[str, Any]) -> str:
    """Write ``vector`` atomically; returns its content hash.

    ``metadata`` takes the keys of the format except those this function fills in itself:
    ``format_version``, ``expression``, ``bias``, ``content_sha256`` and ``created``.  A file that
    says the same already is left as it is.
    """
    tensors = _tensors(vector)
    digest = content_hash(tensors)
    said = {
        **metadata,
        "format_version": FORMAT_VERSION,
        "expression": vector.expression,
        "bias": vector.space.bias,
        "content_sha256": digest,
    }
    if _says(Path(path), said):
        return digest
    said["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    write_atomically(Path(path), save(tensors, metadata={"mfv": text}))
    return digest


def load_vector(path: str | Path) -> StoredVector:
    """Read a vector file; an :class:`MfvError` says what is wrong with one that does not fit."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise _refused(path, f"the file is larger than {_LARGEST >> 20} MiB")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise MfvError("MFV6001", f"there is no vector file {path}") from None
    except (OSError, SafetensorError) as error:
        raise _refused(path, str(error)) from None
    said = _parsed(path, metadata)
    _check(path, tensors, said)
    model = said["model"]
    heads = None
    if "heads.index" in tensors:
        heads = tuple((int(layer), int(head)) for layer, head in tensors["heads.index"].tolist())
    vector = Vector(
        residual=tensors["residual"],
        space=Space(model["fingerprint"], model["d_model"], said["bias"]),
        expression=said["expression"],
        heads=heads,
        head_means=tensors.get("heads.mean"),
        head_projected=tensors.get("heads.projected"),
        head_scores=tensors.get("heads.score"),
    )
    return StoredVector(vector, said)


def content_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over name, dtype, shape and bytes of the tensors, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _says(path: Path, said: Mapping[str, Any]) -> bool:
    """Whether a sound vector file says all this, but for when it was made."""
    try:
        stored = load_vector(path).metadata
    except MfvError:
        return False
    plain = json.loads(json.dumps(said))
    return {name: value for name, value in stored.items() if name != "created"} == plain


def _tensors(vector: Vector) -> dict[str, torch.Tensor]:
    tensors = {"residual": vector.residual.float().contiguous()}
    if vector.heads is not None:
        assert vector.head_means is not None and vector.head_projected is not None
        tensors["heads.index"] = torch.tensor(vector.heads, dtype=torch.int32).reshape(-1, 2)
        tensors["heads.mean"] = vector.head_means.float().contiguous()
        tensors["heads.projected"] = vector.head_projected.float().contiguous()
        if vector.head_scores is not None:
            tensors["heads.score"] = vector.head_scores.float().contiguous()
    return tensors


def _parsed(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if set(metadata) - {"format"} != {"mfv"}:
        raise _refused(path, "it has no metadata key `mfv`: it is not a vector of mfv-dsl")
    try:
        said = json.loads(metadata["mfv"])
    except ValueError:
        raise _refused(path, "its metadata is not JSON") from None
    if not isinstance(said, dict):
        raise _refused(path, "its metadata is not a JSON object")
    version = said.get("format_version")
    if not isinstance(version, str) or version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise MfvError(
            "MFV6003",
            f"{path} is of format version {version}, this mfv-dsl reads {FORMAT_VERSION}",
            help="upgrade mfv-dsl",
        )
    model = said.get("model")
    for owner, key, kind in (
        (said, "bias", str), (said, "expression", str), (said, "content_sha256", str),
        (model, "fingerprint", str), (model, "d_model", int),
    ):  # fmt: skip
        if not isinstance(owner, dict) or not isinstance(owner.get(key), kind):
            raise _refused(path, f"its metadata lacks `{key}`")
    return said


def _check(path: Path, tensors: Mapping[str, torch.Tensor], said: Mapping[str, Any]) -> None:
    size = said["model"]["d_model"]
    parts = tensors.get("heads.index")
    k = 0 if parts is None else len(parts)
    shapes: dict[str, tuple[int | None, ...]] = {
        "residual": (size,), "heads.index": (k, 2), "heads.mean": (k, None),
        "heads.projected": (k, size), "heads.score": (k,),
    }  # fmt: skip
    needed = {"residual"} if parts is None else {"residual", "heads.mean", "heads.projected"}
    for name in sorted(needed - set(tensors)):
        raise _refused(path, f"it lacks the tensor `{name}`")
    for name, tensor in tensors.items():
        if name not in shapes:
            raise _refused(path, f"it has an unknown tensor `{name}`")
        wanted = shapes[name]
        fits = tensor.ndim == len(wanted) and all(
            want is None or want == have for want, have in zip(wanted, tensor.shape, strict=True)
        )
        if not fits:
            raise _refused(path, f"`{name}` has shape {tuple(tensor.shape)}, expected {wanted}")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise _refused(path, f"`{name}` holds values that are not finite")
    if content_hash(tensors) != said["content_sha256"]:
        raise _refused(path, "its content does not match its hash: it was changed or damaged")


def _refused(path: Path, why: str) -> MfvError:
    return MfvError("MFV6002", f"cannot read the vector file {path}: {why}")
