"""What a vector does to the answer to one question: at one layer, and at every layer for itself.

All of it is one pass: the question's earlier tokens are run once, its last token once for each
condition (:mod:`mfv_dsl.engine.prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.greedy import continue_greedily
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.decoding import word_of
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.vectors import Vector, of_one_place
from mfv_dsl.models.base import Backend, PromptBatch


@dataclass(frozen=True)
class AnswerChange:
    """An answer's first token, as a word, with its probability without and with the vector;
    ``after`` is None where there was no vector."""

    token: int
    word: str
    before: float
    after: float | None


@dataclass(frozen=True)
class FollowedAnswer:
    """An answer's probability without the vector, and with it at each layer, (layers,); NaN where
    the model computes no numbers."""

    token: int
    word: str
    before: float
    by_layer: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class LayerEffects(Short):
    """What a vector does to one question.

    ``answers`` are the likeliest without and with it, those that are likelier with it first.
    ``followed`` are answers at each of ``layers``.  ``texts`` is what the model goes on to say, one
    text without and one with the vector.
    """

    answers: tuple[AnswerChange, ...]
    layers: tuple[int, ...]
    followed: tuple[FollowedAnswer, ...]
    texts: tuple[str, ...]


def layer_effects(
    backend: Backend,
    batch: PromptBatch,
    vector: Vector | None = None,
    layer: int | str = 0,
    scale: float = 1.0,
    *,
    top: int = 5,
    follow: Sequence[str] = (),
    max_new_tokens: int = 0,
) -> LayerEffects:
    """What adding ``scale`` · ``vector`` does to the first prompt of ``batch``.

    Args:
        backend: The model.
        batch: The question.
        vector: What is added at the last token; None for the unedited model alone.
        layer: Where it is added, or ``native`` for each head's own layer.
        scale: The factor before it.
        top: How many answers of each condition.
        follow: The answers that are followed over the layers, by name; if left out the likeliest
            without and with the vector.
        max_new_tokens: How many tokens the model goes on for, greedily; 0 for none.

    Raises:
        MfvError: MFV5103 for a layer that is not there, MFV5305 for ``native`` without parts,
            MFV5370 where the model computes no numbers, MFV7244 for a text that grows too long.
    """
    layers = tuple(backend.sites["lm.resid"].layers) if vector is not None else ()
    conditions: list[list[Edit]] = [[]]
    if vector is not None:
        of_one_place(vector, "what is followed over the layers")
        conditions.append(adding(vector, layer, scale))
    variants = [*conditions, *(adding(vector, each, scale) for each in layers if vector)]
    with torch.no_grad():
        prefix = encode_prefix(backend, batch)
        scores = prefix.scores(variants, top=top, logits=True)
        assert scores.logits is not None
        finite, best, logits = brought(scores.finite, scores.top[0], scores.logits[0])
    for number, edits in enumerate(conditions):
        check_scores(backend, batch, finite[:, number], edits)
    p = logits.double().log_softmax(-1).exp()  # (variants, vocabulary)
    p[~finite[0]] = torch.nan
    names = backend.first_tokens(follow) if follow else [row[0] for row in best.tolist()[:2]]
    texts: tuple[str, ...] = ()
    if max_new_tokens:
        generated = continue_greedily(prefix, conditions, max_new_tokens)
        texts = tuple(backend.text(tokens[0]) for tokens in generated.tokens)
    return LayerEffects(
        _changes(backend, best[: len(conditions)].tolist(), p),
        layers,
        tuple(
            FollowedAnswer(
                token, word_of(backend, token), p[0, token].item(),
                tuple(p[len(conditions) :, token].tolist()),
            )
            for token in dict.fromkeys(names)
        ),
        texts,
    )  # fmt: skip


def _changes(
    backend: Backend, best: Sequence[Sequence[int]], p: torch.Tensor
) -> tuple[AnswerChange, ...]:
    """The ``best`` tokens of each condition, the likeliest under the last condition first."""
    tokens = dict.fromkeys(token for row in reversed(best) for token in row)
    last = len(best) - 1
    return tuple(
        AnswerChange(
            token, word_of(backend, token), p[0, token].item(),
            p[last, token].item() if last else None,
        )
        for token in sorted(tokens, key=lambda token: -p[last, token].item())
    )  # fmt: skip
