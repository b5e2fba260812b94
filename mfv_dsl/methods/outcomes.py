"""What a model answered: probability of the right answer, and whether it came first."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought


@dataclass(frozen=True, repr=False)
class Choices(Short):
    """What was chosen of each prompt's options; of (prompts, most options) what lies beyond a
    prompt's own options is 0.

    ``counts`` (prompts,) is how many options there are, ``right`` (prompts,) the number of the
    right one.  ``p`` (prompts, options) is the probability of each among them in the way that was
    asked for.  Where letters were asked for, ``in_order`` (prompts,) is the option of the likeliest
    letter with the options in the order of the set, and ``said`` (prompts,) the probability that
    the next token is any of what counts as an answer, on average over turns; -1 and 1 elsewhere.
    ``text_log_p`` (prompts, options) is the log-probability of each option's text in nats, and
    ``text_tokens`` (prompts, options) how many tokens it has; both are (prompts, 0) where texts
    were not asked for.
    """

    counts: np.ndarray
    right: np.ndarray
    p: np.ndarray
    in_order: np.ndarray
    said: np.ndarray
    text_log_p: np.ndarray
    text_tokens: np.ndarray

    @property
    def chosen(self) -> np.ndarray:
        """The option with the largest probability, (prompts,); of equals the first."""
        return self._first_of(self.p)

    @property
    def by_text(self) -> np.ndarray | None:
        """The option whose text has the largest log-probability for each token, (prompts,)."""
        if not self.text_tokens.shape[1]:
            return None
        return self._first_of(self.text_log_p / np.maximum(self.text_tokens, 1))

    @property
    def by_sum(self) -> np.ndarray | None:
        """The option whose text has the largest log-probability, (prompts,)."""
        return self._first_of(self.text_log_p) if self.text_tokens.shape[1] else None

    @property
    def by_letter(self) -> np.ndarray | None:
        """The option of the likeliest letter in the order of the set, (prompts,)."""
        return self.in_order if (self.in_order >= 0).all() else None

    def _first_of(self, scores: np.ndarray) -> np.ndarray:
        places = np.arange(scores.shape[1])
        best: np.ndarray = np.where(places < self.counts[:, None], scores, -np.inf).argmax(1)
        return best

    def picked(self, numbers: np.ndarray) -> Choices:
        """The choices of the prompts with these numbers."""
        return Choices(**{field.name: getattr(self, field.name)[numbers] for field in fields(self)})


@dataclass(frozen=True, repr=False)
class Outcomes(Short):
    """Per prompt: ``p_answer``, probability of the answer's first token; ``correct``, whether that
    token was the likeliest of the vocabulary; ``said``, the likeliest token.

    The store writes these names into its files.  Other ways of answering
    (:mod:`mfv_dsl.methods.answers`) give these fields another meaning.  ``choices`` are there where
    one of several options was asked for.
    """

    p_answer: np.ndarray
    correct: np.ndarray
    said: np.ndarray
    choices: Choices | None = None

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
    choices = None if outcomes.choices is None else outcomes.choices.picked(numbers)
    return Outcomes(
        outcomes.p_answer[numbers], outcomes.correct[numbers], outcomes.said[numbers], choices
    )


def concatenate_outcomes(parts: list[Outcomes]) -> Outcomes:
    """Outcomes of consecutive batches as one."""
    return Outcomes(
        np.concatenate([part.p_answer for part in parts]),
        np.concatenate([part.correct for part in parts]),
        np.concatenate([part.said for part in parts]),
        _concatenate_choices([part.choices for part in parts if part.choices is not None]),
    )


def _concatenate_choices(parts: list[Choices]) -> Choices | None:
    """Choices of consecutive prompts as one, as wide as those with the most options."""
    if not parts:
        return None
    joined = {}
    for field in fields(Choices):
        arrays: list[np.ndarray] = [getattr(part, field.name) for part in parts]
        most = max(array.shape[-1] for array in arrays)
        if arrays[0].ndim == 2:
            arrays = [np.pad(a, ((0, 0), (0, most - a.shape[1]))) for a in arrays]
        joined[field.name] = np.concatenate(arrays)
    return Choices(**joined)
