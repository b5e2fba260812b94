"""Pictures as a vision-language model takes them: encoded once each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from mfv_dsl.base.transfer import sent
from mfv_dsl.models.vlm.architectures import Architecture
from mfv_dsl.models.vlm.placeholders import (
    NOTHING_NOTED,
    PER_TOKEN,
    Placeholder,
    with_placeholder,
)
from mfv_dsl.models.vlm.placement import input_device

_OF_TEXTS = ("input_ids", "attention_mask", "labels", "image_num_crops", *PER_TOKEN)


@dataclass(frozen=True)
class Encoded:
    """A picture encoded: ``rows`` (tokens, d_model), what takes the place of its tokens, or the
    states that cross-attention looks at; ``deep``, of some models, further rows of the same shape
    that are added between the first layers.  ``place`` is what the processor writes for it."""

    rows: torch.Tensor
    deep: tuple[torch.Tensor, ...] = ()
    place: Placeholder = NOTHING_NOTED

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return sum(rows.nbytes for rows in (self.rows, *self.deep))


@dataclass(frozen=True)
class Media:
    """The encoded pictures of each prompt, in their order, and what gives the pictures themselves,
    (height, width, 3) uint8; a picture that several prompts show is there once."""

    rows: tuple[tuple[Encoded, ...], ...]
    pictures: tuple[tuple[Callable[[], np.ndarray], ...], ...] = field(repr=False, compare=False)

    def __getitem__(self, part: slice) -> Media:
        return Media(self.rows[part], self.pictures[part])

    def picked(self, rows: Sequence[int]) -> Media:
        """The media of these prompts."""
        return Media(
            tuple(self.rows[row] for row in rows), tuple(self.pictures[row] for row in rows)
        )

    def drawn(self) -> list[list[np.ndarray]]:
        """The pictures of each prompt, each drawn once."""
        different = {id(picture): picture for row in self.pictures for picture in row}
        arrays = {key: picture() for key, picture in different.items()}
        return [[arrays[id(picture)] for picture in row] for row in self.pictures]


class Encoder:
    """Encodes pictures by a model's own processor and vision tower, one at a time: what comes of a
    picture does not depend on others, and it is the same when a picture is shown again.

    Features are kept in the processor's memory and put on the model's device by each pass, so that
    what a GPU has to hold of pictures does not grow with their number.
    """

    group = 1

    def __init__(self, model: Any, processor: Any, architecture: Architecture) -> None:
        self.model, self.processor, self.architecture = model, processor, architecture
        self._layers = f"{architecture.text}.layers."

    def prepare(self, pictures: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return pictures

    def encode(self, prepared: Sequence[np.ndarray]) -> list[Encoded]:
        return [self._encode(picture) for picture in prepared]

    def size_of(self, features: Encoded) -> int:
        return features.nbytes

    def modules(self) -> Iterator[nn.Module]:
        for name, part in self.model.named_modules():
            if self._layers not in f"{name}.":
                yield part

    def weights(self) -> Iterator[nn.Parameter]:
        for name, weights in self.model.named_parameters():
            if self._layers not in name:
                yield weights

    def pixels(self, picture: np.ndarray) -> Mapping[str, Any]:
        """What the model's own processor makes of ``picture`` alone."""
        image = Image.fromarray(picture)
        if self.architecture.features == "perceiver":
            return dict(self.processor(text=[[image, "Q"]], return_tensors="pt"))
        return with_placeholder(self.processor, self.architecture.mark, image)[0]

    def again(self, media: Media) -> Media:
        """The same pictures encoded anew, each once, in the order in which they come first."""
        encoded: dict[int, Encoded] = {}
        for row, pictures in zip(media.rows, media.pictures, strict=True):
            for features, picture in zip(row, pictures, strict=True):
                if id(features) not in encoded:
                    encoded[id(features)] = self._encode(picture())
        rows = tuple(tuple(encoded[id(features)] for features in row) for row in media.rows)
        return replace(media, rows=rows)

    @torch.no_grad()
    def _encode(self, picture: np.ndarray) -> Encoded:
        image, kind = Image.fromarray(picture), self.architecture.features
        if kind == "perceiver":
            inputs = self.processor(text=[[image, "Q"]], return_tensors="pt")
            core = self.model.get_submodule(self.architecture.text)
            pixels = self._placed(inputs["pixel_values"][0])
            states = core.vision_model(pixel_values=pixels).last_hidden_state
            return Encoded(core.perceiver_resampler(states)[0].cpu())
        inputs, place = with_placeholder(self.processor, self.architecture.mark, image)
        if kind == "cross_states":
            states = self.model.model.vision_model(
                pixel_values=self._placed(inputs["pixel_values"]),
                aspect_ratio_ids=inputs["aspect_ratio_ids"].to(self.model.device),
                aspect_ratio_mask=inputs["aspect_ratio_mask"].to(self.model.device),
            ).last_hidden_state
            return Encoded(self.model.model.multi_modal_projector(states)[0, 0].cpu(), place=place)
        arguments = {
            name: self._placed(value) for name, value in inputs.items() if name not in _OF_TEXTS
        }
        options = ("vision_feature_layer", "vision_feature_select_strategy")
        config = self.model.config
        arguments |= {name: getattr(config, name) for name in options if hasattr(config, name)}
        output = self.model.get_image_features(**arguments, return_dict=True)
        deep = getattr(output, "deepstack_features", None) or ()
        return Encoded(_rows(output.pooler_output), tuple(map(_rows, deep)), place)

    def _placed(self, value: Any) -> Any:
        """A tensor where the model is, numbers with a point in the model's precision."""
        if not isinstance(value, torch.Tensor):
            return value
        dtype = self.model.dtype if value.is_floating_point() else value.dtype
        return value.to(self.model.device, dtype)

    def arguments(self, media: Media) -> Mapping[str, Any]:
        """What the model's ``forward`` is given of encoded pictures."""
        kind = self.architecture.features
        pictures = [features for row in media.rows for features in row]
        if not pictures:
            return {}
        device = input_device(self.model)
        if kind in ("cross_states", "perceiver"):
            most, first = max(map(len, media.rows)), pictures[0].rows
            stack = first.new_zeros(len(media.rows), most, *first.shape)
            for number, row in enumerate(media.rows):
                for place, features in enumerate(row):
                    stack[number, place] = features.rows
            stack = sent(stack, device)
            if kind == "perceiver":
                return {"perceiver_embeddings": stack}
            return {"cross_attention_states": stack.flatten(0, 2)}
        rows = sent(torch.cat([features.rows for features in pictures]), device)
        output = SimpleNamespace(pooler_output=rows[None] if kind == "tensor" else [rows])
        if pictures[0].deep:
            levels = range(len(pictures[0].deep))
            output.deepstack_features = [
                [sent(torch.cat([features.deep[level] for features in pictures]), device)]
                for level in levels
            ]
        return {"mm_encoder_outputs": {"image": output}}


def _rows(output: Any) -> torch.Tensor:
    """Features of one picture in any of the forms that models give them, (tokens, d_model) in the
    processor's memory."""
    if isinstance(output, list | tuple):
        return torch.cat([_rows(part) for part in output])
    return output.flatten(0, -2).cpu()
