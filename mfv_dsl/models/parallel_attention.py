"""Attention of parallel copies of a last token: to what came before, and each to itself alone; and
of tokens behind such copies, each to those that it stands behind.

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

from mfv_dsl.models.attention_weights import note_weights
from mfv_dsl.models.branches import Branches

#: The name of :func:`attend_last_token` in transformers' attention interface.
LAST_TOKEN = "mfv_last_token"


class Past(NamedTuple):
    """One layer's keys and values of a prefix, (prompts, key-value heads, slots, head_dim).

    The last slot is empty: there each copy has its own key and value.  ``unseen``
    (prompts, 1, 1, slots) marks padding, None where there is none.
    """

    keys: torch.Tensor
    values: torch.Tensor
    unseen: torch.Tensor | None

    @classmethod
    def of(cls, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> Past:
        """``keys``, ``values`` (prompts, heads, length, head_dim); ``mask`` (prompts, length), None
        where all is seen.  The number of slots is a multiple of eight, which matrix units like, and
        with which prompts run alike to the bit whatever others they are joined with."""
        length = keys.shape[2]
        left, unseen = -(length + 1) % 8, None
        if left or mask is not None:
            seen = keys.new_ones(len(keys), length) if mask is None else mask.to(keys.device)
            unseen = pad(pad(seen, (left, 0)), (0, 1), value=1)[:, None, None] == 0
        return cls(_in_slots(keys, left, unseen), _in_slots(values, left, unseen), unseen)

    @classmethod
    def joined(cls, parts: Sequence[Past]) -> Past:
        """Several prefixes as one, the prompts of all in turn; the shorter ones padded."""
        lengths = [part.keys.shape[2] for part in parts]
        slots = max(lengths)
        unseen = None
        if min(lengths) < slots or any(part.unseen is not None for part in parts):
            unseen = torch.cat([
                pad(_all_seen(p) if p.unseen is None else p.unseen, (slots - n, 0), value=True)
                for p, n in zip(parts, lengths, strict=True)
            ])  # fmt: skip
        return cls(
            torch.cat([pad(p.keys, (0, 0, slots - p.keys.shape[2], 0)) for p in parts]),
            torch.cat([pad(p.values, (0, 0, slots - p.keys.shape[2], 0)) for p in parts]),
            unseen,
        )


def needed(mask: torch.Tensor) -> torch.Tensor | None:
    """``mask`` (prompts, length), None where it hides nothing.  On a GPU nobody waits for that."""
    return None if mask.device.type == "cpu" and bool(mask.all()) else mask


def _all_seen(past: Past) -> torch.Tensor:
    keys = past.keys
    return torch.zeros(len(keys), 1, 1, keys.shape[2], dtype=torch.bool, device=keys.device)


def _in_slots(states: torch.Tensor, left: int, unseen: torch.Tensor | None) -> torch.Tensor:
    """``states`` (prompts, heads, length, head_dim) behind ``left`` empty slots and before one,
    zero wherever nothing is."""
    prompts, heads, length, width = states.shape
    slots = states.new_empty(prompts, heads, left + length + 1, width)
    slots[:, :, left:-1] = states
    if unseen is not None:
        slots.masked_fill_(unseen.transpose(-1, -2), 0)
    slots[:, :, -1] = 0
    return slots


@dataclass
class LookedBack:
    """What self-attention modules look back on, by the module's identity; what those of ``modules``
    do is kept when they first run.  ``branches`` are the tokens behind that."""

    past: dict[int, Past] = field(default_factory=dict)
    modules: frozenset[int] = frozenset()
    branches: Branches = field(default_factory=Branches)


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
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of copies of the last token: each sees the past and itself; and of tokens
    behind them.

    A module that is to be kept gets the last token alone, behind its cache, when it first runs.  A
    module without a past is cross-attention: all copies see the same.
    """
    state = _CURRENT.get()
    past = state.past.get(id(module))
    if past is None:
        if id(module) in state.modules:
            state.past[id(module)] = _past(key, value, attention_mask)
        return _attend_all(query, key, value, attention_mask, scaling, softcap), None
    before = state.branches.pass_through(module, key, value)
    read = attend(
        query, key, value, past, scaling, softcap=softcap, branch=before, window=sliding_window
    )
    return read, None


def _past(keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> Past:
    """What the last token, itself in ``keys`` and ``values``, looks back on; ``mask`` is boolean
    (seen) or added to the scores."""
    before = keys.shape[2] - 1
    seen = None
    if mask is not None:
        row = mask[:, 0, -1, :before].expand(len(keys), -1)
        seen = needed(row if row.dtype == torch.bool else row > torch.finfo(row.dtype).min / 2)
    return Past.of(keys[:, :, :-1], values[:, :, :-1], seen)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    before: Past,
    scaling: float,
    bias: torch.Tensor | None = None,
    softcap: float | None = None,
    branch: tuple[torch.Tensor, torch.Tensor] | None = None,
    window: int | None = None,
) -> torch.Tensor:
    """Attention of copies to a prefix and each to itself alone, (prompts, copies, heads, head_dim).

    ``query`` (prompts, heads, copies, head_dim); ``key`` and ``value`` with the key-value heads,
    which may be fewer; scores are products times ``scaling``; ``bias`` (heads, 1, slots) is added
    to them; ``softcap`` bounds them by tanh.  ``branch`` has the keys and values of tokens between
    the prefix and the copies, for each copy its own, (prompts, key-value heads, copies, tokens,
    head_dim); ``bias`` then has slots for them before the last, and what is ``window`` tokens back
    or more is not seen.
    """
    prompts, heads, copies, head_dim = query.shape
    groups = heads // key.shape[1]
    query = query.unflatten(1, (-1, groups))
    own = (query * key[:, :, None]).sum(-1) * scaling
    slots, unseen = before.keys.shape[2], before.unseen
    scores = torch.baddbmm(
        query.new_empty(1, 1, 1), query.reshape(-1, groups * copies, head_dim),
        before.keys.flatten(0, 1).transpose(-1, -2), beta=0, alpha=scaling,
    ).unflatten(0, (prompts, -1))  # fmt: skip
    scores[..., -1] = own.flatten(2)
    if branch is not None:
        between = (query[..., None, :] * branch[0][:, :, None]).sum(-1).flatten(2, 3) * scaling
        scores = torch.cat([scores[..., :-1], between, scores[..., -1:]], dim=-1)
        if unseen is not None:
            unseen = pad(unseen, (0, between.shape[-1]), value=False)
        if window is not None:
            back = torch.arange(scores.shape[-1] - 1, -1, -1, device=scores.device)
            unseen = back >= window if unseen is None else unseen | (back >= window)
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    if bias is not None:
        bias_of_copies = bias.unflatten(0, (-1, groups)).expand(-1, -1, copies, -1)
        scores = scores + bias_of_copies.flatten(1, 2)
    if unseen is not None:
        scores = scores.masked_fill_(unseen, -torch.inf)
    weights = scores.softmax(-1).to(before.values.dtype)
    note_weights(weights.unflatten(2, (groups, copies)).flatten(1, 2))
    # the last of the prefix's slots has no value
    read = (weights[..., :slots] @ before.values).unflatten(2, (groups, copies))
    own = weights[..., -1].unflatten(2, (groups, copies))
    # copies before heads, as the output projection takes them
    out = value.transpose(1, 2)[:, :, :, None] * own.permute(0, 3, 1, 2)[..., None]
    out = out.add_(read.permute(0, 3, 1, 2, 4))
    if branch is not None:
        between = weights[..., slots - 1 : -1].unflatten(2, (groups, copies))
        further = (between[..., None] * branch[1][:, :, None]).sum(-2)
        out = out + further.permute(0, 3, 1, 2, 4)
    return out.reshape(prompts, copies, heads, head_dim)


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
