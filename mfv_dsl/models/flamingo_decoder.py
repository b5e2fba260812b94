"""A Flamingo continuing a batch token by token, with a cache."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad

from mfv_dsl.base.transfer import sent
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.device_map import keep_rows
from mfv_dsl.models.flamingo_passes import FlamingoPasses


class FlamingoDecoder:
    """A batch being continued, whose media the model's layers see already."""

    def __init__(self, flamingo: FlamingoPasses, batch: PromptBatch) -> None:
        self._flamingo, self._batch = flamingo, batch
        self._mask, self._media = batch.mask, batch.media
        self._images = batch.tokens == flamingo.model.media_token_id
        self._cache: Any = None

    def prompt(self) -> torch.Tensor:
        logits = self._run(self._batch.tokens)
        # further tokens see the last picture, so that is all that they are given
        places = torch.arange(len(self._media), device=self._media.device)
        last = (self._images.sum(-1) - 1).clamp_min(0)
        self._media = self._media[places, last.to(places.device)][:, None]
        self._images = self._images.any(-1, keepdim=True)
        self._show()
        return logits

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self._flamingo.check_length(self._mask.shape[1] + 1, "the text with what was generated")
        self._mask = pad(self._mask, (0, 1), value=1)
        # tokens without pictures see the last one of the prompt
        self._flamingo.model.lang_encoder._use_cached_vision_x = True
        return self._run(tokens[:, None])

    def keep(self, rows: torch.Tensor) -> None:
        keep_rows(self._cache, rows)
        rows = sent(rows, self._mask.device)
        self._mask, self._media = self._mask[rows], self._media[rows]
        self._images = self._images[rows]
        self._show()

    def _show(self) -> None:
        """Let the layers see the media."""
        self._flamingo.condition(self._media)
        for layer in self._flamingo.layers:
            layer.condition_media_locations(self._images)

    def _run(self, tokens: torch.Tensor) -> torch.Tensor:
        output = self._flamingo.language_pass(tokens, self._mask, self._cache, keep=True)
        self._cache = output.past_key_values
        logits: torch.Tensor = output.logits[:, -1].to(self._flamingo.device)
        return logits
