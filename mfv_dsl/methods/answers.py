"""What a model answers, in four ways of asking.

``first``: the object that the likeliest next token begins, an error where a token begins several.
``first_token``: the same without the error, as arXiv:2510.02528 scores: an answer is right if its
first token is, even where another object's name begins with it.  ``full``: of all objects that
could be meant, the one whose whole name is likeliest.  ``generate``: the one whose name a greedy
generation begins with.  The objects that could be meant are all that a split's items name, as an
answer or as a neighbour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.prefix import Variant
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.methods.evaluation import measure_many
from mfv_dsl.methods.outcomes import Outcomes, concatenate_outcomes
from mfv_dsl.models.base import Backend, PromptBatch

_SHOWN = 5  # groups of names in a message


@dataclass(frozen=True)
class Answers:
    """Outcomes of prompts, and the object that each answer names, None where it names none."""

    outcomes: Outcomes
    names: tuple[str | None, ...]


def answers_by_relation(item: Item) -> dict[str, str]:
    """By relation the object that would be the item's answer; at least its own."""
    return {**item.neighbours, item.relation: item.answer}


def object_names(dataset: Dataset, split: str) -> tuple[str, ...]:
    """Every object that the split's items name, as an answer or as a neighbour, sorted."""
    items = (item for relation in dataset.relations for item in dataset.items(relation, split))
    return tuple(sorted({name for item in items for name in answers_by_relation(item).values()}))


def require_distinct(backend: Backend, names: Sequence[str]) -> dict[int, str]:
    """The object that each first token begins; an error if one token begins several."""
    groups = _by_first_token(backend, names)
    alike = [group for group in groups.values() if len(group) > 1]
    if alike:
        more = f"and {len(alike) - _SHOWN} groups more"
        raise MfvError(
            "MFV5340",
            f"{sum(map(len, alike))} of {len(names)} objects begin with the same token as another",
            notes=[
                *(f"alike: {', '.join(group)}" for group in alike[:_SHOWN]),
                *([more] if len(alike) > _SHOWN else []),
            ],
            help="`answer = full` compares whole names, `answer = generate` what the model says; "
            "`answer = first_token` lets the first token decide all the same, as the paper does",
        )
    return {token: group[0] for token, group in groups.items()}


def _by_first_token(backend: Backend, names: Sequence[str]) -> dict[int, list[str]]:
    groups: dict[int, list[str]] = defaultdict(list)
    for name, token in zip(names, backend.first_tokens(names), strict=True):
        groups[token].append(name)
    return groups


def begun_by(backend: Backend, names: Sequence[str], how: str) -> dict[int, str]:
    """The object that each first token begins; those that several begin with are left out under
    ``first_token``, and an error otherwise (:func:`require_distinct`)."""
    if how != "first_token":
        return require_distinct(backend, names)
    groups = _by_first_token(backend, names)
    return {token: group[0] for token, group in groups.items() if len(group) == 1}


def name_tokens(backend: Backend, names: Sequence[str]) -> list[tuple[int, ...]]:
    """The tokens of each name.  Where one name begins another (``tree``, ``tree trunk``) the full
    stop that ends an answer belongs to all: without it the longer could never be the likelier."""
    tokens = backend.answer_tokens(names)
    beginnings = {sequence[:length] for sequence in tokens for length in range(len(sequence))}
    if beginnings.isdisjoint(tokens):
        return tokens
    return backend.answer_tokens([f"{name}." for name in names])


def measure_answers(
    backend: Backend,
    batches: Sequence[PromptBatch],
    variants: Sequence[Variant],
    how: str,
    names: Sequence[str],
) -> list[Answers]:
    """What the model answers to the prompts of ``batches`` under each variant, edits at the last
    token.  ``how`` is one of the four ways above; ``names`` are :func:`object_names`.

    Under ``full`` ``p_answer`` is the probability of the whole answer, else of its first token.
    """
    if how == "full":
        return _full(backend, batches, variants, names)
    results = measure_many(backend, batches, variants)
    if how == "generate":
        return _generated(backend, batches, variants, names, results)
    begins = begun_by(backend, names, how)
    return [
        Answers(result, tuple(begins.get(token) for token in result.said.tolist()))
        for result in results
    ]


def _full(
    backend: Backend,
    batches: Sequence[PromptBatch],
    variants: Sequence[Variant],
    names: Sequence[str],
) -> list[Answers]:
    tokens = name_tokens(backend, names)
    first = np.array([sequence[0] for sequence in tokens])
    place = {name: i for i, name in enumerate(names)}
    results = []
    for edits in variants:
        parts, answers = [], []
        for batch in batches:
            log_p = sequence_log_p(backend, batch, tokens, edits).numpy()
            best = log_p.argmax(axis=1)
            targets = np.array([place[prompt.query.answer] for prompt in batch.prompts])
            p_answer = np.exp(log_p[np.arange(len(batch)), targets])
            parts.append(Outcomes(p_answer, best == targets, first[best]))
            answers += [names[i] for i in best]
        results.append(Answers(concatenate_outcomes(parts), tuple(answers)))
    return results


def _generated(
    backend: Backend,
    batches: Sequence[PromptBatch],
    variants: Sequence[Variant],
    names: Sequence[str],
    first: Sequence[Outcomes],
) -> list[Answers]:
    """``first`` are the outcomes on the first token."""
    longest = max(map(len, backend.answer_tokens([f"{name}." for name in names])))
    results = []
    for edits, outcomes in zip(variants, first, strict=True):
        answers = [
            begun_with(backend.text(generation.tokens), names)
            for batch in batches
            for generation in generate(backend, batch, longest, edits)
        ]
        targets = [prompt.query.answer for batch in batches for prompt in batch.prompts]
        correct = np.array(
            [answer == target for answer, target in zip(answers, targets, strict=True)]
        )
        results.append(Answers(replace(outcomes, correct=correct), tuple(answers)))
    return results


def begun_with(text: str, names: Sequence[str]) -> str | None:
    """The longest of ``names`` that ``text`` begins with as whole words, white space aside.  What
    follows does not count: not every model was taught to end an answer."""
    stripped = text.strip()
    candidates = [
        name
        for name in names
        if stripped.startswith(name) and not stripped[len(name) : len(name) + 1].isalnum()
    ]
    return max(candidates, key=len, default=None)


def relations_shown(prompts: Sequence[Prompt], order: Sequence[str]) -> tuple[str, ...]:
    """The relations that some query's picture shows, those of ``order`` first, in its order."""
    present = {relation for prompt in prompts for relation in answers_by_relation(prompt.query)}
    return (*(r for r in order if r in present), *sorted(present.difference(order)))


def answered_relations(
    prompts: Sequence[Prompt], names: Sequence[str | None], relations: Sequence[str]
) -> np.ndarray:
    """Which of ``relations`` each answer would be right for, (prompts,); -1 for none of them.

    Of several the one asked for counts, else the first.
    """
    places = np.full(len(prompts), -1)
    for i, (prompt, name) in enumerate(zip(prompts, names, strict=True)):
        objects = answers_by_relation(prompt.query)
        candidates = [r for r in (prompt.query.relation, *relations) if objects.get(r) == name]
        if name is not None and candidates:
            places[i] = relations.index(candidates[0])
    return places
