"""A Flamingo's last token in parallel copies behind a prefix that was run once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mfv_dsl.models.base import Continuation, PromptBatch
from mfv_dsl.models.parallel import PARALLEL, Media, Past, attend_media, attend_past_mpt
from mfv_dsl.models.spread import device_of

if TYPE_CHECKING:
    from mfv_dsl.models.openflamingo import OpenFlamingo


@dataclass(frozen=True)
class PrefixState:
    """A batch's prefix, run: the embedded last tokens ``start`` (prompts, 1, d_model), their
    ``positions`` (prompts, 1), and by layer what they look back on, on that layer's device."""

    start: torch.Tensor
    positions: torch.Tensor
    past: tuple[Past, ...]
    media: tuple[Media | None, ...]


@torch.no_grad()
def run_prefix(backend: OpenFlamingo, batch: PromptBatch) -> PrefixState:
    """Run all tokens but the last of every prompt."""
    facts, language = backend.facts, backend.model.lang_encoder
    tokens, mask = batch.tokens[:, :-1], batch.mask[:, :-1]
    if tokens.shape[1]:
        with backend.conditioned(batch.media):
            cache = backend.language_pass(tokens, mask, keep=True).past_key_values
        past = [Past.of(layer.keys, layer.values, mask) for layer in cache.layers]
    else:
        none = batch.media.new_zeros(len(batch), facts.n_heads, 0, facts.head_dim)
        on_device = [none.to(device_of(layer)) for layer in backend.layers]
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
    )


@contextmanager
def continuation(backend: OpenFlamingo, state: PrefixState) -> Iterator[Continuation]:
    """The model ready to run copies of the last tokens behind ``state``."""
    language = backend.model.lang_encoder
    config, usual = language.config, language.config._attn_implementation
    forwards = dict(_forwards(backend, state))
    try:
        if not backend.family.alibi:
            config._attn_implementation = PARALLEL
        for module, forward in forwards.items():
            module.forward = forward
        for layer, media in zip(backend.layers, state.media, strict=True):
            layer.condition_vis_x(media)
            layer.condition_media_locations(())  # attend_media needs none
            layer.condition_use_cached_media(True)
        yield _continuation(backend, state)
    finally:
        config._attn_implementation = usual
        for module in forwards:
            module.__dict__.pop("forward", None)
        language.clear_conditioned_layers()


def _forwards(
    backend: OpenFlamingo, state: PrefixState
) -> Iterator[tuple[nn.Module, Callable[..., Any]]]:
    """Modules of which copies need another ``forward``, and that.  A family whose attention is
    called through transformers' interface needs one for its cross-attention only."""
    for layer, media in zip(backend.layers, state.media, strict=True):
        if media is not None:
            attention = layer.gated_cross_attn_layer.attn
            yield attention, partial(attend_media, attention)
    if not backend.family.alibi:
        return
    core = backend.model.lang_encoder.get_submodule(backend.family.core)
    for layer, past in zip(backend.layers, state.past, strict=True):
        attention = layer.decoder_layer.get_submodule(backend.family.attention)
        slots, device = past.keys.shape[2], past.keys.device
        bias = core.build_mpt_alibi_tensor(backend.facts.n_heads, slots, device=device)
        yield attention, partial(attend_past_mpt, attention, past=past, bias=bias)


def _continuation(backend: OpenFlamingo, state: PrefixState) -> Continuation:
    language, facts = backend.model.lang_encoder, backend.facts
    linear = [part for part in backend.layers[0].modules() if isinstance(part, nn.Linear)]
    width = 12 * facts.d_model + 2 * max(part.out_features for part in linear)
    slots, size = state.past[0].keys.shape[2], state.start.element_size()
    return Continuation(
        start=state.start,
        stages=tuple(_stages(backend, state)),
        logits=backend.unembed,
        vocabulary=language.get_output_embeddings().out_features,
        row_bytes=size * width + facts.n_heads * slots * (2 * size + 8),
    )


def _stages(
    backend: OpenFlamingo, state: PrefixState
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Each decoder layer for copies of the last token."""
    if backend.family.alibi:
        for layer in backend.layers:
            yield partial(_hidden_states, partial(layer, position_bias=None))
        return
    core = backend.model.lang_encoder.get_submodule(backend.family.core)
    rotary = core.rotary_emb(state.start, position_ids=state.positions)
    for number, (layer, past) in enumerate(zip(backend.layers, state.past, strict=True)):
        yield partial(
            layer,
            position_ids=state.positions,
            position_embeddings=rotary,
            past={number: past},
        )


def _hidden_states(layer: Callable[..., Any], hidden: torch.Tensor) -> torch.Tensor:
    """What comes out of a layer that gives its attention's weights beside it."""
    out: torch.Tensor = layer(hidden)[0]
    return out
