"""The protocol that every model behind mfv-dsl speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from mfv_dsl.backends.sites import SiteTable
from mfv_dsl.data.items import Dataset, Prompt
from mfv_dsl.lang.checked import ModelFacts


@dataclass(frozen=True)
class PromptBatch:
    """Prompts as a model takes them, padded on the left.

    ``tokens``, ``mask`` (prompts, length); ``media`` (prompts, images, latents, d_visual), the
    encoded images, made once and shared by every pass over the batch; ``answers`` (prompts,), the
    first token of each answer.
    """

    prompts: tuple[Prompt, ...]
    tokens: torch.Tensor
    mask: torch.Tensor
    media: torch.Tensor
    answers: torch.Tensor

    def __len__(self) -> int:
        return len(self.prompts)


class Backend(Protocol):
    """A loaded model: its facts, its sites, and how to run it."""

    facts: ModelFacts
    sites: SiteTable
    model: nn.Module
    device: torch.device

    def batch(self, prompts: Sequence[Prompt], dataset: Dataset) -> PromptBatch:
        """Render prompts, encode their images once, find the answers' first tokens."""

    def forward(self, batch: PromptBatch) -> torch.Tensor:
        """Logits of the token after each prompt, (prompts, vocabulary)."""

    def first_tokens(self, names: Sequence[str]) -> list[int]:
        """The first token of each of ``names`` where an answer stands."""
