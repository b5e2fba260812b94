"""Attention of a Flamingo's parallel copies that is not called through transformers' interface:
open_flamingo's cross-attention, and the self-attention of transformers' MPT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from mfv_dsl.models.parallel_attention import Past, attend


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

    @classmethod
    def joined(cls, parts: Sequence[Media]) -> Media:
        """Those of several batches as one, the prompts of all in turn."""
        return cls(*map(torch.cat, zip(*parts, strict=True)))


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
