"""OpenFlamingo models: the bundled small one and published checkpoints, one class."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.token_texts import behind_pictures
from mfv_dsl.base.transfer import sent
from mfv_dsl.data.items import Dataset, Prompt
from mfv_dsl.data.template import IMAGE, OPENFLAMINGO
from mfv_dsl.models.base import Continuation, Picture, PromptBatch, shown_model
from mfv_dsl.models.device_map import device_of
from mfv_dsl.models.families import family_of
from mfv_dsl.models.features import Features
from mfv_dsl.models.flamingo_attention import own_images
from mfv_dsl.models.flamingo_decoder import FlamingoDecoder
from mfv_dsl.models.marks import marks_of, unknown_words
from mfv_dsl.models.parallel_attention import register
from mfv_dsl.models.parallel_copies import PrefixState, continuation, run_prefix
from mfv_dsl.models.picture_groups import PictureGroups, group_size
from mfv_dsl.models.pictures import as_array, check_length, check_marks, check_rows
from mfv_dsl.models.sites import flamingo_sites


class OpenFlamingo:
    """A loaded ``open_flamingo.Flamingo`` in evaluation mode, frozen, with its tokenizer.

    ``tokenizer`` is a ``tokenizers.Tokenizer``; ``preprocess`` turns pictures (height, width, 3)
    uint8 into a float tensor (images, 3, size, size).
    """

    #: :func:`mfv_dsl.engine.generation.generate_texts` of this model, on models that
    #: :func:`mfv_dsl.load_model` has loaded; a model itself knows nothing of edits.
    generate: Callable[..., list[str]]

    template = OPENFLAMINGO

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
        self.marks = marks_of(tokenizer)
        config = model.lang_encoder.config
        self.family = family_of(config.model_type)
        self.max_positions = int(getattr(config, self.family.max_positions))
        self.end_tokens = frozenset({model.eoc_token_id})
        self.image_tokens = frozenset({int(model.media_token_id)})
        self.banned_tokens = self.image_tokens  # a picture cannot be said
        self.features = Features(FlamingoPictures(self))
        register()
        blocks = model.lang_encoder.gated_cross_attn_layers
        self.sites = flamingo_sites(
            self.family,
            facts,
            [
                (layer, block.attn.heads, block.attn.to_q.out_features // block.attn.heads)
                for layer, block in enumerate(blocks)
                if block is not None
            ],
        )

    def __repr__(self) -> str:
        return shown_model(self.facts, self.device)

    @property
    def device(self) -> torch.device:
        """Where batches go: the first one of a model that is spread over several."""
        return next(self.model.parameters()).device

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers, each with its cross-attention."""
        layers = self.model.lang_encoder._get_decoder_layers()
        assert isinstance(layers, nn.ModuleList)
        return layers

    # -- prompts --------------------------------------------------------------------------------
    def batch(self, prompts: Sequence[Prompt], dataset: Dataset) -> PromptBatch:
        texts = [self.template.text(prompt) for prompt in prompts]
        rows = [self.tokenizer.encode(text).ids for text in texts]
        images = [prompt.images for prompt in prompts]
        tokens, mask = self._padded(rows, "prompts")
        return PromptBatch(
            prompts=tuple(prompts),
            tokens=tokens,
            mask=mask,
            media=self.encode(images, dataset),
            answers=self._answers(
                [prompt.query.answer for prompt in prompts],
                any(prompt.whole for prompt in prompts),
            ),
            queries=behind_pictures(texts, IMAGE),
        )

    def expect(self, prompts: Sequence[Prompt], dataset: Dataset) -> Callable[[], None]:
        images = (image for prompt in prompts for image in prompt.images)
        return self.features.expect(images, dataset, self.image_size)

    def texts(
        self,
        texts: Sequence[str],
        images: Sequence[Sequence[Picture]],
        answers: Sequence[str] | None = None,
    ) -> PromptBatch:
        """Texts of one's own as a batch, ``images`` (one list for each text) where they say
        ``<image>``, in that order; ``answers``, if there are any, are scored by their first tokens
        as they stand behind ``A:``.

        Raises MfvError, with the row's number: for numbers of texts, marks and images that do not
        fit (MFV7242, MFV7243), a text longer than the model's context (MFV7244), and what is no
        image (MFV7245).
        """
        check_rows(texts, images, answers)
        rows = [self.tokenizer.encode(text).ids for text in texts]
        for i, (row, pictures_of_row) in enumerate(zip(rows, images, strict=True)):
            check_marks(f"texts[{i}]", row.count(self.model.media_token_id), len(pictures_of_row))
        tokens, mask = self._padded(rows, "texts")
        pictures: dict[Hashable, np.ndarray] = {}
        keys: list[list[Hashable]] = []
        for i, pictures_of_row in enumerate(images):
            # the same file or object is encoded once
            keys.append(
                [
                    str(picture) if isinstance(picture, str | Path) else id(picture)
                    for picture in pictures_of_row
                ]
            )
            for j, (key, picture) in enumerate(zip(keys[i], pictures_of_row, strict=True)):
                if key not in pictures:
                    pictures[key] = as_array(picture, f"images[{i}][{j}]")
        features = self.features.of_pictures(list(pictures.values()))
        return PromptBatch(
            prompts=(),
            tokens=tokens,
            mask=mask,
            media=self._media(keys, dict(zip(pictures, features, strict=True))),
            answers=None if answers is None else self._answers(answers),
            queries=behind_pictures(texts, IMAGE),
        )

    def _padded(
        self, rows: Sequence[Sequence[int]], what: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids padded on the left, and the mask, both (rows, length)."""
        for i, row in enumerate(rows):
            if not row:
                raise MfvError("MFV7242", f"{what}[{i}] is empty", help="write something in it")
            marks = row.count(self.model.media_token_id)
            self.check_length(len(row), f"{what}[{i}] (images: {marks})")
        length = max(map(len, rows))
        tokens = torch.full((len(rows), length), self.pad_token)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(rows):
            tokens[i, length - len(row) :] = torch.tensor(row)
            mask[i, length - len(row) :] = 1
        return sent(tokens, self.device), sent(mask, self.device)

    def pieces(self, prompt: Prompt) -> list[str]:
        """The text of a prompt, with marks, in one piece for each picture."""
        return self.template.pieces(prompt)

    def check_length(self, length: int, what: str) -> None:
        """Refuse (MFV7244) ``what`` if its ``length`` in tokens is more than the model takes."""
        check_length(length, self.max_positions, what)

    def _answers(self, names: Sequence[str], whole: bool = False) -> torch.Tensor:
        first = [tokens[0] for tokens in self.answer_tokens(names, whole)]
        return sent(torch.tensor(first), self.device)

    def first_tokens(self, names: Sequence[str]) -> list[int]:
        return [tokens[0] for tokens in self.answer_tokens(names)]

    def answer_tokens(self, names: Sequence[str], whole: bool = False) -> list[tuple[int, ...]]:
        form = self.template.of(whole)
        return [self._behind(form.cue, form.behind_cue(name)) for name in names]

    def said_tokens(self, text: str) -> tuple[int, ...]:
        return self._behind(self.template.of(True).cue, text)

    def surface(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text

    def unknown_words(self, names: Sequence[str]) -> list[str]:
        return unknown_words(self.tokenizer, self.answer_tokens, names)

    def _behind(self, cue: str, text: str) -> tuple[int, ...]:
        """The tokens of ``text`` behind ``cue``, even where the tokenizer merges across."""
        before = self.tokenizer.encode(cue).ids
        after = self.tokenizer.encode(f"{cue}{text}").ids
        if after[: len(before)] == before and len(after) > len(before):
            return tuple(map(int, after[len(before) :]))
        raise MfvError(
            "MFV7201",
            f"the tokenizer does not keep `{cue}` apart from the answer `{text}`",
            help="first-token scoring needs answers that begin with a token of their own",
        )

    def encode(self, images: Sequence[Sequence[str]], dataset: Dataset) -> torch.Tensor:
        """Each prompt's images encoded, (prompts, images, latents, d_visual)."""
        each = (image for row in images for image in row)
        return self._media(images, self.features.of_dataset(each, dataset, self.image_size))

    def _media(
        self, rows: Sequence[Sequence[Hashable]], features: Mapping[Any, torch.Tensor]
    ) -> torch.Tensor:
        """Encoded pictures, (rows, images, latents, d_visual): those that ``rows`` name of
        ``features``, each (latents, d_visual).

        Rows with fewer images are padded at the end with zeros, which no text attends to; there is
        at least one place, as the cross-attention needs something to leave out.
        """
        latents = self.model.perceiver.latents
        most = max([1, *map(len, rows)])
        media = torch.zeros(len(rows), most, *latents.shape, dtype=latents.dtype)
        for i, row in enumerate(rows):
            for j, key in enumerate(row):
                media[i, j] = features[key]
        return sent(media, self.device)

    # -- passes ---------------------------------------------------------------------------------
    def forward(self, batch: PromptBatch) -> torch.Tensor:
        with self.conditioned(batch.media, batch.tokens):
            logits: torch.Tensor = self.language_pass(batch.tokens, batch.mask).logits
        return logits[:, -1].to(self.device)

    @contextmanager
    def conditioned(self, media: torch.Tensor, tokens: torch.Tensor) -> Iterator[None]:
        """Within the block the cross-attention of ``tokens`` sees ``media``."""
        blocks = self.model.lang_encoder.gated_cross_attn_layers
        attentions = [block.attn for block in blocks if block is not None]
        try:
            self.condition(media)
            with own_images(attentions, tokens == self.model.media_token_id):
                yield
        finally:
            self.model.lang_encoder.clear_conditioned_layers()

    def condition(self, media: torch.Tensor) -> None:
        """Show ``media`` to every layer, with one copy on each device."""
        copies: dict[torch.device, torch.Tensor] = {}
        for layer in self.layers:
            device = device_of(layer)
            if device not in copies:
                copies[device] = media.to(device)
            layer.condition_vis_x(copies[device])

    def language_pass(
        self, tokens: torch.Tensor, mask: torch.Tensor, past: Any = None, keep: bool = False,
        origin: torch.Tensor | None = None,
    ) -> Any:  # fmt: skip
        """Run ``tokens`` (rows, length) behind ``past``; ``mask`` (rows, past and length).
        Positions are counted from ``origin`` (rows, 1), by default from the first token."""
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        if origin is not None:
            positions = positions - origin
        return self.model.lang_encoder(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions[:, -tokens.shape[1] :],
            past_key_values=past,
            use_cache=keep,
            logits_to_keep=1,
        )

    # -- the last token in parallel copies --------------------------------------------------------
    def prefix(self, batch: PromptBatch) -> PrefixState:
        return run_prefix(self, batch)

    def continuation(self, state: PrefixState) -> AbstractContextManager[Continuation]:
        return continuation(self, state)

    def joined(self, states: Sequence[PrefixState], first: int) -> PrefixState:
        return PrefixState.joined(states, first)

    @property
    def readout(self) -> tuple[nn.Module, nn.Module]:
        language = self.model.lang_encoder
        return language.get_submodule(self.family.final_norm), language.get_output_embeddings()

    def unembed(self, hidden: torch.Tensor, normed: bool = True) -> torch.Tensor:
        device = hidden.device
        norm, head = self.readout
        logits: torch.Tensor = head(norm(hidden) if normed else hidden)
        return logits.to(device)

    # -- generation -----------------------------------------------------------------------------
    @contextmanager
    def decoding(self, batch: PromptBatch) -> Iterator[FlamingoDecoder]:
        language = self.model.lang_encoder
        with self.conditioned(batch.media, batch.tokens):
            try:
                yield FlamingoDecoder(self, batch)
            finally:
                language._use_cached_vision_x = False

    def text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(tokens))
        return text


class FlamingoPictures:
    """How an OpenFlamingo encodes pictures: its vision tower, then its perceiver."""

    def __init__(self, flamingo: OpenFlamingo) -> None:
        self._flamingo = flamingo
        self._groups = PictureGroups(self.latents)

    @property
    def group(self) -> int:
        return group_size(self._flamingo.device)

    def prepare(self, pictures: Sequence[np.ndarray]) -> Sequence[torch.Tensor]:
        return list(self._flamingo.preprocess(pictures))

    @torch.no_grad()
    def encode(self, prepared: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return self._groups(prepared, self._flamingo.device)

    def size_of(self, features: torch.Tensor) -> int:
        return features.nbytes

    def modules(self) -> Iterator[nn.Module]:
        model: Any = self._flamingo.model
        yield from model.vision_encoder.modules()
        yield from model.perceiver.modules()

    def weights(self) -> Iterator[nn.Parameter]:
        model: Any = self._flamingo.model
        yield from model.vision_encoder.parameters()
        yield from model.perceiver.parameters()

    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (pictures, 3, size, size) to (pictures, latents, d_visual)."""
        model: Any = self._flamingo.model
        pixels = sent(pixels.to(model.perceiver.latents.dtype), self._flamingo.device)
        tokens = model.vision_encoder(pixels)[1]  # before ln_post, as trained
        latents: torch.Tensor = model.perceiver(tokens[:, None, None])
        return latents[:, 0]
