"""Attention of a last token that is recorded, and of its copies that are run again.

Both functions have the form of transformers' attention interface.  A model never runs a whole
prompt under them: the prompt runs under the model's own attention, its last token once under
:func:`record`, and copies of the last token under :func:`replay`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mfv_dsl.models.parallel_attention import Past, attend

RECORD, REPLAY = "mfv_record_last_token", "mfv_replay_last_token"


@dataclass
class Recording:
    """What self-attention modules look back on, by the module's identity; ``modules`` are those
    that are recorded."""

    modules: frozenset[int] = frozenset()
    past: dict[int, Past] = field(default_factory=dict)


_CURRENT: ContextVar[Recording | None] = ContextVar("recording", default=None)


@contextmanager
def recording(state: Recording) -> Iterator[Recording]:
    """Within the block, ``state`` is what attention is recorded into or replayed from."""
    token = _CURRENT.set(state)
    try:
        yield state
    finally:
        _CURRENT.reset(token)


def register() -> None:
    """Enter both into transformers' interfaces of attention and of masks."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(RECORD, record)
    AttentionInterface.register(REPLAY, replay)
    # without a function for its mask an attention gets none, in silence
    AttentionMaskInterface.register(RECORD, sdpa_mask)


def plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    mask: torch.Tensor | None, scaling: float, softcap: float | None,
) -> torch.Tensor:  # fmt: skip
    """Attention of ``query`` (rows, heads, length, head_dim) to fewer or as many heads of keys and
    values; (rows, length, heads, head_dim).  ``mask`` is boolean (seen) or added to the scores."""
    length, groups = query.shape[2], query.shape[1] // key.shape[1]
    grouped = (query * scaling).unflatten(1, (-1, groups)).flatten(2, 3)
    scores = _capped(grouped @ key.transpose(-1, -2), softcap).unflatten(2, (groups, length))
    if mask is not None:
        mask = mask[:, :, None, :, : key.shape[2]]
        is_seen = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if is_seen else scores + mask
    weights = _softmax(scores).to(value.dtype)
    out = (weights.flatten(2, 3) @ value).unflatten(2, (groups, length))
    return out.flatten(1, 2).transpose(1, 2).contiguous()


def _capped(scores: torch.Tensor, softcap: float | None) -> torch.Tensor:
    return scores if softcap is None else (scores / softcap).tanh() * softcap


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    """In float32 at least, as the models do it."""
    return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def record(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The last token's attention; keeps what a recorded module looked back on."""
    state = _CURRENT.get()
    if state is not None and id(module) in state.modules:
        prompts, slots = key.shape[0], key.shape[2]
        unseen = torch.zeros(prompts, 1, 1, slots, dtype=torch.bool, device=key.device)
        if attention_mask is not None:
            mask = attention_mask[..., :slots]
            if mask.dtype != torch.bool:
                mask = mask > torch.finfo(mask.dtype).min / 2
            unseen = ~mask[:, :1, -1:].expand(prompts, 1, 1, slots)
        keys, values = key.clone(), value.clone()
        keys[:, :, -1] = 0  # the place of each copy's own
        values[:, :, -1] = 0
        state.past[id(module)] = Past(keys, values, unseen)
    return plain(query, key, value, attention_mask, scaling, softcap), None


def replay(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of copies of the last token: each sees the recorded past and itself.  A module
    without a recorded past is cross-attention: all copies see the same."""
    state = _CURRENT.get()
    past = None if state is None else state.past.get(id(module))
    if past is None:
        return plain(query, key, value, attention_mask, scaling, softcap), None
    return attend(query * scaling, key, value, past, softcap=softcap), None
