"""One vector as a safetensors file with one metadata key, ``mfv``, of canonical JSON.

The format is described in ``docs/vector-format.md``.  Reading checks bounds, format version,
shapes, dtypes, values and hashes, and refuses what does not fit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import user_path
from mfv_dsl.base.short import Short
from mfv_dsl.library import stored
from mfv_dsl.library.sources import file_of
from mfv_dsl.methods.vectors import Space, Vector


@dataclass(frozen=True, repr=False)
class StoredVector(Short):
    """A vector and everything its file says of it: the keys of ``docs/vector-format.md``."""

    vector: Vector
    metadata: Mapping[str, Any]


def save_vector(path: str | Path, vector: Vector, metadata: Mapping[str, Any]) -> str:
    """Write a vector atomically.

    Args:
        path: The file, ``<name>.safetensors``.  One that says the same already is left as it is.
        vector: ``residual`` (d_model,), and where it has them its per-head parts.
        metadata: Keys of the format.  What the vector itself knows is filled in (``expression``,
            ``bias``, ``site``, its model's fingerprint and size, ``content_sha256``), and ``kind``,
            ``name`` and ``created`` where they are left out.  Keys of your own begin with ``x_``.

    Returns:
        The content hash of its arrays: SHA-256, 64 hexadecimal digits.

    Raises:
        MfvError: MFV6004 for metadata or arrays that a vector file cannot hold.

    >>> left = load_vector("vectors/flamingo-tiny", "left").vector
    >>> save_vector("twice_left.safetensors", 2 * left, {"relation": "left", "x_by": "me"})
    """
    if not isinstance(vector, Vector):
        why = f"it is a {type(vector).__name__}, not a Vector"
        raise _cannot_save(why, "the vector of an expression is its `.vector()`")
    for what, value in (("metadata", metadata), ("`model` in the metadata", _model(metadata))):
        if not isinstance(value, Mapping):
            raise _cannot_save(f"{what} is a {type(value).__name__}, not a mapping of keys")
    if not isinstance(path, str | os.PathLike):
        raise _cannot_save(f"its path is a {type(path).__name__}, not a text or a path")
    path = user_path(path)
    return stored.write(path, arrays_of(vector), metadata_of(vector, metadata, path.stem))


def _model(metadata: Any) -> Any:
    return metadata.get("model", {}) if isinstance(metadata, Mapping) else {}


def _cannot_save(why: str, help: str | None = None) -> MfvError:
    return MfvError("MFV6004", f"a vector file cannot hold this: {why}", help=help)


def load_vector(path: str | Path, name: str | None = None) -> StoredVector:
    """Read a vector, every value checked.

    Args:
        path: A ``.safetensors`` file, a library folder, or ``hf://org/repo``, with ``@revision`` if
            not its main branch.  What is not on this machine yet is downloaded.
        name: Which vector of a library; a file takes none.

    Raises:
        MfvError: MFV6001 where it is not there, MFV6002 and MFV6003 where the file cannot be read
            or holds something else, MFV6014 for a name that is missing or too much, MFV6015 and
            MFV6030 to MFV6034 for what the Hub answers.

    >>> stored = load_vector("vectors/flamingo-tiny", "left")
    >>> stored.vector.residual.shape, stored.metadata["relation"]
    (torch.Size([128]), 'left')
    """
    arrays, metadata = stored.read(file_of(str(path), name))
    return StoredVector(vector_of(arrays, metadata), metadata)


def metadata_of(vector: Vector, metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``metadata`` completed by what ``vector`` knows; ``name`` where it has none."""
    space = vector.space
    own = {"fingerprint": space.fingerprint, "d_model": space.d_model}
    metadata = {name: value for name, value in metadata.items() if name != "places"}
    if space.places:
        metadata["places"] = [list(place) for place in space.places]
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


def vector_of(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Vector:
    """The vector that arrays and metadata of a file describe."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    heads = None
    if "heads.index" in tensors:
        heads = tuple((int(layer), int(head)) for layer, head in tensors["heads.index"].tolist())
    model = metadata["model"]
    return Vector(
        residual=tensors["residual"],
        space=Space(
            model["fingerprint"],
            model["d_model"],
            metadata["bias"],
            metadata["site"],
            tuple((site, layer) for site, layer in metadata.get("places", ())),
        ),
        expression=metadata["expression"],
        heads=heads,
        head_means=tensors.get("heads.mean"),
        head_projected=tensors.get("heads.projected"),
        head_scores=tensors.get("heads.score"),
    )


def vector_hash(vector: Vector) -> str:
    """The content hash that a file of ``vector`` has."""
    return stored.hash_of(arrays_of(vector))
