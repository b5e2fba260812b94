"""Pictures as a vision-language model takes them: encoded once each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from mfv_dsl.models.vlm.architectures import Architecture
from mfv_dsl.models.vlm.feature_cache import FeatureCache
from mfv_dsl.models.vlm.placeholders import (
    NOTHING_NOTED,
    PER_TOKEN,
    Placeholder,
    with_placeholder,
)
from mfv_dsl.models.vlm.placement import input_device

_OF_TEXTS = ("input_ids", "attention_mask", "labels", "image_num_crops", *PER_TOKEN)


@dataclass(frozen=True)
class Features:
    """A picture encoded: ``rows`` (tokens, d_model), what takes the place of its tokens, or the
    states that cross-attention looks at; ``deep``, of some models, further rows of the same shape
    that are added between the first layers.  ``place`` is what the processor writes for it, and
    ``picture`` (height, width, 3) uint8 is what was encoded."""

    rows: torch.Tensor
    deep: tuple[torch.Tensor, ...] = ()
    place: Placeholder = NOTHING_NOTED
    picture: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        picture = 0 if self.picture is None else self.picture.nbytes
        return picture + sum(rows.nbytes for rows in (self.rows, *self.deep))


@dataclass(frozen=True)
class Media:
    """The encoded pictures of each prompt, in their order; a picture that several prompts show is
    there once."""

    rows: tuple[tuple[Features, ...], ...]

    def __getitem__(self, part: slice) -> Media:
        return Media(self.rows[part])

    def picked(self, rows: Sequence[int]) -> Media:
        """The media of these prompts."""
        return Media(tuple(self.rows[row] for row in rows))


class Encoder:
    """Encodes pictures by a model's own processor and vision tower, one at a time: what comes of a
    picture does not depend on others, and it is the same when a picture is shown again.

    Features are kept in the processor's memory and put on the model's device by each pass, so that
    what a GPU has to hold of pictures does not grow with their number.
    """

    def __init__(self, model: Any, processor: Any, architecture: Architecture) -> None:
        self.model, self.processor, self.architecture = model, processor, architecture
        self.cache: FeatureCache[Features] = FeatureCache(torch.device("cpu"))
        layers = f"{architecture.text}.layers."
        self._modules = [part for name, part in model.named_modules() if layers not in f"{name}."]
        self._weights = [
            weights for name, weights in model.named_parameters() if layers not in name
        ]
        self._state = self._state_now()

    def encode(self, picture: np.ndarray) -> Features:
        """``picture`` (height, width, 3) uint8, encoded now or, while there is room, before; now
        where somebody's hooks are in the modules that encode it, or their weights were changed."""
        if any(map(_has_foreign_hooks, self._modules)):
            return self._encoded(picture)
        state = self._state_now()
        if state != self._state:
            self._state, self.cache = state, FeatureCache(torch.device("cpu"))

        def make() -> tuple[Features, int]:
            features = self._encoded(picture)
            return features, features.nbytes

        return self.cache.get(picture, make)

    def _state_now(self) -> tuple[torch.dtype, int]:
        """What changes with the weights."""
        return self.model.dtype, sum(weights._version for weights in self._weights)

    def pixels(self, picture: np.ndarray) -> Mapping[str, Any]:
        """What the model's own processor makes of ``picture`` alone."""
        image = Image.fromarray(picture)
        if self.architecture.features == "perceiver":
            return dict(self.processor(text=[[image, "Q"]], return_tensors="pt"))
        return with_placeholder(self.processor, self.architecture.mark, image)[0]

    def again(self, media: Media) -> Media:
        """The same pictures encoded anew, each once, in the order in which they come first."""
        encoded: dict[int, Features] = {}
        for features in (features for row in media.rows for features in row):
            if id(features) not in encoded:
                assert features.picture is not None
                encoded[id(features)] = self._encoded(features.picture)
        return Media(tuple(tuple(encoded[id(features)] for features in row) for row in media.rows))

    def _encoded(self, picture: np.ndarray) -> Features:
        return replace(self._encode(picture), picture=picture)

    @torch.no_grad()
    def _encode(self, picture: np.ndarray) -> Features:
        image, kind = Image.fromarray(picture), self.architecture.features
        if kind == "perceiver":
            inputs = self.processor(text=[[image, "Q"]], return_tensors="pt")
            core = self.model.get_submodule(self.architecture.text)
            pixels = self._placed(inputs["pixel_values"][0])
            states = core.vision_model(pixel_values=pixels).last_hidden_state
            return Features(core.perceiver_resampler(states)[0].cpu())
        inputs, place = with_placeholder(self.processor, self.architecture.mark, image)
        if kind == "cross_states":
            states = self.model.model.vision_model(
                pixel_values=self._placed(inputs["pixel_values"]),
                aspect_ratio_ids=inputs["aspect_ratio_ids"].to(self.model.device),
                aspect_ratio_mask=inputs["aspect_ratio_mask"].to(self.model.device),
            ).last_hidden_state
            return Features(self.model.model.multi_modal_projector(states)[0, 0].cpu(), place=place)
        arguments = {
            name: self._placed(value) for name, value in inputs.items() if name not in _OF_TEXTS
        }
        options = ("vision_feature_layer", "vision_feature_select_strategy")
        config = self.model.config
        arguments |= {name: getattr(config, name) for name in options if hasattr(config, name)}
        output = self.model.get_image_features(**arguments, return_dict=True)
        deep = getattr(output, "deepstack_features", None) or ()
        return Features(_rows(output.pooler_output), tuple(map(_rows, deep)), place)

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
            stack = stack.to(device)
            if kind == "perceiver":
                return {"perceiver_embeddings": stack}
            return {"cross_attention_states": stack.flatten(0, 2)}
        rows = torch.cat([features.rows for features in pictures]).to(device)
        output = SimpleNamespace(pooler_output=rows[None] if kind == "tensor" else [rows])
        if pictures[0].deep:
            levels = range(len(pictures[0].deep))
            output.deepstack_features = [
                [torch.cat([features.deep[level] for features in pictures]).to(device)]
                for level in levels
            ]
        return {"mm_encoder_outputs": {"image": output}}


def _has_foreign_hooks(module: Any) -> bool:
    """Whether there are hooks that transformers did not place for itself."""
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    return any(
        not str(getattr(hook, "__module__", "")).startswith("transformers.") for hook in hooks
    )


def _rows(output: Any) -> torch.Tensor:
    """Features of one picture in any of the forms that models give them, (tokens, d_model) in the
    processor's memory."""
    if isinstance(output, list | tuple):
        return torch.cat([_rows(part) for part in output])
    return output.flatten(0, -2).cpu()
