"""A vision-language model continuing a batch token by token, with a cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch.nn.functional import pad

from mfv_dsl.base.transfer import sent
from mfv_dsl.models.device_map import keep_rows
from mfv_dsl.models.vlm.batch import VlmBatch
from mfv_dsl.models.vlm.pictures import Media


class SteppingModel(Protocol):
    """What continuing a batch needs of a model."""

    def run(
        self, tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor,
        per_token: Mapping[str, torch.Tensor], media: Media | None, cache: Any = None,
    ) -> Any:  # fmt: skip
        """The model's own call."""

    def new_cache(self) -> Any:
        """An empty cache."""

    def step_options(self, batch: VlmBatch) -> dict[str, torch.Tensor]:
        """What a further token is given of what tokens have."""

    def step_media(self, batch: VlmBatch) -> Media | None:
        """The pictures that a further token looks at anew."""

    def check_length(self, length: int, subject: str) -> None:
        """Refuse a text that is longer than the model takes."""


class VlmDecoder:
    """A batch being continued token by token."""

    def __init__(self, backend: SteppingModel, batch: VlmBatch) -> None:
        self._backend, self._batch, self._cache = backend, batch, backend.new_cache()
        self._mask, self._positions = batch.mask, batch.positions[..., -1:]
        self._options = backend.step_options(batch)
        self._media = backend.step_media(batch)

    def prompt(self) -> torch.Tensor:
        batch = self._batch
        output = self._backend.run(
            batch.tokens, batch.mask, batch.positions, batch.per_token, batch.media, self._cache
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self._backend.check_length(self._mask.shape[1] + 1, "the text with what was generated")
        self._mask = pad(self._mask, (0, 1), value=1)
        self._positions = self._positions + 1
        output = self._backend.run(
            tokens[:, None], self._mask, self._positions, self._options, self._media, self._cache
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def keep(self, rows: torch.Tensor) -> None:
        keep_rows(self._cache, rows)
        if self._media is not None:
            self._media = self._media.picked(rows.tolist())
        rows = sent(rows, self._mask.device)
        self._mask, self._positions = self._mask[rows], self._positions[..., rows, :]
        self._options = {name: value[rows] for name, value in self._options.items()}
