"""The protocol that every model behind mfv-dsl speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from torch import nn

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.short import Short
from mfv_dsl.data.items import Dataset, Prompt
from mfv_dsl.models.branches import Branches
from mfv_dsl.models.sites import SiteTable

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

#: (height, width, 3) uint8, an image of PIL, or the path of a file.
Picture: TypeAlias = "np.ndarray | Image.Image | str | Path"


@dataclass(frozen=True, repr=False)
class PromptBatch(Short):
    """Prompts as a model takes them, padded on the left.

    ``tokens``, ``mask`` (prompts, length); ``media`` (prompts, images, latents, d_visual), the
    encoded images, made once and shared by every pass over the batch; ``answers`` (prompts,), the
    first token of each answer.  A batch of a user's own texts has no ``prompts``, and ``answers``
    only where they were given.  ``queries`` are the texts behind the last picture of each prompt.
    """

    prompts: tuple[Prompt, ...]
    tokens: torch.Tensor
    mask: torch.Tensor
    media: torch.Tensor
    answers: torch.Tensor | None
    queries: tuple[str, ...] = field(default=(), kw_only=True)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of activations."""
        return self.media.dtype

    def __getitem__(self, rows: slice) -> PromptBatch:
        """Some of the prompts, padded as before."""
        return PromptBatch(
            self.prompts[rows], self.tokens[rows], self.mask[rows], self.media[rows],
            self.answers[rows], queries=self.queries[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class Continuation:
    """How to carry each prompt's last token through a model, in parallel copies.

    Copies of one prompt stand side by side in the second dimension.  They have the same position,
    see the prompt's earlier tokens and themselves, and not one another.

    ``start`` (prompts, 1, d_model) is the embedded last token.  ``stages`` carry hidden states
    (prompts, copies, d_model) through the model, each from where the one before ended: one per
    decoder layer, or a single one for a model that cannot start in the middle.  ``logits`` turns
    what the last stage gives, or any rows of it (..., d_model), into logits (..., vocabulary).
    ``row_bytes`` is about what one copy of one token takes at its peak.

    ``further`` carries further tokens (prompts, rows) through all layers, each behind the copies
    and tokens that ``branches`` say, and gives what ``logits`` turns into logits,
    (prompts, rows, d_model).  Raises MfvError (MFV7244) for a text that is longer than the model
    takes.  ``joins_inside``: stages obey ``branches.joining``, and give the rows that join behind
    those that they were given.
    """

    start: torch.Tensor
    stages: tuple[Callable[[torch.Tensor], torch.Tensor], ...]
    logits: Callable[[torch.Tensor], torch.Tensor]
    vocabulary: int
    row_bytes: int
    branches: Branches
    further: Callable[[torch.Tensor], torch.Tensor]
    joins_inside: bool = False

    def stage_of(self, layer: int) -> int:
        """The stage that runs decoder layer ``layer``."""
        return layer if len(self.stages) > 1 else 0


def shown_model(facts: ModelFacts, device: torch.device) -> str:
    """A loaded model in a line."""
    what = facts.description[:100] or facts.family
    return (
        f"<{what}: {facts.n_layers} layers, {facts.n_heads} heads, d_model {facts.d_model}, "
        f"{facts.weights_as}, on {device}>"
    )


class Decoder(Protocol):
    """A batch being continued token by token."""

    def prompt(self) -> torch.Tensor:
        """Run the prompts; logits of the next token, (rows, vocabulary)."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token to every row, ``tokens`` (rows,); logits of the next."""

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with ``rows`` of the present ones, on the processor, in this order; one may come
        several times."""


class Backend(Protocol):
    """A loaded model: its facts, its sites, and how to run it."""

    facts: ModelFacts
    sites: SiteTable
    model: nn.Module
    device: torch.device

    def batch(self, prompts: Sequence[Prompt], dataset: Dataset) -> PromptBatch:
        """Render prompts, encode their images once, find the answers' first tokens."""

    def expect(self, prompts: Sequence[Prompt], dataset: Dataset) -> Callable[[], None]:
        """Begin to draw the pictures of prompts of which a batch is made next; what comes back
        gives that up."""

    def forward(self, batch: PromptBatch) -> torch.Tensor:
        """Logits of the token after each prompt, (prompts, vocabulary)."""

    def first_tokens(self, names: Sequence[str]) -> list[int]:
        """The first token of each of ``names`` where an answer stands."""

    def pieces(self, prompt: Prompt) -> list[str]:
        """The text of a prompt, with marks, in one piece for each picture."""

    def surface(self, tokens: Sequence[int]) -> str:
        """The text of tokens, the model's own marks too; blanks may be others than they were."""

    def answer_tokens(self, names: Sequence[str], whole: bool = False) -> list[tuple[int, ...]]:
        """All tokens of each of ``names`` where an answer stands, of a prompt whose query is a
        ``whole`` text or of another."""

    def said_tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of ``text``, as it stands with its blanks, behind what comes before the answer
        to a whole text."""

    def unknown_words(self, names: Sequence[str]) -> list[str]:
        """The words of ``names`` that the tokenizer does not know."""

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""

    @property
    def readout(self) -> tuple[nn.Module, nn.Module]:
        """The final norm and the output head."""

    def unembed(self, hidden: torch.Tensor, normed: bool = True) -> torch.Tensor:
        """What the output makes of states of the residual stream (..., d_model): logits
        (..., vocabulary), by the final norm and the head, or by the head alone."""

    def prefix(self, batch: PromptBatch) -> Any:
        """Run all tokens but the last of every prompt, without gradients.  What comes back only
        :meth:`continuation` understands, and nothing changes it."""

    def continuation(self, state: Any) -> AbstractContextManager[Continuation]:
        """Make the model ready to run last tokens behind the prefix ``state``; leaving the block
        puts the model back as it was."""

    def joined(self, states: Sequence[Any], first: int) -> Any:
        """The prefixes ``states`` as one, the prompts of all in turn, for a continuation whose
        stages from ``first`` on are run; None where this model's cannot be joined."""

    def decoding(self, batch: PromptBatch) -> AbstractContextManager[Decoder]:
        """Make the model ready to continue ``batch`` token by token; leaving the block puts the
        model back as it was."""

    #: Tokens that end a generation, and tokens that cannot be generated.
    end_tokens: frozenset[int]
    banned_tokens: frozenset[int]
    #: Tokens that stand for pictures in prompts.
    image_tokens: frozenset[int]
    #: Texts that are the model's own marks, of pictures, ends and padding; no name may hold one.
    marks: frozenset[str]


class PictureBackend(Backend, Protocol):
    """A loaded model with sites where its pictures are encoded."""

    def encoded_anew(self, batch: PromptBatch) -> PromptBatch:
        """The batch, each of its different pictures encoded again, in the order in which they come
        first."""


class TextBackend(Backend, Protocol):
    """A loaded model that takes a user's own texts and pictures."""

    def texts(
        self,
        texts: Sequence[str],
        images: Sequence[Sequence[Picture]],
        answers: Sequence[str] | None = None,
    ) -> PromptBatch:
        """Texts as a batch, ``images`` (one list for each text) where they say ``<image>``."""

    def check_length(self, length: int, what: str) -> None:
        """Refuse (MFV7244) ``what`` if its ``length`` in tokens is more than the model takes."""
