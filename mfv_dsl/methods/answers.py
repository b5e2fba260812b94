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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from unicodedata import combining, normalize

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.engine.candidates import likeliest_sequences
from mfv_dsl.engine.finite import NotFinite, check_edits
from mfv_dsl.engine.gates import gates_of
from mfv_dsl.engine.greedy import continue_greedily
from mfv_dsl.engine.prefix import PrefixOf, Variant, encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.evaluation import measure_many
from mfv_dsl.methods.finite import failure
from mfv_dsl.methods.outcomes import Outcomes, concatenate_outcomes, selected
from mfv_dsl.models.base import Backend, PromptBatch

_SHOWN = 5  # groups of names in a message


@dataclass(frozen=True, repr=False)
class Answers(Short):
    """Outcomes of prompts, and the object that each answer names, None where it names none; or why
    there are none of either that could be told (``failure``).  ``opened`` (prompts,) says which
    prompts opened the gate of an edit, None where no edit has one."""

    outcomes: Outcomes
    names: tuple[str | None, ...]
    failure: NotFinite | None = None
    opened: np.ndarray | None = None

    def picked(self, numbers: np.ndarray) -> Answers:
        """The answers to the prompts with these numbers."""
        opened = None if self.opened is None else self.opened[numbers]
        names = tuple(self.names[i] for i in numbers)
        return Answers(selected(self.outcomes, numbers), names, opened=opened)

    @classmethod
    def failed(cls, failure: NotFinite) -> Answers:
        """No answers."""
        none = np.empty(0)
        return cls(Outcomes(none, none.astype(bool), none.astype(int)), (), failure)


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
        raise MfvError(
            "MFV5340",
            f"{sum(map(len, alike))} of {len(names)} objects begin with the same token as another",
            notes=_shown(alike),
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
    stop that ends an answer belongs to all: without it the longer could never be the likelier.
    Raises MfvError (MFV5375) for names that have the same tokens: none could be the likelier.
    """
    tokens = backend.answer_tokens(names)
    beginnings = {sequence[:length] for sequence in tokens for length in range(len(sequence))}
    if not beginnings.isdisjoint(tokens):
        tokens = backend.answer_tokens([f"{name}." for name in names])
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, sequence in zip(names, tokens, strict=True):
        groups[sequence].append(name)
    alike = [group for group in groups.values() if len(group) > 1]
    if alike:
        raise MfvError(
            "MFV5375",
            f"{sum(map(len, alike))} of {len(names)} objects have the same tokens as another, so "
            "`answer = full` cannot tell them apart",
            notes=_shown(alike),
            help="the tokenizer takes words that it does not know for one; rename them by "
            "`synonyms`, or take a model that knows them",
        )
    return tokens


def _shown(groups: Sequence[Sequence[str]]) -> list[str]:
    """Groups of names as notes of a message."""
    more = f"and {len(groups) - _SHOWN} groups more"
    return [
        *(f"alike: {', '.join(group)}" for group in groups[:_SHOWN]),
        *([more] if len(groups) > _SHOWN else []),
    ]


def measure_answers(
    backend: Backend,
    batches: Sequence[PromptBatch],
    variants: Sequence[Variant],
    how: str,
    names: Sequence[str],
    prefix_of: PrefixOf = encode_prefix,
) -> list[Answers]:
    """What the model answers to the prompts of ``batches`` under each variant, edits at the last
    token, or with :func:`~mfv_dsl.engine.prefix.full_passes` anywhere.  They are made in prompts
    alone, and not at the tokens of answers.  ``how`` is one of the four ways above; ``names`` are
    :func:`object_names`; ``prefix_of`` runs the prompts' earlier tokens.

    Under ``full`` ``p_answer`` is the probability of the whole answer, else of its first token.  A
    variant under which the model computes no numbers has a failure in place of answers.  Raises
    MfvError: MFV5340 and MFV5375 for names that the tokens do not tell apart, under ``first`` and
    ``full``.
    """
    asking = Asking(backend, variants, how, names, prefix_of)
    return asking.joined(batches, [asking.measured(batches)])


class Asking:
    """Some variants, and how a model is asked under each; arguments as of :func:`measure_answers`.
    Prompts may be measured in parts, which are joined afterwards."""

    def __init__(
        self,
        backend: Backend,
        variants: Sequence[Variant],
        how: str,
        names: Sequence[str],
        prefix_of: PrefixOf = encode_prefix,
    ) -> None:
        self._backend, self._prefix_of = backend, prefix_of
        self._answered = _asker(backend, how, names, prefix_of)
        self._errors = [refused(backend, edits) for edits in variants]
        pairs = zip(variants, self._errors, strict=True)
        self._sound = [edits for edits, error in pairs if error is None]

    def measured(self, batches: Sequence[PromptBatch]) -> tuple[Answers, ...]:
        """The answers to the prompts of ``batches`` under each variant whose edits are numbers;
        ``p_answer`` is NaN where the model computes none."""
        if not self._sound:
            return ()
        parts = [part for _, part in in_parts(self._backend, batches, self._of_rows)]
        return tuple(map(put_together, zip(*parts, strict=True)))

    def joined(
        self, batches: Sequence[PromptBatch], parts: Sequence[tuple[Answers, ...]]
    ) -> list[Answers]:
        """Of each variant the answers of all ``parts``, what :meth:`measured` gave for the prompts
        of ``batches``; or why it has none."""
        found = iter(map(self._together, repeat(batches), self._sound, zip(*parts, strict=True)))
        return [next(found) if error is None else Answers.failed(error) for error in self._errors]

    def _of_rows(self, rows: Rows) -> list[Answers]:
        own: list[Variant] = [rows.edits(edits) for edits in self._sound]
        if any(gates_of(edits) for edits in own):
            own = self._prefix_of(self._backend, rows.batch).settled(own)
        answers = self._answered(rows.batch, own)
        return [
            replace(answer, opened=opened_by(edits))
            for answer, edits in zip(answers, own, strict=True)
        ]

    def _together(
        self, batches: Sequence[PromptBatch], edits: Variant, parts: Sequence[Answers]
    ) -> Answers:
        """Answers under one variant to all prompts; a failure where some scores are no numbers."""
        whole = put_together(parts)
        error = failure(self._backend, batches, edits, whole.outcomes.p_answer)
        return whole if error is None else Answers.failed(error)


def put_together(parts: Sequence[Answers]) -> Answers:
    """Answers to consecutive prompts as one."""
    masks = [part.opened for part in parts if part.opened is not None]
    names = tuple(name for part in parts for name in part.names)
    outcomes = concatenate_outcomes([part.outcomes for part in parts])
    return Answers(outcomes, names, opened=np.concatenate(masks) if masks else None)


def opened_by(edits: Variant) -> np.ndarray | None:
    """The prompts in which an edit that has a gate is made, (prompts,); None where none has."""
    masks = [edit.when for edit in edits if isinstance(edit.when, torch.Tensor)]
    return torch.stack(masks).any(0).cpu().numpy() if masks else None


def refused(backend: Backend, edits: Variant) -> NotFinite | None:
    try:
        check_edits(backend, edits)
    except NotFinite as error:
        return error
    return None


#: The answers to a batch of prompts under each variant; ``p_answer`` is NaN where scores are none.
_Asker = Callable[[PromptBatch, Sequence[Variant]], list[Answers]]


def _asker(backend: Backend, how: str, names: Sequence[str], prefix_of: PrefixOf) -> _Asker:
    """What asks in one of the four ways; names that cannot be told apart are refused now."""
    if how == "full":
        return partial(_full, backend, names, name_tokens(backend, names), prefix_of)
    if how == "generate":
        return partial(_generated, backend, names, prefix_of)
    return partial(_begun, backend, begun_by(backend, names, how), prefix_of)


def _begun(
    backend: Backend, begins: Mapping[int, str], prefix_of: PrefixOf, batch: PromptBatch,
    variants: Sequence[Variant],
) -> list[Answers]:  # fmt: skip
    """The objects that the likeliest tokens begin."""
    return [
        Answers(outcomes, tuple(begins.get(token) for token in outcomes.said.tolist()))
        for outcomes in measure_many(backend, [batch], variants, prefix_of)
    ]


def _full(
    backend: Backend, names: Sequence[str], tokens: Sequence[tuple[int, ...]],
    prefix_of: PrefixOf, batch: PromptBatch, variants: Sequence[Variant],
) -> list[Answers]:  # fmt: skip
    """The objects whose whole names are likeliest."""
    place = {name: i for i, name in enumerate(names)}
    targets = np.array([place[prompt.query.answer] for prompt in batch.prompts])
    likeliest = likeliest_sequences(prefix_of(backend, batch), tokens, targets, variants)
    p_answers = np.exp(np.where(likeliest.finite, likeliest.target_log_p, np.nan))
    first = np.array([sequence[0] for sequence in tokens])
    return [
        Answers(Outcomes(p_answer, best == targets, first[best]), tuple(names[i] for i in best))
        for p_answer, best in zip(p_answers.T, likeliest.best.T, strict=True)
    ]


def _generated(
    backend: Backend, names: Sequence[str], prefix_of: PrefixOf, batch: PromptBatch,
    variants: Sequence[Variant],
) -> list[Answers]:  # fmt: skip
    """The objects whose names greedy generations begin with; ``p_answer`` and ``said`` are of the
    first token."""
    longest = max(map(len, backend.answer_tokens([f"{name}." for name in names])))
    targets = [prompt.query.answer for prompt in batch.prompts]
    found = continue_greedily(prefix_of(backend, batch), variants, longest)
    p_answers = found.first.p.double().masked_fill(~found.finite, torch.nan).numpy()
    answers = []
    for p_answer, said, tokens in zip(
        p_answers.T, found.first.likeliest.numpy().T, found.tokens, strict=True
    ):
        objects = tuple(begun_with(backend.text(generated), names) for generated in tokens)
        correct = np.array([name == target for name, target in zip(objects, targets, strict=True)])
        answers.append(Answers(Outcomes(p_answer, correct, said), objects))
    return answers


def begun_with(text: str, names: Sequence[str]) -> str | None:
    """The longest of ``names`` that ``text`` begins with as whole words, white space aside.  What
    follows does not count: not every model was taught to end an answer.  Letters with marks are
    compared in the form NFC."""
    stripped = normalize("NFC", text).strip()
    candidates = []
    for name in names:
        composed = normalize("NFC", name)
        end = stripped[len(composed) : len(composed) + 1]
        if stripped.startswith(composed) and not end.isalnum() and not combining(end or " "):
            candidates.append(name)
    return max(candidates, key=len, default=None)


def relations_shown(prompts: Sequence[Prompt], order: Sequence[str]) -> tuple[str, ...]:
    """The relations that some query's picture shows, those of ``order`` first, in its order."""
    present = {relation for prompt in prompts for relation in answers_by_relation(prompt.query)}
    return (*(r for r in order if r in present), *sorted(present.difference(order)))


def answered_relations(
    prompts: Sequence[Prompt], names: Sequence[str | None], relations: Sequence[str]
) -> np.ndarray:
    """Which of ``relations`` each answer would be right for, (prompts,); -1 for none of them.

    Of several the one asked for counts, else the first.  The right option of a question counts as
    the object asked for.
    """
    places = np.full(len(prompts), -1)
    for i, (prompt, name) in enumerate(zip(prompts, names, strict=True)):
        objects = answers_by_relation(prompt.query)
        choice = prompt.query.choice
        if choice is not None and name == choice.answer:
            name = prompt.query.answer
        candidates = [r for r in (prompt.query.relation, *relations) if objects.get(r) == name]
        if name is not None and candidates:
            places[i] = relations.index(candidates[0])
    return places
