"""OpenFlamingo models: the bundled small one and published checkpoints, one class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from mfv_dsl.backends.base import Continuation, PromptBatch
from mfv_dsl.backends.parallel import PARALLEL, Media, Past, attend_media, attend_past
from mfv_dsl.backends.sites import gpt_neox_sites
from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.lang.checked import ModelFacts
from mfv_dsl.lang.diagnostics import MfvError

IMAGE, END_OF_CHUNK = "<image>", "<|endofchunk|>"


def render_text(prompt: Prompt) -> str:
    """A prompt in OpenFlamingo's template (arXiv:2510.02528), ending where the answer begins."""

    def question(item: Item) -> str:
        return f"{IMAGE}Q:{item.query}. A:"

    told = "".join(
        f"{question(item)}{item.answer}.{END_OF_CHUNK}\n" for item in prompt.demonstrations
    )
    return told + question(prompt.query)


@dataclass(frozen=True)
class PrefixState:
    """A batch's prefix, run: the embedded last tokens ``start`` (prompts, 1, d_model), their
    ``positions`` (prompts, 1), and by layer what they look back on."""

    start: torch.Tensor
    positions: torch.Tensor
    past: tuple[Past, ...]
    media: tuple[Media | None, ...]


class OpenFlamingo:
    """A loaded ``open_flamingo.Flamingo`` in evaluation mode, frozen, with its tokenizer.

    ``tokenizer`` is a ``tokenizers.Tokenizer``; ``preprocess`` turns pictures (height, width, 3)
    uint8 into a float tensor (images, 3, size, size).
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        preprocess: Callable[[Sequence[np.ndarray]], torch.Tensor],
        facts: ModelFacts,
        image_size: int,
        pad_token: int,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.facts = facts
        self.image_size = image_size
        self.pad_token = pad_token
        self.end_tokens = frozenset({model.eoc_token_id})
        self.banned_tokens = frozenset({model.media_token_id})  # a picture cannot be said
        from transformers import AttentionInterface

        AttentionInterface.register(PARALLEL, attend_past)
        blocks = model.lang_encoder.gated_cross_attn_layers
        self.sites = gpt_neox_sites(
            facts,
            [
                (layer, block.attn.heads, block.attn.to_q.out_features // block.attn.heads)
                for layer, block in enumerate(blocks)
                if block is not None
            ],
        )

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers, each with its cross-attention."""
        layers = self.model.lang_encoder._get_decoder_layers()
        assert isinstance(layers, nn.ModuleList)
        return layers

    # -- prompts --------------------------------------------------------------------------------
    def batch(self, prompts: Sequence[Prompt], dataset: Dataset) -> PromptBatch:
        rows = [self.tokenizer.encode(render_text(prompt)).ids for prompt in prompts]
        length = max(map(len, rows))
        tokens = torch.full((len(rows), length), self.pad_token)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(rows):
            tokens[i, length - len(row) :] = torch.tensor(row)
            mask[i, length - len(row) :] = 1
        answers = torch.tensor(self.first_tokens([prompt.query.answer for prompt in prompts]))
        return PromptBatch(
            prompts=tuple(prompts),
            tokens=tokens.to(self.device),
            mask=mask.to(self.device),
            media=self.encode([prompt.images for prompt in prompts], dataset),
            answers=answers.to(self.device),
        )

    def first_tokens(self, names: Sequence[str]) -> list[int]:
        return [self._first_token(name) for name in names]

    def _first_token(self, name: str) -> int:
        """The first token of ``name`` behind ``A:``, even where the tokenizer merges across."""
        before = self.tokenizer.encode("A:").ids
        after = self.tokenizer.encode(f"A:{name}").ids
        if after[: len(before)] == before and len(after) > len(before):
            return int(after[len(before)])
        raise MfvError(
            "MFV7201",
            f"the tokenizer does not keep `A:` apart from the answer `{name}`",
            help="first-token scoring needs answers that begin with a token of their own",
        )

    @torch.no_grad()
    def encode(self, images: Sequence[Sequence[str]], dataset: Dataset) -> torch.Tensor:
        """Encode each prompt's images once, (prompts, images, latents, d_visual).

        Prompts with fewer images are padded at the end with zeros, which no text attends to.
        """
        unique = list(dict.fromkeys(image for row in images for image in row))
        pixels = self.preprocess(dataset.pictures(unique, self.image_size))
        pixels = pixels.to(self.device, self.model.perceiver.latents.dtype)
        encoded = torch.cat([self._encode(chunk) for chunk in pixels.split(256)])
        most = max(map(len, images))
        media = encoded.new_zeros(len(images), most, *encoded.shape[1:])
        place = {image: i for i, image in enumerate(unique)}
        for i, row in enumerate(images):
            media[i, : len(row)] = encoded[[place[image] for image in row]]
        return media

    def _encode(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = self.model.vision_encoder(pixels)[1]  # before ln_post, as trained
        latents: torch.Tensor = self.model.perceiver(tokens[:, None, None])
        return latents[:, 0]

    # -- passes ---------------------------------------------------------------------------------
    def forward(self, batch: PromptBatch) -> torch.Tensor:
        with self._conditioned(batch.media):
            logits: torch.Tensor = self._language_pass(batch.tokens, batch.mask).logits
        return logits[:, -1]

    @contextmanager
    def _conditioned(self, media: torch.Tensor) -> Iterator[None]:
        """Within the block the cross-attention sees ``media``."""
        for layer in self.layers:
            layer.condition_vis_x(media)
        try:
            yield
        finally:
            self.model.lang_encoder.clear_conditioned_layers()

    def _language_pass(
        self, tokens: torch.Tensor, mask: torch.Tensor, past: Any = None, keep: bool = False
    ) -> Any:
        """Run ``tokens`` (rows, length) behind ``past``; ``mask`` (rows, past and length)."""
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        return self.model.lang_encoder(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions[:, -tokens.shape[1] :],
            past_key_values=past,
            use_cache=keep,
            logits_to_keep=1,
        )

    # -- the last token in parallel copies --------------------------------------------------------
    @torch.no_grad()
    def prefix(self, batch: PromptBatch) -> PrefixState:
        tokens, mask = batch.tokens[:, :-1], batch.mask[:, :-1]
        if tokens.shape[1]:
            with self._conditioned(batch.media):
                cache = self._language_pass(tokens, mask, keep=True).past_key_values
            past = [Past.of(layer.keys, layer.values, mask) for layer in cache.layers]
        else:
            none = batch.media.new_zeros(len(batch), self.facts.n_heads, 0, self.facts.head_dim)
            past = [Past.of(none, none, mask)] * self.facts.n_layers
        language = self.model.lang_encoder
        images = (batch.tokens == language.media_token_id).sum(-1)
        start = language.get_input_embeddings()(batch.tokens[:, -1:])
        return PrefixState(
            start=start,
            positions=batch.mask.sum(-1, keepdim=True) - 1,
            past=tuple(past),
            media=tuple(
                None if block is None else Media.of(block.attn, batch.media, images)
                for block in language.gated_cross_attn_layers
            ),
        )

    @contextmanager
    def continuation(self, state: PrefixState) -> Iterator[Continuation]:
        language = self.model.lang_encoder
        config, usual = language.config, language.config._attn_implementation
        crossing = [
            (layer, media)
            for layer, media in zip(self.layers, state.media, strict=True)
            if media is not None
        ]
        try:
            config._attn_implementation = PARALLEL
            for layer, media in crossing:
                attention = layer.gated_cross_attn_layer.attn
                attention.forward = partial(attend_media, attention)
                layer.condition_vis_x(media)
                layer.condition_media_locations(())  # attend_media needs none
                layer.condition_use_cached_media(True)
            yield self._continuation(state)
        finally:
            config._attn_implementation = usual
            for layer, _ in crossing:
                layer.gated_cross_attn_layer.attn.__dict__.pop("forward", None)
            language.clear_conditioned_layers()

    def _continuation(self, state: PrefixState) -> Continuation:
        language = self.model.lang_encoder
        core = language.gpt_neox
        rotary = core.rotary_emb(state.start, position_ids=state.positions)
        head = language.get_output_embeddings()
        slots = state.past[0].keys.shape[2]
        width = 12 * self.facts.d_model + 2 * language.config.intermediate_size
        size = state.start.element_size()
        return Continuation(
            start=state.start,
            stages=tuple(
                partial(
                    layer,
                    position_ids=state.positions,
                    position_embeddings=rotary,
                    past=state.past,
                )
                for layer in self.layers
            ),
            logits=lambda hidden: head(core.final_layer_norm(hidden)),
            vocabulary=head.out_features,
            row_bytes=size * width + self.facts.n_heads * slots * (2 * size + 8),
        )

    # -- generation -----------------------------------------------------------------------------
    @contextmanager
    def decoding(self, batch: PromptBatch) -> Iterator[FlamingoDecoder]:
        language = self.model.lang_encoder
        with self._conditioned(batch.media):
            try:
                yield FlamingoDecoder(self, batch)
            finally:
                language._use_cached_vision_x = False

    def text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(tokens))
        return text


class FlamingoDecoder:
    """A batch being continued token by token, with a cache."""

    def __init__(self, backend: OpenFlamingo, batch: PromptBatch) -> None:
        self._backend, self._batch = backend, batch
        self._mask, self._media = batch.mask, batch.media
        self._images = batch.tokens == backend.model.media_token_id
        self._cache: Any = None

    def prompt(self) -> torch.Tensor:
        return self._run(self._batch.tokens)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self._mask = pad(self._mask, (0, 1), value=1)
        # tokens without pictures see the last one of the prompt
        self._backend.model.lang_encoder._use_cached_vision_x = True
        return self._run(tokens[:, None])

    def keep(self, rows: torch.Tensor) -> None:
        self._cache.batch_select_indices(rows)
        self._mask, self._media = self._mask[rows], self._media[rows]
        self._images = self._images[rows]
        for layer in self._backend.layers:
            layer.condition_vis_x(self._media)
            layer.condition_media_locations(self._images)

    def _run(self, tokens: torch.Tensor) -> torch.Tensor:
        done = self._backend._language_pass(tokens, self._mask, self._cache, keep=True)
        self._cache = done.past_key_values
        logits: torch.Tensor = done.logits[:, -1]
        return logits
