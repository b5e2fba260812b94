"""How two stored vectors differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: keys that differ whenever anything does
_SEALS = ("content_sha256", "metadata_sha256")


def compare(
    left: tuple[Mapping[str, np.ndarray], Mapping[str, Any]],
    right: tuple[Mapping[str, np.ndarray], Mapping[str, Any]],
) -> dict[str, Any]:
    """Arrays and metadata of two vectors, side by side.

    ``equal`` says whether the numbers are; ``norms`` are the Euclidean lengths; ``cosine`` and
    ``max_difference`` are None for vectors of different sizes, ``cosine`` for one of length 0 too;
    ``metadata`` holds both values of every key that differs, nested keys joined by dots, None where
    one has none.
    """
    (left_arrays, left_metadata), (right_arrays, right_metadata) = left, right
    v, w = (arrays["residual"].astype(np.float64) for arrays in (left_arrays, right_arrays))
    norms = [float(np.linalg.norm(v)), float(np.linalg.norm(w))]
    comparable = v.shape == w.shape
    mine, theirs = _flat(left_metadata), _flat(right_metadata)
    keys = sorted({key for key in {**mine, **theirs} if key not in _SEALS})
    return {
        "equal": left_metadata["content_sha256"] == right_metadata["content_sha256"],
        "norms": norms,
        "cosine": float(v @ w / (norms[0] * norms[1])) if comparable and all(norms) else None,
        "max_difference": float(np.abs(v - w).max()) if comparable else None,
        "metadata": {
            key: [mine.get(key), theirs.get(key)]
            for key in keys
            if mine.get(key) != theirs.get(key)
        },
    }


def _flat(tree: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """The leaves of ``tree`` by their keys, joined by dots."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return leaves
