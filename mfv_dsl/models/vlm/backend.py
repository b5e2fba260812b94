"""A vision-language model of transformers behind mfv-dsl's protocol.

A prompt's last token is run once by the model's own code, and what each decoder layer was called
with is recorded; a copy of the token is the same call again, behind the same past.  So there is no
layer loop of our own, and whatever an architecture does between its layers is done by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.data.items import Dataset, Prompt
from mfv_dsl.models.base import Continuation, shown_model
from mfv_dsl.models.branches import Branches
from mfv_dsl.models.features import Features
from mfv_dsl.models.marks import marks_of, unknown_words
from mfv_dsl.models.parallel_attention import LookedBack, last_tokens, register
from mfv_dsl.models.pictures import Picture, as_array, check_marks, check_rows
from mfv_dsl.models.vlm.architectures import Architecture
from mfv_dsl.models.vlm.batch import VlmBatch
from mfv_dsl.models.vlm.decoder import VlmDecoder
from mfv_dsl.models.vlm.drawing import drawn
from mfv_dsl.models.vlm.grids import USUAL_SIZE
from mfv_dsl.models.vlm.inputs import Inputs
from mfv_dsl.models.vlm.pictures import Encoder, Media
from mfv_dsl.models.vlm.placement import input_device
from mfv_dsl.models.vlm.prompts import Form
from mfv_dsl.models.vlm.recorded_pass import (
    BlockCall,
    RecordedPrefix,
    join_prefixes,
    last_output,
    recorded_calls,
    recorded_outputs,
    replayable,
    run_calls,
    standing_outputs,
)
from mfv_dsl.models.vlm.sites import site_table

_OF_PROMPTS_ONLY = ("token_type_ids", "mm_token_type_ids")


class VisionLanguageModel:
    """A loaded model in evaluation mode, frozen, with its processor.

    ``is_exact``: parallel copies were seen to equal full passes.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        architecture: Architecture,
        facts: ModelFacts,
        prompt: str = "plain",
    ) -> None:
        register()
        self.model: Any = model.eval().requires_grad_(False)
        self.processor, self.architecture, self.facts = processor, architecture, facts
        self.form = Form.of(prompt, architecture.mark, architecture.prompt_ending)
        self.template = self.form.template
        self.tokenizer = processor.tokenizer
        self.tokenizer.padding_side = "left"
        self.marks = marks_of(self.tokenizer) | set(filter(None, [architecture.mark]))
        self.text_model: Any = model.get_submodule(architecture.text)
        self.layers: nn.ModuleList = self.text_model.layers
        config = model.config.get_text_config()
        self.image_size = _image_size(model.config)
        self.sites = site_table(model, architecture, facts)
        self.encoder = Encoder(model, processor, architecture)
        self.features = Features(self.encoder)
        self.end_tokens = _end_tokens(model, self.tokenizer)
        self.inputs = Inputs(model, processor, architecture)
        self.image_token = self.inputs.image_token
        self.image_tokens = frozenset({self.image_token})
        self.banned_tokens = self.image_tokens
        self._softcap = getattr(config, "final_logit_softcapping", None)
        self.is_exact = False

    def __repr__(self) -> str:
        return shown_model(self.facts, self.device)

    @property
    def device(self) -> torch.device:
        return input_device(self.model)

    # -- prompts ----------------------------------------------------------------------------------
    def batch(self, prompts: Sequence[Prompt], dataset: Dataset) -> VlmBatch:
        texts = [
            self.form.text(prompt, self.processor, self.architecture.mark) for prompt in prompts
        ]
        size = self.image_size
        names = [image for prompt in prompts for image in prompt.images]
        encoded = self.features.of_dataset(names, dataset, size)
        shown = {image: partial(_picture, dataset, image, size) for image in encoded}
        media = Media(
            tuple(tuple(encoded[image] for image in prompt.images) for prompt in prompts),
            tuple(tuple(shown[image] for image in prompt.images) for prompt in prompts),
        )
        names = [prompt.query.answer for prompt in prompts]
        whole = any(prompt.whole for prompt in prompts)
        answers = [tokens[0] for tokens in self.answer_tokens(names, whole)]
        return self.inputs.batch(texts, media, answers, tuple(prompts))

    def expect(self, prompts: Sequence[Prompt], dataset: Dataset) -> Callable[[], None]:
        images = (image for prompt in prompts for image in prompt.images)
        return self.features.expect(images, dataset, self.image_size)

    def texts(
        self,
        texts: Sequence[str],
        images: Sequence[Sequence[Picture]],
        answers: Sequence[str] | None = None,
    ) -> VlmBatch:
        """Texts of one's own as a batch, ``images`` (one list for each text) where they say the
        model's mark of a picture (or ``<image>``), in that order; ``answers``, if there are any,
        are scored by their first tokens.

        Raises MfvError, with the row's number: for numbers of texts, marks and images that do not
        fit (MFV7242, MFV7243), a text longer than the model's context (MFV7244), and what is no
        image (MFV7245).
        """
        check_rows(texts, images, answers)
        mark = self.architecture.mark
        marked = [text if mark in text else text.replace("<image>", mark) for text in texts]
        arrays: dict[int, np.ndarray] = {}
        for i, (text, row) in enumerate(zip(marked, images, strict=True)):
            check_marks(f"texts[{i}]", text.count(mark), len(row))
            for j, picture in enumerate(row):
                if id(picture) not in arrays:
                    arrays[id(picture)] = as_array(picture, f"images[{i}][{j}]")
        features = self.features.of_pictures(list(arrays.values()))
        encoded = dict(zip(arrays, features, strict=True))
        shown = {key: partial(_same, picture) for key, picture in arrays.items()}
        media = Media(
            tuple(tuple(encoded[id(picture)] for picture in row) for row in images),
            tuple(tuple(shown[id(picture)] for picture in row) for row in images),
        )
        first = None if answers is None else self.first_tokens(answers)
        return self.inputs.batch(marked, media, first, ())

    def check_length(self, length: int, what: str) -> None:
        self.inputs.check_length(length, what)

    def first_tokens(self, names: Sequence[str]) -> list[int]:
        return [tokens[0] for tokens in self.answer_tokens(names)]

    def answer_tokens(self, names: Sequence[str], whole: bool = False) -> list[tuple[int, ...]]:
        return [self.form.answer_tokens(self.tokenizer, name, whole) for name in names]

    def said_tokens(self, text: str) -> tuple[int, ...]:
        cue = self.template.of(True).cue
        return self.form.tokens_behind(self.tokenizer, cue, text)

    def surface(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(
            list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def unknown_words(self, names: Sequence[str]) -> list[str]:
        return unknown_words(self.tokenizer, self.answer_tokens, names)

    def text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(tokens))
        return text

    def preprocess(self, pictures: Sequence[np.ndarray]) -> torch.Tensor:
        """Pictures of one size as the vision tower gets them, (pictures, 3, height, width), with
        patches put together again and tiles beside one another.  Raises MfvError (MFV7279) for a
        processor whose pictures cannot be drawn."""
        return torch.stack([drawn(self.encoder.pixels(picture), self.model.config)
                            for picture in pictures])  # fmt: skip

    def pieces(self, prompt: Prompt) -> list[str]:
        """The text of a prompt, with marks, in one piece for each picture."""
        mark = self.architecture.mark
        before, *texts = self.form.text(prompt, self.processor, mark).split(mark)
        return [f"{before if not number else ''}{mark}{text}" for number, text in enumerate(texts)]

    def encoded_anew(self, batch: VlmBatch) -> VlmBatch:
        """The batch with its pictures encoded again, while the model is edited where it does so."""
        return replace(batch, media=self.encoder.again(batch.media))

    # -- passes -----------------------------------------------------------------------------------
    def forward(self, batch: VlmBatch) -> torch.Tensor:
        output = self.run(batch.tokens, batch.mask, batch.positions, batch.per_token, batch.media)
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def run(
        self, tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor,
        per_token: Mapping[str, torch.Tensor], media: Media | None, cache: Any = None,
    ) -> Any:  # fmt: skip
        """The model's own call; ``media`` are encoded pictures that the tokens look at."""
        options: dict[str, Any] = dict(per_token)
        if media is not None:
            options |= self.encoder.arguments(media)
        if self.architecture.features != "perceiver":
            options["logits_to_keep"] = 1
        return self.model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache,
            use_cache=cache is not None, **options,
        )  # fmt: skip

    def new_cache(self) -> Any:
        """An empty cache of keys and values."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config.get_text_config())

    @property
    def readout(self) -> tuple[nn.Module, nn.Module]:
        return self.text_model.norm, self.model.get_output_embeddings()

    def unembed(self, hidden: torch.Tensor, normed: bool = True) -> torch.Tensor:
        device = hidden.device
        norm, head = self.readout
        logits: torch.Tensor = head(norm(hidden) if normed else hidden).to(device)
        return logits if self._softcap is None else (logits / self._softcap).tanh() * self._softcap

    def step_options(self, batch: VlmBatch) -> dict[str, torch.Tensor]:
        """What a single further token is given of what tokens have."""
        return {
            name: value[:, -1:]
            for name, value in batch.per_token.items()
            if name not in _OF_PROMPTS_ONLY
        }

    def step_media(self, batch: VlmBatch) -> Media | None:
        """Pictures are in the cache, but for a model that looks at them anew for every token."""
        return batch.media if self.architecture.features == "perceiver" else None

    @torch.no_grad()
    def prefix(self, batch: VlmBatch) -> RecordedPrefix:
        cache = self.new_cache()
        before = {name: value[:, :-1] for name, value in batch.per_token.items()}
        self.run(
            batch.tokens[:, :-1], batch.mask[:, :-1], batch.positions[..., :-1], before,
            batch.media, cache,
        )  # fmt: skip
        modules = [layer.self_attn for layer in self.layers if hasattr(layer, "self_attn")]
        state = LookedBack(modules=frozenset(map(id, modules)))
        with (
            self._last_tokens(state), recorded_calls(self._blocks()) as calls,
            recorded_outputs(self._of_pictures()) as standing,
        ):  # fmt: skip
            self.run(
                batch.tokens[:, -1:], batch.mask, batch.positions[..., -1:],
                self.step_options(batch), self.step_media(batch), cache,
            )  # fmt: skip
        start, calls = replayable(calls)
        return RecordedPrefix(start, state, calls, batch, standing)

    @contextmanager
    def continuation(self, state: RecordedPrefix) -> Iterator[Continuation]:
        stages: list[list[BlockCall]] = [[] for _ in range(self.facts.n_layers)]
        for call in state.calls:
            stages[call.stage].append(call)
        slots = max((past.keys.shape[2] for past in state.past.past.values()), default=1)
        size = state.start.element_size()
        past = replace(state.past, branches=Branches())
        with (
            self._last_tokens(past),
            standing_outputs(self._of_pictures(), state.standing),
        ):
            yield Continuation(
                start=state.start,
                stages=tuple(partial(run_calls, stage) for stage in stages),
                logits=self.unembed,
                vocabulary=self.model.get_output_embeddings().out_features,
                row_bytes=size * 16 * self.facts.d_model
                + self.facts.n_heads * slots * (2 * size + 8),
                branches=past.branches,
                further=partial(self._further, state.batch, past.branches),
            )

    def _further(
        self, batch: VlmBatch | None, branches: Branches, tokens: torch.Tensor
    ) -> torch.Tensor:
        """``tokens`` (prompts, rows) through all layers by the model's own code, each behind what
        ``branches`` say; without a cache, as the attention has all that they look back on."""
        assert batch is not None
        depth, rows = len(branches.rows), tokens.shape[1]
        self.check_length(batch.tokens.shape[1] + depth, "the text with what was generated")
        positions = (batch.positions[..., -1:] + depth).expand(*batch.positions.shape[:-1], rows)
        options = {
            name: value.expand(-1, rows, *value.shape[2:])
            for name, value in self.step_options(batch).items()
        }
        with last_output(self.layers[-1]) as outputs:
            self.run(
                tokens, torch.ones_like(tokens), positions, options,
                batch.media if self.architecture.looks_back_at_pictures else None,
            )  # fmt: skip
        return outputs[0]

    def joined(self, states: Sequence[RecordedPrefix], first: int) -> RecordedPrefix | None:
        return join_prefixes(states, first)

    def _blocks(self) -> Iterator[tuple[int, nn.Module]]:
        """Blocks in the order in which they run, each with the stage that it belongs to."""
        for number, layer in enumerate(self.layers):
            if self.architecture.between is not None:
                every = self.text_model.cross_layer_interval
                if number % every == 0:
                    yield (
                        number,
                        getattr(self.text_model, self.architecture.between)[number // every],
                    )
            yield number, layer

    def _of_pictures(self) -> list[nn.Module]:
        """The projections that make keys and values of pictures anew for every token."""
        if self.architecture.between is None:
            return []
        blocks: Any = getattr(self.text_model, self.architecture.between)
        return [
            part for block in blocks for part in (block.cross_attn.k_proj, block.cross_attn.v_proj)
        ]

    def _last_tokens(self, state: LookedBack) -> AbstractContextManager[None]:
        """Within the block the text model runs last tokens, which look back on ``state``."""
        modules = (layer.self_attn for layer in self.layers if hasattr(layer, "self_attn"))
        return last_tokens(next(modules).config, state)

    # -- generation -------------------------------------------------------------------------------
    @contextmanager
    def decoding(self, batch: VlmBatch) -> Iterator[VlmDecoder]:
        yield VlmDecoder(self, batch)


def _picture(dataset: Dataset, image: str, size: int) -> np.ndarray:
    """One picture of a dataset, drawn or read."""
    return dataset.pictures([image], size)[0]


def _same(picture: np.ndarray) -> np.ndarray:
    """A picture that is there already."""
    return picture


def _image_size(config: Any) -> int:
    vision = getattr(config, "vision_config", None)
    size = getattr(vision, "image_size", None)
    if isinstance(size, list | tuple):
        size = size[0]
    return size if isinstance(size, int) else USUAL_SIZE


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = ends if isinstance(ends, list) else [ends]
    return frozenset(int(end) for end in (*ends, tokenizer.eos_token_id) if end is not None)
