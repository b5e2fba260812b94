"""Attention of parallel copies of a last token: to what came before, and each to itself alone.

Nothing of the prefix is copied per copy, and nothing of it changes.  :func:`attend_last_token` has
the form of transformers' attention interface.  A model never runs a whole prompt under it: the
prompt runs under the model's own attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import pad

#: The name of :func:`attend_last_token` in transformers' attention interface.
LAST_TOKEN = "mfv_last_token"


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
        unseen = pad(pad(mask, (left, 0)), (0, 1), value=1)[:, None, None] == 0
        padding = unseen.transpose(-1, -2)
        return cls(
            pad(keys, (0, 0, left, 1)).masked_fill_(padding, 0),
            pad(values, (0, 0, left, 1)).masked_fill_(padding, 0),
            unseen,
        )

    @classmethod
    def joined(cls, parts: Sequence[Past]) -> Past:
        """Several prefixes as one, the prompts of all in turn; the shorter ones padded."""
        slots = max(part.keys.shape[2] for part in parts)
        return cls(
            torch.cat([pad(p.keys, (0, 0, slots - p.keys.shape[2], 0)) for p in parts]),
            torch.cat([pad(p.values, (0, 0, slots - p.keys.shape[2], 0)) for p in parts]),
            torch.cat([pad(p.unseen, (slots - p.keys.shape[2], 0), value=True) for p in parts]),
        )


@dataclass
class LookedBack:
    """What self-attention modules look back on, by the module's identity; what those of ``modules``
    do is kept when they first run."""

    past: dict[int, Past] = field(default_factory=dict)
    modules: frozenset[int] = frozenset()


_CURRENT: ContextVar[LookedBack] = ContextVar("looked_back")


def register() -> None:
    """Enter :func:`attend_last_token` into transformers' interfaces of attention and of masks."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(LAST_TOKEN, attend_last_token)
    # without a function for its mask an attention gets none, in silence
    AttentionMaskInterface.register(LAST_TOKEN, sdpa_mask)


@contextmanager
def last_tokens(config: Any, state: LookedBack) -> Iterator[None]:
    """Within the block, modules of ``config`` run last tokens, which look back on ``state``."""
    usual = config._attn_implementation_internal
    # the public setter would change the configurations within this one too
    config._attn_implementation_internal = LAST_TOKEN
    token = _CURRENT.set(state)
    try:
        yield
    finally:
        _CURRENT.reset(token)
        config._attn_implementation_internal = usual


def attend_last_token(
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
    """The attention of copies of the last token: each sees the past and itself.

    A module that is to be kept gets the last token alone, behind its cache, when it first runs.  A
    module without a past is cross-attention: all copies see the same.
    """
    state = _CURRENT.get()
    past = state.past.get(id(module))
    if past is None:
        if id(module) in state.modules:
            state.past[id(module)] = _past(key, value, attention_mask)
        return _attend_all(query, key, value, attention_mask, scaling, softcap), None
    return attend(query * scaling, key, value, past, softcap=softcap), None


def _past(keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> Past:
    """What the last token, itself in ``keys`` and ``values``, looks back on; ``mask`` is boolean
    (seen) or added to the scores."""
    before = keys.shape[2] - 1
    if mask is None:
        seen = torch.ones(len(keys), before, dtype=torch.bool, device=keys.device)
    else:
        row = mask[:, 0, -1, :before].expand(len(keys), -1)
        seen = row if row.dtype == torch.bool else row > torch.finfo(row.dtype).min / 2
    return Past.of(keys[:, :, :-1], values[:, :, :-1], seen)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    before: Past,
    bias: torch.Tensor | None = None,
    softcap: float | None = None,
) -> torch.Tensor:
    """Attention of copies to a prefix and each to itself alone, (prompts, copies, heads, head_dim).

    ``query`` (prompts, heads, copies, head_dim), scaled; ``key`` and ``value`` with the key-value
    heads, which may be fewer; ``bias`` (heads, 1, slots) is added to the scores; ``softcap`` bounds
    them by tanh.
    """
    prompts, heads, copies, head_dim = query.shape
    groups = heads // key.shape[1]
    query = query.unflatten(1, (-1, groups))
    own = (query * key[:, :, None]).sum(-1)
    scores = query.flatten(2, 3) @ before.keys.transpose(-1, -2)
    scores[..., -1] = own.flatten(2)
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    if bias is not None:
        bias_of_copies = bias.unflatten(0, (-1, groups)).expand(-1, -1, copies, -1)
        scores = scores + bias_of_copies.flatten(1, 2)
    scores = scores.masked_fill_(before.unseen, -torch.inf)
    weights = scores.softmax(-1).to(before.values.dtype)
    read = (weights @ before.values).unflatten(2, (groups, copies))
    own = weights[..., -1].unflatten(2, (groups, copies))
    out = read + own[..., None] * value[:, :, None]
    return out.reshape(prompts, heads, copies, head_dim).transpose(1, 2).contiguous()


def _attend_all(
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
