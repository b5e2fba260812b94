"""A Flamingo's decoder layers on parallel copies of a last token, family by family.

These are the layers' own modules in their own order, so hooks on an attention's projection or an
MLP see what they always see.  The attention is that of copies, and copies that join at its output
projection are not run before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch

from mfv_dsl.models.branches import Branches
from mfv_dsl.models.parallel_attention import Past, attend

#: The cosines and sines of positions, each (prompts or 1, tokens or 1, width).
Rotation: TypeAlias = tuple[torch.Tensor, torch.Tensor]
#: Of (layer, past, branches, hidden states, what the family says of positions) the layer's output.
LayerOnCopies: TypeAlias = Callable[[Any, Past, Branches, torch.Tensor, Any], torch.Tensor]


def _gpt_neox(
    layer: Any, past: Past, branches: Branches, hidden: torch.Tensor, positions: Rotation | None
) -> torch.Tensor:
    """``GPTNeoXLayer.forward``; without ``positions`` the keys of the past are turned as the copies
    see them."""
    attention = layer.attention
    mixed = attention.query_key_value(layer.input_layernorm(hidden))
    by_head = mixed.unflatten(-1, (-1, 3 * attention.head_size)).transpose(1, 2)
    query, key, value = by_head.chunk(3, dim=-1)
    if positions is not None:
        query, key = _rotated(query, positions), _rotated(key, positions)
    before = branches.pass_through(attention, key, value)
    read = attend(query, key, value, past, attention.scaling, branch=before).flatten(2)
    hidden, read = branches.join(hidden), branches.join(read)
    attended = attention.dense(read)
    if layer.use_parallel_residual:
        parallel: torch.Tensor = layer.mlp(layer.post_attention_layernorm(hidden))
        return parallel + attended + hidden
    hidden = attended + hidden
    added: torch.Tensor = layer.mlp(layer.post_attention_layernorm(hidden))
    return added + hidden


def _rotated(states: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """``states`` (prompts, heads, tokens, head_dim), as many of their numbers turned as there are
    in ``rotation`` (arXiv:2104.09864)."""
    cosines, sines = (part[:, None] for part in rotation)
    turned, rest = states.split([cosines.shape[-1], states.shape[-1] - cosines.shape[-1]], dim=-1)
    first, second = turned.chunk(2, dim=-1)
    across = torch.cat([-second, first], dim=-1)
    return torch.cat([turned * cosines + across * sines, rest], dim=-1)


def _mpt(
    layer: Any, past: Past, branches: Branches, hidden: torch.Tensor, positions: Any
) -> torch.Tensor:
    """``MptBlock.forward``; ``positions(slots, device=...)`` (heads, 1, slots) is ALiBi's bias,
    seen from the last slot."""
    attention = layer.attn
    mixed = attention.Wqkv(layer.norm_1(hidden))
    if attention.clip_qkv:
        mixed = mixed.clamp(min=-attention.clip_qkv, max=attention.clip_qkv)
    query, key, value = (
        part.unflatten(-1, (attention.n_heads, -1)).transpose(1, 2) for part in mixed.chunk(3, -1)
    )
    before = branches.pass_through(attention, key, value)
    slots = past.keys.shape[2] + len(branches.rows)
    bias = positions(slots, device=past.keys.device)
    read = attend(query, key, value, past, attention.softmax_scale, bias, branch=before)
    hidden, read = branches.join(hidden), branches.join(read.flatten(2))
    hidden = attention.out_proj(read) + hidden
    output: torch.Tensor = layer.ffn(layer.norm_2(hidden), hidden)
    return output


#: By the name that a family of :mod:`mfv_dsl.models.families` gives.
LAYERS: Mapping[str, LayerOnCopies] = {"gpt_neox": _gpt_neox, "mpt": _mpt}
