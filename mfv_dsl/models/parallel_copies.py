"""A Flamingo's last token in parallel copies behind a prefix that was run once.

A vision-language model of transformers records its last token's pass and copies that
(:mod:`mfv_dsl.models.vlm.recorded_pass`).  Here a layer's arguments are known, and such a pass,
though it gives the same bits, takes as long as one more generated token; so it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from mfv_dsl.models.base import Continuation, PromptBatch
from mfv_dsl.models.branches import Branches
from mfv_dsl.models.device_map import device_of
from mfv_dsl.models.flamingo_attention import Media, see_media
from mfv_dsl.models.flamingo_layers import LAYERS
from mfv_dsl.models.flamingo_passes import FlamingoPasses
from mfv_dsl.models.parallel_attention import LookedBack, Past, last_tokens, needed


@dataclass(frozen=True)
class PrefixState:
    """A batch's prefix, run: the embedded last tokens ``start`` (prompts, 1, d_model), their
    ``positions`` (prompts, 1), None where all positions are counted from them, and by layer what
    they look back on, on that layer's device.  ``length`` is that of the longest prompt."""

    start: torch.Tensor
    positions: torch.Tensor | None
    past: tuple[Past, ...]
    media: tuple[Media | None, ...]
    length: int

    @classmethod
    def joined(cls, states: Sequence[PrefixState], first: int) -> PrefixState:
        """Several batches' prefixes as one, the prompts of all in turn.  Layers below ``first``
        keep those of the first batch, and are not to be run."""
        past = [state.past for state in states]
        media = [state.media for state in states]
        positions = [state.positions for state in states if state.positions is not None]
        return cls(
            start=torch.cat([state.start for state in states]),
            positions=torch.cat(positions) if positions else None,
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
    from transformers import DynamicCache

    facts, language = flamingo.facts, flamingo.model.lang_encoder
    tokens, mask = batch.tokens[:, :-1], batch.mask[:, :-1]
    positions = batch.mask.sum(-1, keepdim=True) - 1
    from_last = _turns(flamingo, batch.dtype)
    if tokens.shape[1]:
        cache, seen = DynamicCache(config=language.config), needed(mask)
        with flamingo.conditioned(batch.media, tokens), _until_last_keys(flamingo):
            flamingo.language_pass(
                tokens, mask, cache, keep=True, origin=positions if from_last else None
            )
        past = [Past.of(layer.keys, layer.values, seen) for layer in cache.layers]
    else:
        none = batch.media.new_zeros(len(batch), facts.n_heads, 0, facts.head_dim)
        on_device = [none.to(device_of(layer)) for layer in flamingo.layers]
        past = [Past.of(nothing, nothing, None) for nothing in on_device]
    images = (batch.tokens == language.media_token_id).sum(-1)
    return PrefixState(
        start=language.get_input_embeddings()(batch.tokens[:, -1:]),
        positions=None if from_last else positions,
        past=tuple(past),
        media=tuple(
            None if block is None else Media.of(block.attn, batch.media, images)
            for block in language.gated_cross_attn_layers
        ),
        length=batch.tokens.shape[1],
    )


class _Enough(Exception):
    """All keys and values are there."""


@contextmanager
def _until_last_keys(flamingo: FlamingoPasses) -> Iterator[None]:
    """Within the block a pass ends where the last layer has made its keys and values, and read by
    them: nothing of the prefix is needed after that."""

    def end(*_: Any) -> None:
        raise _Enough

    last, projection = flamingo.layers[-1].decoder_layer, flamingo.family.projection
    assert projection is not None
    handle = last.get_submodule(projection).register_forward_pre_hook(end)
    try:
        yield
    except _Enough:
        pass
    finally:
        handle.remove()


def _turns(flamingo: FlamingoPasses, dtype: torch.dtype) -> bool:
    """Whether positions may be counted from the last token: attention by plain rotations depends on
    differences of positions alone, so keys can be kept as the last token sees them, and neither its
    copies' queries nor their keys have to be turned.  The angles are in float32, so that in float64
    it would show."""
    core = flamingo.model.lang_encoder.get_submodule(flamingo.family.core)
    rotations = getattr(core, "rotary_emb", None)
    is_plain = flamingo.family.copies == "gpt_neox" and rotations.rope_type == "default"
    return is_plain and dtype != torch.float64


@contextmanager
def continuation(flamingo: FlamingoPasses, state: PrefixState) -> Iterator[Continuation]:
    """The model ready to run copies of the last tokens behind ``state``."""
    own = LAYERS.get(flamingo.family.copies)
    attentions = map(id, _attentions(flamingo))
    looked_back = LookedBack(dict(zip(attentions, state.past, strict=True)))
    branches = looked_back.branches
    try:
        for layer, past in zip(flamingo.layers, state.past, strict=True):
            # its cross-attention comes before it, in the stage
            layer.forward = partial(layer.decoder_layer)
            if own is not None:
                layer.forward = partial(own, layer.decoder_layer, past, branches)
        with last_tokens(flamingo.model.lang_encoder.config, looked_back):
            yield _continuation(flamingo, state, branches)
    finally:
        for layer in flamingo.layers:
            vars(layer).pop("forward", None)


def _attentions(flamingo: FlamingoPasses) -> Iterator[Any]:
    """The self-attention of every layer."""
    for layer in flamingo.layers:
        yield layer.decoder_layer.get_submodule(flamingo.family.attention)


def _continuation(flamingo: FlamingoPasses, state: PrefixState, branches: Branches) -> Continuation:
    language, facts = flamingo.model.lang_encoder, flamingo.facts
    linear = [part for part in flamingo.layers[0].modules() if isinstance(part, nn.Linear)]
    width = 12 * facts.d_model + 2 * max(part.out_features for part in linear)
    slots, size = state.past[0].keys.shape[2], state.start.element_size()
    return Continuation(
        start=state.start,
        stages=tuple(_stages(flamingo, state, branches, state.start, 0)),
        logits=flamingo.unembed,
        vocabulary=language.get_output_embeddings().out_features,
        row_bytes=size * width + facts.n_heads * slots * (2 * size + 8),
        branches=branches,
        further=partial(_further, flamingo, state, branches),
        joins_inside=flamingo.family.copies in LAYERS,
    )


def _further(
    flamingo: FlamingoPasses, state: PrefixState, branches: Branches, tokens: torch.Tensor
) -> torch.Tensor:
    """``tokens`` (prompts, rows) through all layers, each behind what ``branches`` say."""
    depth = len(branches.rows)
    flamingo.check_length(state.length + depth, "the text with what was generated")
    hidden: torch.Tensor = flamingo.model.lang_encoder.get_input_embeddings()(tokens)
    for stage in _stages(flamingo, state, branches, hidden, depth):
        hidden = stage(hidden)
    return hidden


def _stages(
    flamingo: FlamingoPasses, state: PrefixState, branches: Branches, like: torch.Tensor, depth: int
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Each decoder layer, its cross-attention before it, for tokens ``depth`` behind the last."""
    places = _places(flamingo, state, like, depth)
    gates = flamingo.model.lang_encoder.gated_cross_attn_layers
    for layer, gate, media in zip(flamingo.layers, gates, state.media, strict=True):
        yield partial(_run_layer, layer, gate, media, places)


def _places(
    flamingo: FlamingoPasses, state: PrefixState, like: torch.Tensor, depth: int
) -> Mapping[str, Any]:
    """What a layer is told of the places of tokens ``depth`` behind the last ones."""
    core = flamingo.model.lang_encoder.get_submodule(flamingo.family.core)
    if flamingo.family.copies == "mpt":
        return {"positions": partial(core.build_mpt_alibi_tensor, flamingo.facts.n_heads)}
    if state.positions is None and not depth:
        return {"positions": None}
    last = torch.zeros_like(like[:1, :1, 0], dtype=torch.long)
    positions = depth + (last if state.positions is None else state.positions)
    rotation = core.rotary_emb(like, position_ids=positions)
    if flamingo.family.copies:
        return {"positions": rotation}
    return {"position_ids": positions, "position_embeddings": rotation}


def _run_layer(
    layer: Any, gate: Any, media: Media | None, places: Mapping[str, Any], hidden: torch.Tensor
) -> torch.Tensor:
    if media is not None:
        hidden = see_media(gate, hidden.to(media.keys.device), media)
    output: torch.Tensor = layer(hidden, **places)
    return output
