"""Figures of answers beside their accuracy: of questions with options, and balanced accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mfv_dsl.methods.outcomes import Choices, Outcomes


def choice_fields(
    outcomes: Sequence[Outcomes], answers: Sequence[str], is_balanced: bool
) -> dict[str, Any]:
    """The figures of outcomes on one or several relations, those that there are.

    Args:
        outcomes: Of each relation.
        answers: The right answer of every item, in the same order; none where they are not known.
        is_balanced: Whether the balanced accuracy is asked for where there are no options.
    """
    correct = np.concatenate([part.correct for part in outcomes])
    known = len(answers) == len(correct)
    chosen = [part.choices for part in outcomes if part.choices is not None]
    fields: dict[str, Any] = {}
    if known and (is_balanced or chosen):
        fields["balanced_accuracy"] = balanced_accuracy(correct, answers)
    if len(chosen) < len(outcomes) or not chosen:
        return fields
    counts = np.concatenate([part.counts for part in chosen])
    fields["chance"] = float((1 / counts).mean())
    if known:
        fields["most_frequent"] = max(Counter(answers).values()) / len(answers)
    ways: dict[str, Callable[[Choices], np.ndarray | None]] = {
        "letter_accuracy": lambda part: part.by_letter,
        "text_accuracy": lambda part: part.by_text,
        "text_sum_accuracy": lambda part: part.by_sum,
    }
    for name, way in ways.items():
        found = [way(part) for part in chosen]
        right = [
            options == part.right for options, part in zip(found, chosen, strict=True)
            if options is not None
        ]  # fmt: skip
        if len(right) == len(chosen):
            fields[name] = float(np.concatenate(right).mean())
    said = np.concatenate([part.said for part in chosen])
    if (said < 1).any():  # of texts nothing else can be said
        fields["p_said"] = float(said.mean())
    return fields


def balanced_accuracy(correct: np.ndarray, answers: Sequence[str]) -> float:
    """The mean over right answers of the share of their items that are ``correct`` (items,):
    always giving the same answer is worth no more than one of them.

    >>> balanced_accuracy(np.array([True, True, True, False]), ["yes", "yes", "yes", "no"])
    0.5
    """
    by_answer = np.array(answers)
    shares = [correct[by_answer == answer].mean() for answer in sorted(set(answers))]
    return float(np.mean(shares))
