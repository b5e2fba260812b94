"""Attention of parallel copies of a last token: to what came before, and each to itself alone.

Functions of tensors alone, in the form of transformers' attention interface, of its MPT's attention
and of open_flamingo's cross-attention.  Nothing of the prefix is copied per copy, and nothing of it
changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn.functional import pad

#: The name of :func:`attend_past` in transformers' attention interface.
PARALLEL = "mfv_parallel_copies"


class Past(NamedTuple):
    """One layer's keys and values of a prefix, (prompts, key-value heads, slots, head_dim).

    The last slot is empty: there each copy has its own key and value.  ``unseen``
    (prompts, 1, 1, slots) marks padding.
    """

    keys: torch.Tensor
    values: torch.Tensor
    unseen: torch.Tensor

    @classmethod
    def of(cls, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> Past:
        """``keys``, ``values`` (prompts, heads, length, head_dim), ``mask`` (prompts, length).  The
        number of slots is a multiple of eight, which matrix units like."""
        mask = mask.to(keys.device)
        left = -(mask.shape[1] + 1) % 8
        padding = mask[:, None, :, None] == 0
        return cls(
            pad(keys.masked_fill(padding, 0), (0, 0, left, 1)),
            pad(values.masked_fill(padding, 0), (0, 0, left, 1)),
            pad(pad(mask, (left, 0)), (0, 1), value=1)[:, None, None] == 0,
        )


class Media(NamedTuple):
    """One layer's cross-attention keys and values of the last image of each prompt,
    (prompts, heads, latents, head_dim); ``absent`` (prompts, 1, 1, 1) where there is none."""

    keys: torch.Tensor
    values: torch.Tensor
    absent: torch.Tensor

    @classmethod
    def of(cls, attention: Any, media: torch.Tensor, images: torch.Tensor) -> Media:
        """``media`` (prompts, images, latents, d_visual), ``images`` (prompts,) how many."""
        assert attention.only_attend_immediate_media
        device = attention.to_kv.weight.device
        last = media[torch.arange(len(media), device=media.device), (images - 1).clamp_min(0)]
        keys, values = (
            part.unflatten(-1, (attention.heads, -1)).transpose(1, 2).contiguous()
            for part in attention.to_kv(last.to(device)).chunk(2, dim=-1)
        )
        return cls(keys, values, (images == 0)[:, None, None, None].to(device))


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    before: Past,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of copies to a prefix and each to itself alone, (prompts, copies, heads, head_dim).

    ``query`` (prompts, heads, copies, head_dim), scaled; ``key`` and ``value`` with the key-value
    heads, which may be fewer; ``bias`` (heads, 1, slots) is added to the scores.
    """
    prompts, heads, copies, head_dim = query.shape
    groups = heads // key.shape[1]
    query = query.unflatten(1, (-1, groups))
    own = (query * key[:, :, None]).sum(-1)
    scores = query.flatten(2, 3) @ before.keys.transpose(-1, -2)
    scores[..., -1] = own.flatten(2)
    if bias is not None:
        bias_of_copies = bias.unflatten(0, (-1, groups)).expand(-1, -1, copies, -1)
        scores = scores + bias_of_copies.flatten(1, 2)
    scores = scores.masked_fill_(before.unseen, -torch.inf)
    weights = scores.softmax(-1).to(before.values.dtype)
    read = (weights @ before.values).unflatten(2, (groups, copies))
    own = weights[..., -1].unflatten(2, (groups, copies))
    out = read + own[..., None] * value[:, :, None]
    return out.reshape(prompts, heads, copies, head_dim).transpose(1, 2).contiguous()


def attend_past(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    past: Mapping[int, Past] | Sequence[Past],
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """:func:`attend` in transformers' interface.

    ``past`` has the prefix by layer; whoever calls the model passes it along.
    """
    return attend(query * scaling, key, value, past[cast(int, module.layer_idx)]), None


def attend_past_mpt(
    attention: Any, hidden_states: torch.Tensor, past: Past, bias: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, None]:
    """``MptAttention.forward`` of copies, (prompts, copies, d_model); ``bias`` (heads, 1, slots) is
    ALiBi's, seen from the last slot."""
    mixed = attention.Wqkv(hidden_states)
    if attention.clip_qkv:
        mixed = mixed.clamp(min=-attention.clip_qkv, max=attention.clip_qkv)
    query, key, value = (
        part.unflatten(-1, (attention.n_heads, -1)).transpose(1, 2) for part in mixed.chunk(3, -1)
    )
    read = attend(query * attention.softmax_scale, key, value, past, bias)
    return attention.out_proj(read.flatten(2)), None


def attend_media(
    attention: Any,
    x: torch.Tensor,
    media: Media,
    media_locations: object = None,
    use_cached_media: bool = True,
) -> torch.Tensor:
    """``MaskedCrossAttention.forward`` of copies that all see the last image, whose keys and values
    are there already.  ``x`` (prompts, copies, d_model)."""
    query = attention.to_q(attention.norm(x)) * attention.scale
    query = query.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
    weights = (query @ media.keys.transpose(-1, -2)).softmax(-1)
    out = (weights @ media.values).masked_fill(media.absent, 0.0)
    output: torch.Tensor = attention.to_out(out.transpose(1, 2).flatten(2))
    return output
