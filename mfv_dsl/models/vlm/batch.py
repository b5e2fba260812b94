"""Prompts as a vision-language model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mfv_dsl.models.base import PromptBatch


@dataclass(frozen=True, repr=False)
class VlmBatch(PromptBatch):
    """Prompts of a vision-language model.

    ``positions`` (prompts, length), of some models (3, prompts, length); ``per_token``, further
    tensors (prompts, length, ...) of the processor's.
    """

    positions: torch.Tensor
    per_token: Mapping[str, torch.Tensor]
    precision: torch.dtype

    @property
    def dtype(self) -> torch.dtype:
        """The precision of activations."""
        return self.precision

    def __getitem__(self, rows: slice) -> VlmBatch:
        return VlmBatch(
            self.prompts[rows], self.tokens[rows], self.mask[rows], self.media[rows],
            None if self.answers is None else self.answers[rows], self.positions[..., rows, :],
            {name: value[rows] for name, value in self.per_token.items()}, self.precision,
            queries=self.queries[rows],
        )  # fmt: skip
