"""OpenFlamingo models: the bundled small one and published checkpoints, one class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mfv_dsl.backends.base import PromptBatch
from mfv_dsl.backends.sites import Site, SiteTable
from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.lang.checked import ModelFacts
from mfv_dsl.lang.diagnostics import MfvError

IMAGE, END_OF_CHUNK = "<image>", "<|endofchunk|>"

#: Where a decoder layer keeps things, by the language model's architecture.
_GPT_NEOX = {"attention": "attention.dense", "mlp": "mlp"}


def render_text(prompt: Prompt) -> str:
    """A prompt in OpenFlamingo's template (arXiv:2510.02528), ending where the answer begins."""

    def question(item: Item) -> str:
        return f"{IMAGE}Q:{item.query}. A:"

    told = "".join(
        f"{question(item)}{item.answer}.{END_OF_CHUNK}\n" for item in prompt.demonstrations
    )
    return told + question(prompt.query)


def gpt_neox_sites(facts: ModelFacts, cross_attention: Sequence[tuple[int, int, int]]) -> SiteTable:
    """The site table of a Flamingo over GPT-NeoX.

    ``cross_attention`` lists (layer, heads, head_dim) of the gated cross-attention blocks.
    """
    layers = tuple(range(facts.n_layers))
    block = "lang_encoder.gpt_neox.layers.{layer}"
    decoder = f"{block}.decoder_layer"
    table = {
        "lm.attn": Site(
            f"{decoder}.{_GPT_NEOX['attention']}", "input", layers, facts.head_dim, facts.n_heads
        ),
        "lm.attn.out": Site(f"{decoder}.{_GPT_NEOX['attention']}", "output", layers, facts.d_model),
        "lm.mlp": Site(f"{decoder}.{_GPT_NEOX['mlp']}", "output", layers, facts.d_model),
        "lm.resid": Site(block, "output", layers, facts.d_model),
    }
    if cross_attention:
        _, heads, head_dim = cross_attention[0]
        table["xattn"] = Site(
            f"{block}.gated_cross_attn_layer.attn.to_out",
            "input",
            tuple(layer for layer, _, _ in cross_attention),
            head_dim,
            heads,
        )
    return table


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
        language = self.model.lang_encoder
        positions = (batch.mask.cumsum(-1) - 1).clamp_min(0)
        for layer in self.layers:
            layer.condition_vis_x(batch.media)
        try:
            logits: torch.Tensor = language(
                input_ids=batch.tokens,
                attention_mask=batch.mask,
                position_ids=positions,
                use_cache=False,
                logits_to_keep=1,
            ).logits
        finally:
            language.clear_conditioned_layers()
        return logits[:, -1]
