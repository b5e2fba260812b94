"""How two stored vectors differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: keys that differ whenever anything does
_SEALS = ("content_sha256", "metadata_sha256")


def compare(
    one: tuple[Mapping[str, np.ndarray], Mapping[str, Any]],
    other: tuple[Mapping[str, np.ndarray], Mapping[str, Any]],
) -> dict[str, Any]:
    """Arrays and metadata of two vectors, side by side.

    ``equal`` says whether the numbers are; ``norms`` are the Euclidean lengths; ``cosine`` and
    ``max_difference`` are None for vectors of different sizes, ``cosine`` for one of length 0 too;
    ``metadata`` holds both values of every key that differs, nested keys joined by dots, None where
    one has none.
    """
    (left, says), (right, other_says) = one, other
    v, w = left["residual"].astype(np.float64), right["residual"].astype(np.float64)
    norms = [float(np.linalg.norm(v)), float(np.linalg.norm(w))]
    comparable = v.shape == w.shape
    mine, theirs = _flat(says), _flat(other_says)
    keys = sorted({key for key in {**mine, **theirs} if key not in _SEALS})
    return {
        "equal": says["content_sha256"] == other_says["content_sha256"],
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
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return found
