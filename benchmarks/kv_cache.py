"""All heads' effects as a careful user of open_flamingo and transformers writes them by hand.

Nothing of mfv-dsl's engine is in it: the prompts' earlier tokens are run once with
``use_cache=True``; then, for a layer at a time, the last token is run as one batch with a row for
each head, behind the cache repeated for the rows, with a hook that puts the head's mean in its row.
It is what :mod:`benchmarks.mediation` compares the engine with, beside the published way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from mfv_dsl.models.base import PromptBatch


class CachedPrefix:
    """A batch's earlier tokens, run once by ``language``, the ``lang_encoder`` of an
    ``open_flamingo.Flamingo`` over GPT-NeoX.  Within ``with``, the last tokens can be run.

    Text sees its last picture only, so that is all that the last tokens are given, unless
    ``all_pictures`` are, as open_flamingo's own cache has them."""

    def __init__(self, language: Any, batch: PromptBatch, all_pictures: bool = False) -> None:
        self.language, self.mask = language, batch.mask
        positions = (batch.mask.cumsum(-1) - 1).clamp_min(0)
        self.position = positions[:, -1:]
        self.layers: Sequence[Any] = language._get_decoder_layers()
        for layer in self.layers:
            layer.condition_vis_x(batch.media)
        cache = language(
            input_ids=batch.tokens[:, :-1], attention_mask=batch.mask[:, :-1],
            position_ids=positions[:, :-1], use_cache=True, logits_to_keep=1,
        ).past_key_values  # fmt: skip
        self.past = [(layer.keys, layer.values) for layer in cache.layers]
        marks = batch.tokens[:, :-1] == language.media_token_id
        self.media, self.location = batch.media, marks
        if not all_pictures:
            rows = torch.arange(len(marks), device=marks.device)
            self.media = batch.media[rows, marks.sum(-1) - 1][:, None]
            self.location = marks.any(-1, keepdim=True)

    def __enter__(self) -> CachedPrefix:
        self.language._use_cached_vision_x = True
        return self

    def __exit__(self, *_: object) -> None:
        self.language._use_cached_vision_x = False
        self.language.clear_conditioned_layers()

    def logits(self, last: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) behind ``last`` (rows, 1): the last tokens of the batch, once
        or several times one after the other."""
        prompts = len(self.mask)
        copies = len(last) // prompts

        def repeated(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.repeat(copies, *[1] * (tensor.ndim - 1))

        for layer in self.layers:
            # rows of a single prompt see its pictures through a broadcast
            layer.condition_vis_x(self.media if prompts == 1 else repeated(self.media))
            layer.condition_media_locations(
                self.location if prompts == 1 else repeated(self.location)
            )
        logits: torch.Tensor = self.language(
            input_ids=last,
            attention_mask=repeated(self.mask),
            position_ids=repeated(self.position),
            past_key_values=DynamicCache((repeated(k), repeated(v)) for k, v in self.past),
        ).logits
        return logits[:, -1]


@torch.no_grad()
def cached_probabilities(
    flamingo: nn.Module, batch: PromptBatch, mean: torch.Tensor, all_pictures: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The answers' probabilities, (prompts,), and those with each head replaced, (prompts, layers,
    heads); an effect is the difference.

    ``batch`` holds encoded pictures, tokens, mask and answers of prompts with pictures, and
    ``mean`` (layers, heads, head_dim) is put in.
    """
    heads, width = mean.shape[1:]
    mean = mean.to(batch.media)

    with CachedPrefix(flamingo.lang_encoder, batch, all_pictures) as prefix:

        def probabilities(copies: int) -> torch.Tensor:
            logits = prefix.logits(batch.tokens[:, -1:].repeat(copies, 1))
            p = logits.softmax(-1).gather(1, batch.answers.repeat(copies)[:, None])
            return p.unflatten(0, (copies, len(batch)))[..., 0].T

        before, after = probabilities(1)[:, 0], []
        for layer, means in zip(prefix.layers, mean, strict=True):

            def put_in(_: nn.Module, inputs: Any, means: torch.Tensor = means) -> Any:
                states = inputs[0].unflatten(0, (heads, len(batch)))
                for head in range(heads):
                    states[head, :, -1, head * width : (head + 1) * width] = means[head]
                return (states.flatten(0, 1),)

            hook = layer.decoder_layer.attention.dense.register_forward_pre_hook(put_in)
            try:
                after.append(probabilities(heads))
            finally:
                hook.remove()
    return before, torch.stack(after, 1)
