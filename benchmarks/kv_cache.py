"""All heads' effects as a careful user of open_flamingo and transformers writes them by hand.

Nothing of mfv-dsl's engine is in it: the prompts' earlier tokens are run once with
``use_cache=True``; then, for a layer at a time, the last token is run as one batch with a row for
each head, behind the cache repeated for the rows, with a hook that puts the head's mean in its row.
It is what :mod:`benchmarks.mediation` compares the engine with, beside the published way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from mfv_dsl.models.base import PromptBatch


@torch.no_grad()
def cached_effects(flamingo: nn.Module, batch: PromptBatch, mean: torch.Tensor) -> torch.Tensor:
    """Effects of every head on the answers' probabilities, (prompts, layers, heads).

    ``flamingo`` is an ``open_flamingo.Flamingo`` over GPT-NeoX, ``batch`` holds encoded pictures,
    tokens, mask and answers, and ``mean`` (layers, heads, head_dim) is put in.
    """
    language: Any = flamingo.lang_encoder
    layers = language._get_decoder_layers()
    prompts, heads, width = len(batch.tokens), mean.shape[1], mean.shape[2]
    mean = mean.to(batch.media)
    positions = (batch.mask.cumsum(-1) - 1).clamp_min(0)
    for layer in layers:
        layer.condition_vis_x(batch.media)
    cache = language(
        input_ids=batch.tokens[:, :-1], attention_mask=batch.mask[:, :-1],
        position_ids=positions[:, :-1], use_cache=True, logits_to_keep=1,
    ).past_key_values  # fmt: skip
    pairs = [(layer.keys, layer.values) for layer in cache.layers]
    # text sees its last picture only, so that is all that the last token is given
    pictures = (batch.tokens == language.media_token_id).sum(-1)
    media = batch.media[torch.arange(prompts, device=pictures.device), pictures - 1][:, None]
    location = torch.ones_like(pictures, dtype=torch.bool)[:, None]

    def last_token(rows: int) -> torch.Tensor:
        """Probabilities of the answers, (prompts, rows), each last token ``rows`` times."""

        def repeated(tensor: torch.Tensor) -> torch.Tensor:
            # rows of one prompt see its pictures through a broadcast
            return tensor if prompts == 1 or rows == 1 else tensor.repeat_interleave(rows, 0)

        for layer in layers:
            layer.condition_vis_x(repeated(media))
            layer.condition_media_locations(repeated(location))
        past = DynamicCache(
            (
                (
                    keys[:, None].expand(-1, rows, -1, -1, -1).flatten(0, 1),
                    values[:, None].expand(-1, rows, -1, -1, -1).flatten(0, 1),
                )
                for keys, values in pairs
            )
        )
        logits = language(
            input_ids=batch.tokens[:, -1:].repeat_interleave(rows, 0),
            attention_mask=batch.mask.repeat_interleave(rows, 0),
            position_ids=positions[:, -1:].repeat_interleave(rows, 0),
            past_key_values=past,
        ).logits[:, -1]
        p = logits.softmax(-1).gather(1, batch.answers.repeat_interleave(rows)[:, None])
        return p.unflatten(0, (prompts, rows))[..., 0]

    language._use_cached_vision_x = True  # the last token sees the last picture of the prefix
    try:
        before = last_token(1)
        effects = []
        for number, layer in enumerate(layers):

            def put_in(_: nn.Module, inputs: tuple[torch.Tensor], number: int = number) -> Any:
                states = inputs[0].unflatten(0, (prompts, heads))
                for head in range(heads):
                    states[:, head, -1, head * width : (head + 1) * width] = mean[number, head]
                return (states.flatten(0, 1),)

            handle = layer.decoder_layer.attention.dense.register_forward_pre_hook(put_in)
            try:
                effects.append(last_token(heads) - before)
            finally:
                handle.remove()
    finally:
        language._use_cached_vision_x = False
        language.clear_conditioned_layers()
    return torch.stack(effects, 1)
