"""Choosing attention heads by a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Head = tuple[int, int]


def top_heads(scores: Sequence[np.ndarray], k: int) -> tuple[Head, ...]:
    """The ``k`` heads with the largest mean of ``scores``, each (layers, heads), best first.

    Equal scores are ordered by layer, then head, so that the choice never depends on chance.
    """
    mean = np.mean(scores, axis=0)
    order = np.argsort(-mean, axis=None, kind="stable")[:k]
    layers, heads = np.unravel_index(order, mean.shape)
    return tuple((int(layer), int(head)) for layer, head in zip(layers, heads, strict=True))
