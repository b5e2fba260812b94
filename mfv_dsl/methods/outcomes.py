"""What a model answered: probability of the right answer, and whether it came first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought


@dataclass(frozen=True, repr=False)
class Outcomes(Short):
    """Per prompt: ``p_answer``, probability of the answer's first token; ``correct``, whether that
    token was the likeliest of the vocabulary; ``said``, the likeliest token.

    The store writes these names into its files.  Other ways of answering
    (:mod:`mfv_dsl.methods.answers`) give these fields another meaning.
    """

    p_answer: np.ndarray
    correct: np.ndarray
    said: np.ndarray

    def __len__(self) -> int:
        return len(self.p_answer)

    @property
    def accuracy(self) -> float:
        """The share of correct prompts."""
        return float(self.correct.mean())


def outcomes(logits: torch.Tensor, answers: torch.Tensor) -> Outcomes:
    """Score ``logits`` (prompts, vocabulary) against the first tokens of the answers (prompts,).
    ``p_answer`` is NaN where the logits are not all numbers."""
    probabilities = logits.float().softmax(-1)
    likeliest = logits.argmax(-1)
    p_answer = probabilities.gather(1, answers[:, None])[:, 0].double()
    p_answer = p_answer.masked_fill(~logits.isfinite().all(-1), torch.nan)
    return Outcomes(*(part.numpy() for part in brought(p_answer, likeliest == answers, likeliest)))


def selected(outcomes: Outcomes, numbers: np.ndarray) -> Outcomes:
    """The outcomes of the prompts with these numbers."""
    return Outcomes(outcomes.p_answer[numbers], outcomes.correct[numbers], outcomes.said[numbers])


def concatenate_outcomes(parts: list[Outcomes]) -> Outcomes:
    """Outcomes of consecutive batches as one."""
    return Outcomes(
        np.concatenate([part.p_answer for part in parts]),
        np.concatenate([part.correct for part in parts]),
        np.concatenate([part.said for part in parts]),
    )
