"""Heads whose outputs are patched in part, as edits that carry gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mfv_dsl.engine.edits import LAST, Edit, Positions
from mfv_dsl.methods.selection import Head


def partly_patched(
    heads: Sequence[Head],
    means: torch.Tensor,
    weights: torch.Tensor,
    positions: Positions = LAST,
) -> list[Edit]:
    """Edits that make of the output z of head h (1 - w_h) z + w_h m_h.

    ``means`` (heads, head_dim) are what is put in, ``weights`` (heads,) or (prompts, heads) how
    much of it; 1 is what :func:`~mfv_dsl.methods.evaluation.patching` does, to the bit, 0 nothing.
    """
    edits = []
    for layer in sorted({head[0] for head in heads}):
        rows = [i for i, head in enumerate(heads) if head[0] == layer]
        numbers = tuple(heads[i][1] for i in rows)
        share = weights[..., rows, None]
        edits += [
            Edit("lm.attn", layer, "scale", 1 - share, numbers, positions),
            Edit("lm.attn", layer, "add", share * means[rows], numbers, positions),
        ]
    return edits
