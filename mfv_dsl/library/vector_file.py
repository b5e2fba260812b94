"""One vector as a safetensors file with one metadata key, ``mfv``, of canonical JSON.

The format is described in ``docs/vector-format.md``.  Reading checks bounds, format version,
shapes, dtypes, values and hashes, and refuses what does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mfv_dsl.library import stored
from mfv_dsl.library.sources import file_of
from mfv_dsl.methods.vectors import Space, Vector


@dataclass(frozen=True)
class StoredVector:
    """A vector and everything its file says of it."""

    vector: Vector
    metadata: Mapping[str, Any]


def save_vector(path: str | Path, vector: Vector, metadata: Mapping[str, Any]) -> str:
    """Write ``vector`` atomically; returns its content hash.

    ``metadata`` takes the keys of the format.  What the vector itself knows is filled in
    (``expression``, ``bias``, ``site``, its model's fingerprint and size, ``content_sha256``), and
    ``kind``, ``name`` and ``created`` where they are not given.  Keys of your own begin with
    ``x_``.  A file that says the same already is left as it is.
    """
    path = Path(path)
    return stored.write(path, arrays_of(vector), said_of(vector, metadata, path.stem))


def load_vector(path: str | Path, name: str | None = None) -> StoredVector:
    """Read a vector: a file, or the vector ``name`` of a library folder or of ``hf://org/repo``.

    An :class:`MfvError` says what is wrong with one that is not there or does not fit.
    """
    arrays, said = stored.read(file_of(str(path), name))
    return StoredVector(vector_of(arrays, said), said)


def said_of(vector: Vector, metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``metadata`` completed by what ``vector`` knows; ``name`` where it has none."""
    space = vector.space
    own = {"fingerprint": space.fingerprint, "d_model": space.d_model}
    return {
        "kind": "composed",
        "name": name,
        **metadata,
        "model": {**metadata.get("model", {}), **own},
        "expression": vector.expression,
        "bias": space.bias,
        "site": space.site,
    }


def arrays_of(vector: Vector) -> dict[str, np.ndarray]:
    """The arrays that a vector is stored as."""
    parts = {"residual": vector.residual}
    if vector.heads is not None:
        assert vector.head_means is not None and vector.head_projected is not None
        parts["heads.index"] = torch.tensor(vector.heads, dtype=torch.int32).reshape(-1, 2)
        parts["heads.mean"] = vector.head_means
        parts["heads.projected"] = vector.head_projected
        if vector.head_scores is not None:
            parts["heads.score"] = vector.head_scores
    return {name: part.detach().float().cpu().numpy() for name, part in parts.items()}


def vector_of(arrays: Mapping[str, np.ndarray], said: Mapping[str, Any]) -> Vector:
    """The vector that arrays and metadata of a file describe."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    heads = None
    if "heads.index" in tensors:
        heads = tuple((int(layer), int(head)) for layer, head in tensors["heads.index"].tolist())
    model = said["model"]
    return Vector(
        residual=tensors["residual"],
        space=Space(model["fingerprint"], model["d_model"], said["bias"], said["site"]),
        expression=said["expression"],
        heads=heads,
        head_means=tensors.get("heads.mean"),
        head_projected=tensors.get("heads.projected"),
        head_scores=tensors.get("heads.score"),
    )


def vector_hash(vector: Vector) -> str:
    """The content hash that a file of ``vector`` has."""
    return stored.hash_of(arrays_of(vector))
