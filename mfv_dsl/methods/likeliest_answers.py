"""What a model answers to one question, with and without edits."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.decoding import word_of
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.models.base import Backend, PromptBatch

#: The likeliest next tokens with their probabilities, the likeliest first.
TokenProbabilities = list[tuple[str, float]]


def likeliest_answers(
    backend: Backend, batch: PromptBatch, variants: Sequence[Sequence[Edit]], top: int = 5
) -> list[TokenProbabilities]:
    """The ``top`` answers to the first prompt of ``batch`` under each variant, a list of edits at
    the last token; without edits where the list is empty.  Raises MfvError (MFV5370) where the
    model computes no numbers."""
    with torch.no_grad():
        scores = encode_prefix(backend, batch).scores(variants, top=top)
    finite, top_tokens, log_p_of_top = brought(scores.finite, scores.top[0], scores.top_log_p[0])
    for number, edits in enumerate(variants):
        check_scores(backend, batch, finite[:, number], edits)
    return [
        [
            (word_of(backend, token), probability)
            for token, probability in zip(tokens, log_p.exp().tolist(), strict=True)
        ]
        for tokens, log_p in zip(top_tokens.tolist(), log_p_of_top, strict=True)
    ]
