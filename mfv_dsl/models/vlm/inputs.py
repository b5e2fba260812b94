"""Texts and pictures as the tensors that a vision-language model takes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.token_texts import behind_pictures
from mfv_dsl.base.transfer import sent
from mfv_dsl.data.items import Prompt
from mfv_dsl.models.pictures import check_length
from mfv_dsl.models.vlm.architectures import Architecture
from mfv_dsl.models.vlm.batch import VlmBatch
from mfv_dsl.models.vlm.pictures import Media
from mfv_dsl.models.vlm.placeholders import PER_TOKEN, read_texts
from mfv_dsl.models.vlm.placement import input_device

#: For each number of pictures, in how many batches how many prompts are read in both ways.
_BATCHES_COMPARED, _PROMPTS_COMPARED = 3, 4
_READ = ("input_ids", "attention_mask", *PER_TOKEN)


class ProcessorWarning(UserWarning):
    """A processor treats a picture otherwise in a prompt than alone."""


class Inputs:
    """Makes batches by a model's own processor."""

    def __init__(self, model: Any, processor: Any, architecture: Architecture) -> None:
        self.model, self.processor, self.architecture = model, processor, architecture
        config = model.config.get_text_config()
        self.max_positions = int(getattr(config, "max_position_embeddings", 0) or 1 << 30)
        self.reads_alone = architecture.features != "perceiver"  # that of Idefics 1 gives its mask
        self._compared: Counter[int] = Counter()
        self.image_token = _image_token(model.config, processor.tokenizer, architecture)

    def batch(
        self, texts: Sequence[str], media: Media, answers: Sequence[int] | None,
        prompts: tuple[Prompt, ...] = (),
    ) -> VlmBatch:  # fmt: skip
        """Texts with marks where pictures belong, the pictures of each, encoded, and the first
        tokens of their answers.

        Raises MfvError: MFV7244 for a text that is too long, MFV7270 and MFV7277 for pictures that
        the processor does not treat as the model expects.
        """
        device = input_device(self.model)
        inputs = self._read(texts, media)
        tokens, mask = inputs["input_ids"], inputs["attention_mask"]
        self.check_length(int(mask.sum(-1).max()), "the longest prompt")
        self._check_places(tokens, media)
        # on the processor: what makes them looks at every prompt's numbers
        positions = sent(self._positions(tokens, mask, inputs), device)
        tokens, mask = sent(tokens, device), sent(mask, device)
        per_token = {name: sent(inputs[name], device) for name in PER_TOKEN if name in inputs}
        if self.architecture.positions == "mrope":
            per_token.pop("mm_token_type_ids", None)  # only positions are made of it
        first = None if answers is None else torch.tensor(answers)
        return VlmBatch(
            prompts, tokens, mask, media, None if first is None else sent(first, device),
            positions, per_token, self.model.dtype,
            queries=behind_pictures(texts, self.architecture.mark),
        )  # fmt: skip

    def _read(self, texts: Sequence[str], media: Media) -> Mapping[str, Any]:
        """What :meth:`processed` gives of the texts, without the pictures' pixels where that is
        possible.

        Some prompts with one picture, with two, and so on are read in both ways.  Where a processor
        writes something else for a picture in a prompt than alone, :meth:`processed` reads them
        from then on, with a ProcessorWarning.
        """
        bare = self.architecture.features == "cross_states" and not all(media.rows)
        if bare or not self.reads_alone or not any(media.rows):
            return self.processed(texts, media.drawn())
        places = [[features.place for features in row] for row in media.rows]
        try:
            inputs = read_texts(self.processor, texts, places, **self._options(texts))
        except Exception:  # of many kinds; what is wrong with the texts themselves is told there
            return self.processed(texts, media.drawn())
        numbers = list(map(len, media.rows))
        rows = []
        for number in set(numbers):
            if self._compared[number] < _BATCHES_COMPARED:
                self._compared[number] += 1
                rows += [row for row, n in enumerate(numbers) if n == number][:_PROMPTS_COMPARED]
        if rows and not self._is_same(inputs, texts, media, rows):
            warnings.warn(
                "this model's processor writes something else for a picture in a prompt than "
                "alone; every prompt's pictures are preprocessed again, which takes longer",
                ProcessorWarning, stacklevel=4,
            )  # fmt: skip
            self.reads_alone = False
            return self.processed(texts, media.drawn())
        return inputs

    def _is_same(
        self, inputs: Mapping[str, Any], texts: Sequence[str], media: Media, rows: Sequence[int]
    ) -> bool:
        """Whether ``rows`` of ``inputs`` are what the processor makes of them with their pixels."""
        most = max(range(len(media.rows)), key=lambda row: len(media.rows[row]))
        rows = [*rows, most]  # masks are as wide as this
        own = self.processed([texts[row] for row in rows], media.picked(rows).drawn())
        if [name in own for name in _READ] != [name in inputs for name in _READ]:
            return False
        length = own["input_ids"].shape[1]
        return not inputs["attention_mask"][rows, :-length].any() and all(
            torch.equal(own[name], inputs[name][rows, -length:]) for name in _READ if name in own
        )

    def processed(
        self, texts: Sequence[str], pictures: Sequence[Sequence[np.ndarray]]
    ) -> Mapping[str, Any]:
        """What the model's own processor makes of texts and pictures, padded on the left."""
        images = [[Image.fromarray(picture) for picture in row] for row in pictures]
        shown: dict[str, Any] = {"text": list(texts), "images": images if any(images) else None}
        if self.architecture.features == "perceiver":
            shown = {"text": _interleaved(texts, images, self.architecture.mark)}
        bare = not all(images) and self.architecture.features in ("perceiver", "cross_states")
        try:
            if bare:
                raise ValueError("this model needs a picture in every text")
            inputs: Mapping[str, Any] = self.processor(**shown, **self._options(texts))
        except Exception as error:  # of many kinds, by processor
            summary = str(error).strip().partition("\n")[0]
            raise MfvError(
                "MFV7277", "the model's own processor does not take these texts and pictures",
                notes=[f"{type(error).__name__}: {summary}"],
            ) from None  # fmt: skip
        return inputs

    def _options(self, texts: Sequence[str]) -> dict[str, Any]:
        options: dict[str, Any] = {"return_tensors": "pt", "padding": True}
        first = self.processor.tokenizer.bos_token
        if first is not None and all(text.startswith(first) for text in texts):
            options["add_special_tokens"] = False  # a chat template wrote them
        return options

    def _check_places(self, tokens: torch.Tensor, media: Media) -> None:
        """Refuse (MFV7270) prompts whose places for pictures are not as many as the pictures have
        features: the model would put them into wrong places."""
        if self.architecture.features in ("cross_states", "perceiver"):
            return
        places = (tokens == self.image_token).sum(-1).tolist()
        for number, (place, row) in enumerate(zip(places, media.rows, strict=True)):
            features = sum(len(picture.rows) for picture in row)
            if place != features:
                raise MfvError(
                    "MFV7270",
                    f"prompt {number} has {place} places for pictures, and its {len(row)} pictures "
                    f"have {features} features",
                    help="the processor cuts pictures into other tiles in a prompt than alone; "
                    "give it other limits of size",
                )  # fmt: skip

    def _positions(
        self, tokens: torch.Tensor, mask: torch.Tensor, inputs: Mapping[str, Any]
    ) -> torch.Tensor:
        if self.architecture.positions == "mrope":
            device, grid = tokens.device, inputs.get("image_grid_thw")
            positions, _ = self.model.model.get_rope_index(
                tokens, inputs["mm_token_type_ids"].to(device),
                image_grid_thw=None if grid is None else grid.to(device), attention_mask=mask,
            )  # fmt: skip
            return positions
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        return positions + 1 if self.architecture.positions == "from_one" else positions

    def check_length(self, length: int, what: str) -> None:
        """Refuse (MFV7244) ``what`` if its ``length`` in tokens is more than the model takes."""
        check_length(length, self.max_positions, what)


def _interleaved(
    texts: Sequence[str], images: Sequence[Sequence[Image.Image]], mark: str
) -> list[list[Any]]:
    """Each text as the list of pictures and pieces between them."""
    rows = []
    for text, row in zip(texts, images, strict=True):
        pieces: list[Any] = []
        for image, piece in zip([None, *row], text.split(mark), strict=True):
            pieces += [part for part in (image, piece) if part]
        rows.append(pieces)
    return rows


def _image_token(config: Any, tokenizer: Any, architecture: Architecture) -> int:
    for name in ("image_token_id", "image_token_index"):
        if isinstance(getattr(config, name, None), int):
            return int(getattr(config, name))
    return int(tokenizer.convert_tokens_to_ids(architecture.mark))
