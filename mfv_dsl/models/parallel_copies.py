"""A Flamingo's last token in parallel copies behind a prefix that was run once.

A vision-language model of transformers records its last token's pass and copies that
(:mod:`mfv_dsl.models.vlm.recorded_pass`).  Here a layer's arguments are known, and such a pass,
though it gives the same bits, takes as long as one more generated token; so it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from mfv_dsl.models.base import Continuation, PromptBatch
from mfv_dsl.models.branches import Branches
from mfv_dsl.models.device_map import device_of
from mfv_dsl.models.flamingo_attention import Media, attend_media, attend_past_mpt
from mfv_dsl.models.flamingo_passes import FlamingoPasses
from mfv_dsl.models.parallel_attention import LookedBack, Past, last_tokens


@dataclass(frozen=True)
class PrefixState:
    """A batch's prefix, run: the embedded last tokens ``start`` (prompts, 1, d_model), their
    ``positions`` (prompts, 1), and by layer what they look back on, on that layer's device.
    ``length`` is that of the longest prompt."""

    start: torch.Tensor
    positions: torch.Tensor
    past: tuple[Past, ...]
    media: tuple[Media | None, ...]
    length: int

    @classmethod
    def joined(cls, states: Sequence[PrefixState], first: int) -> PrefixState:
        """Several batches' prefixes as one, the prompts of all in turn.  Layers below ``first``
        keep those of the first batch, and are not to be run."""
        past = [state.past for state in states]
        media = [state.media for state in states]
        return cls(
            start=torch.cat([state.start for state in states]),
            positions=torch.cat([state.positions for state in states]),
            past=tuple(
                Past.joined(parts) if layer >= first else parts[0]
                for layer, parts in enumerate(zip(*past, strict=True))
            ),
            media=tuple(
                Media.joined(parts) if layer >= first and None not in parts else parts[0]
                for layer, parts in enumerate(zip(*media, strict=True))
            ),
            length=max(state.length for state in states),
        )


@torch.no_grad()
def run_prefix(flamingo: FlamingoPasses, batch: PromptBatch) -> PrefixState:
    """Run all tokens but the last of every prompt."""
    facts, language = flamingo.facts, flamingo.model.lang_encoder
    tokens, mask = batch.tokens[:, :-1], batch.mask[:, :-1]
    if tokens.shape[1]:
        with flamingo.conditioned(batch.media):
            cache = flamingo.language_pass(tokens, mask, keep=True).past_key_values
        past = [Past.of(layer.keys, layer.values, mask) for layer in cache.layers]
    else:
        none = batch.media.new_zeros(len(batch), facts.n_heads, 0, facts.head_dim)
        on_device = [none.to(device_of(layer)) for layer in flamingo.layers]
        past = [Past.of(nothing, nothing, mask) for nothing in on_device]
    images = (batch.tokens == language.media_token_id).sum(-1)
    return PrefixState(
        start=language.get_input_embeddings()(batch.tokens[:, -1:]),
        positions=batch.mask.sum(-1, keepdim=True) - 1,
        past=tuple(past),
        media=tuple(
            None if block is None else Media.of(block.attn, batch.media, images)
            for block in language.gated_cross_attn_layers
        ),
        length=batch.tokens.shape[1],
    )


@contextmanager
def continuation(flamingo: FlamingoPasses, state: PrefixState) -> Iterator[Continuation]:
    """The model ready to run copies of the last tokens behind ``state``."""
    language = flamingo.model.lang_encoder
    attentions = map(id, _attentions(flamingo))
    past = LookedBack(dict(zip(attentions, state.past, strict=True)))
    forwards = dict(_forwards(flamingo, state, past.branches))
    try:
        for module, forward in forwards.items():
            module.forward = forward
        for layer, media in zip(flamingo.layers, state.media, strict=True):
            layer.condition_vis_x(media)
            layer.condition_media_locations(())  # attend_media needs none
            layer.condition_use_cached_media(True)
        with last_tokens(language.config, past):
            yield _continuation(flamingo, state, past.branches)
    finally:
        for module in forwards:
            module.__dict__.pop("forward", None)
        language.clear_conditioned_layers()


def _attentions(flamingo: FlamingoPasses) -> Iterator[Any]:
    """The self-attention of every layer."""
    for layer in flamingo.layers:
        yield layer.decoder_layer.get_submodule(flamingo.family.attention)


def _forwards(
    flamingo: FlamingoPasses, state: PrefixState, branches: Branches
) -> Iterator[tuple[nn.Module, Callable[..., Any]]]:
    """Modules of which copies need another ``forward``, and that.  A family whose attention is
    called through transformers' interface needs one for its cross-attention only."""
    for layer, media in zip(flamingo.layers, state.media, strict=True):
        if media is not None:
            attention = layer.gated_cross_attn_layer.attn
            yield attention, partial(attend_media, attention)
    if not flamingo.family.alibi:
        return
    core = flamingo.model.lang_encoder.get_submodule(flamingo.family.core)
    for attention, past in zip(_attentions(flamingo), state.past, strict=True):
        bias = lru_cache(maxsize=2)(
            partial(core.build_mpt_alibi_tensor, flamingo.facts.n_heads, device=past.keys.device)
        )
        yield (
            attention,
            partial(attend_past_mpt, attention, past=past, branches=branches, bias=bias),
        )


def _continuation(flamingo: FlamingoPasses, state: PrefixState, branches: Branches) -> Continuation:
    language, facts = flamingo.model.lang_encoder, flamingo.facts
    linear = [part for part in flamingo.layers[0].modules() if isinstance(part, nn.Linear)]
    width = 12 * facts.d_model + 2 * max(part.out_features for part in linear)
    slots, size = state.past[0].keys.shape[2], state.start.element_size()
    return Continuation(
        start=state.start,
        stages=tuple(_stages(flamingo, state.start, state.positions)),
        logits=flamingo.unembed,
        vocabulary=language.get_output_embeddings().out_features,
        row_bytes=size * width + facts.n_heads * slots * (2 * size + 8),
        branches=branches,
        further=partial(_further, flamingo, state, branches),
    )


def _further(
    flamingo: FlamingoPasses, state: PrefixState, branches: Branches, tokens: torch.Tensor
) -> torch.Tensor:
    """``tokens`` (prompts, rows) through all layers, each behind what ``branches`` say."""
    depth = len(branches.rows)
    flamingo.check_length(state.length + depth, "the text with what was generated")
    hidden: torch.Tensor = flamingo.model.lang_encoder.get_input_embeddings()(tokens)
    for stage in _stages(flamingo, hidden, state.positions + depth):
        hidden = stage(hidden)
    return hidden


def _stages(
    flamingo: FlamingoPasses, like: torch.Tensor, positions: torch.Tensor
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Each decoder layer for tokens that all are at one of ``positions`` (prompts, 1)."""
    if flamingo.family.alibi:
        for layer in flamingo.layers:
            yield partial(_hidden_states, partial(layer, position_bias=None))
        return
    core = flamingo.model.lang_encoder.get_submodule(flamingo.family.core)
    rotary = core.rotary_emb(like, position_ids=positions)
    for layer in flamingo.layers:
        yield partial(layer, position_ids=positions, position_embeddings=rotary)


def _hidden_states(layer: Callable[..., Any], hidden: torch.Tensor) -> torch.Tensor:
    """What comes out of a layer that gives its attention's weights beside it."""
    out: torch.Tensor = layer(hidden)[0]
    return out
