"""What the passes of a Flamingo's last token and of its generation need of the whole model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import nn

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.families import Family


class FlamingoPasses(Protocol):
    """A loaded Flamingo as :mod:`~mfv_dsl.models.parallel_copies` and
    :mod:`~mfv_dsl.models.flamingo_decoder` see it."""

    facts: ModelFacts
    family: Family
    #: The ``open_flamingo.Flamingo``.
    model: Any

    @property
    def device(self) -> torch.device:
        """Where batches go."""

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers, each with its cross-attention."""

    def conditioned(
        self, media: torch.Tensor, tokens: torch.Tensor
    ) -> AbstractContextManager[None]:
        """Within the block the cross-attention of ``tokens`` sees ``media``."""

    def condition(self, media: torch.Tensor) -> None:
        """Show ``media`` to every layer."""

    def language_pass(
        self, tokens: torch.Tensor, mask: torch.Tensor, past: Any = None, keep: bool = False,
        origin: torch.Tensor | None = None,
    ) -> Any:  # fmt: skip
        """Run ``tokens`` (rows, length) behind ``past``; ``mask`` (rows, past and length).
        Positions are counted from ``origin`` (rows, 1), by default from the first token."""

    def unembed(self, hidden: torch.Tensor, normed: bool = True) -> torch.Tensor:
        """Logits (..., vocabulary) of states of the residual stream (..., d_model)."""

    def check_length(self, length: int, what: str) -> None:
        """Refuse ``what`` if its ``length`` in tokens is more than the model takes."""
