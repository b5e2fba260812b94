"""Evaluations: every condition of an eval on one relation, measured on the same items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.asked import choice_of_item, question_of
from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.data.statistics import blind_chances
from mfv_dsl.data.table import FileDataset
from mfv_dsl.engine.edits import Edit, Span
from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.engine.positions import no_text, wording
from mfv_dsl.execute.conditions import (
    Condition,
    Evaluation,
    Failure,
    Point,
    sweep,
    with_controls,
)
from mfv_dsl.execute.edits import added_at, edits_of
from mfv_dsl.execute.operations.classification import classified
from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Pairs, Session, fitting, prefix_of
from mfv_dsl.lang.entries import CHOOSING, TRAINING_SPLIT
from mfv_dsl.lang.writing import is_text
from mfv_dsl.methods.analogy import Blended, BlendOutcomes, blend_parts, joined_blends
from mfv_dsl.methods.answers import (
    Answers,
    answered_relations,
    begun_by,
    name_tokens,
    relations_shown,
    require_distinct,
)
from mfv_dsl.methods.choices import asked_prompts, check_words
from mfv_dsl.methods.outcomes import Outcomes
from mfv_dsl.plan.steps import Step


@performs("evaluate")
def evaluate(session: Session, step: Step, inputs: Values) -> Evaluation:
    """All conditions of an eval on one relation: those of a sweep that is chosen from are tried on
    another split first."""
    p = step.parameters
    points = sweep(p)
    trials: tuple[Condition, ...] = ()
    failures: tuple[Failure, ...] = ()
    if p.get("choose"):
        progress = session.listener.begin(f"{step.label}, choosing", len(points))
        prompts = _prompts(session, step, inputs, p["select_on"], p["shots"])
        trials, failed = _measured(
            session, step, inputs, points, prompts, p["select_on"], name="trials "
        )
        progress(len(points))
        failures = tuple(replace(failure, is_trial=True) for failure in failed)
        if not trials:
            raise failed[0].error
        points = _winners(trials, p["choose"])
    points = with_controls(points, p)
    progress = session.listener.begin(step.label, len(points))
    prompts = _prompts(session, step, inputs, p["split"], p["shots"])
    wordings = Wordings(session.backend(step).text)
    conditions, failed = _measured(session, step, inputs, points, prompts, p["split"], wordings)
    progress(len(points))
    zero_shot = inputs["zero_shot"].picked(_measurable(step, inputs, p["split"]))
    queries = [prompt.query for prompt in prompts]
    chooses = p["answer"] in CHOOSING and p.get("mode") != "classify"
    zero_shot_said = wordings.places(zero_shot.names, zero_shot.outcomes.said)
    return Evaluation(
        conditions,
        trials,
        zero_shot.outcomes,
        tuple(query.image for query in queries),
        _relations(session, step, prompts),
        (*failures, *failed),
        (
            tuple(question_of(query) if chooses else query.query for query in queries),
            tuple(choice_of_item(q).answer if chooses else q.answer for q in queries),
            tuple(query.place for query in queries),
        ),
        tuple(wordings.texts),
        zero_shot_said,
        _blind(session, step, queries, chooses),
        tuple(choice_of_item(query).options for query in queries) if chooses else (),
    )


def _blind(
    session: Session, step: Step, queries: Sequence[Item], chooses: bool
) -> np.ndarray | None:
    """How probably a guess by the frequency of answers is right (prompts,).  Scenes that are drawn
    have all answers equally often, so that there is nothing to guess by."""
    dataset, p = session.dataset(step), step.parameters
    if not isinstance(dataset, FileDataset):
        return None
    return np.array(blind_chances(dataset, p["relation"], p["split"], queries, chooses))


class Wordings:
    """The different ``texts`` of answers, in the order in which they come up; ``text`` makes one of
    tokens."""

    def __init__(self, text: Callable[[Sequence[int]], str]) -> None:
        self._text = text
        self._tokens: dict[int, str] = {}
        self._places: dict[str, int] = {}

    @property
    def texts(self) -> list[str]:
        """The texts, by place."""
        return list(self._places)

    def places(self, names: Sequence[str | None], said: np.ndarray) -> np.ndarray:
        """The place of every answer (prompts,): of the object that it names, or where it names none
        of the token that it begins with, ``said`` (prompts,)."""
        texts = [
            self._of_token(token) if name is None else name
            for name, token in zip(names, said.tolist(), strict=True)
        ]
        places = [self._places.setdefault(text, len(self._places)) for text in texts]
        return np.array(places, dtype=np.int32)

    def _of_token(self, token: int) -> str:
        if token not in self._tokens:
            text = self._text((token,))
            self._tokens[token] = text.strip() or repr(text)
        return self._tokens[token]


@performs("answers")
def unedited_answers(session: Session, step: Step, inputs: Values) -> Answers:
    """What the unedited model answers to all items of a relation."""
    p = step.parameters
    progress = session.listener.begin(step.label, 1)
    prompts = session.prompts(step, p["items"], p["split"], p["shots"])
    (answers,) = session.answers(step, prompts, p["split"], [()])
    if answers.failure is not None:
        raise answers.failure
    progress(1)
    return answers


def check_answers(session: Session, steps: Iterable[Step]) -> None:
    """Before anything is measured: refuse names that hold the model's own marks (MFV7124), and
    evaluations whose way of scoring does not tell objects apart (MFV5340, MFV5375) or that write to
    a text which some query does not have (MFV5121); warn of words that the tokenizer does not know
    (MFV5376)."""
    seen = set()
    for step in steps:
        if step.model is None or step.dataset is None:
            continue
        if (step.model, step.dataset) not in seen:
            seen.add((step.model, step.dataset))
            session.check_names(step)
        p = step.parameters
        if step.operation in ("evaluate", "answers"):
            for split in sorted({p["split"], p.get("select_on") or p["split"]}):
                backend, names = session.backend(step), session.names(step, split)
                if p["answer"] in CHOOSING:
                    _check_choices(session, step, split)
                    continue
                backend.first_tokens(names)  # each has one, or is named
                if p["answer"] == "first":
                    require_distinct(backend, names)
                if p["answer"] == "full":
                    name_tokens(backend, names)
                session.warn_of_unknown(step, names)
        if step.operation in ("evaluate", "tune") and is_text(p.get("position", "last")):
            _check_text(session, step, Span(p["position"]))


def _check_choices(session: Session, step: Step, split: str) -> None:
    """Refuse items without options (MFV5710, MFV5711), and options that the tokenizer does not tell
    apart (MFV5712, MFV5713)."""
    p = step.parameters
    prompts = session.prompts(step, p["items"], split, p["shots"])
    for prompt in prompts:
        asked_prompts(prompt, p["answer"])
    check_words(session.backend(step), p["answer"], prompts)
    options = {o for prompt in prompts for o in choice_of_item(prompt.query).options}
    session.warn_of_unknown(step, sorted(options))


def _asked(p: Mapping[str, Any], prompt: Prompt) -> list[Prompt]:
    """The prompts that are run where a step with the parameters ``p`` asks a prompt."""
    return asked_prompts(prompt, p["answer"]) if p.get("answer") in CHOOSING else [prompt]


def _check_text(session: Session, step: Step, span: Span) -> None:
    """Refuse (MFV5121) a text that the query of a prompt does not have.  Of items that are chosen
    by what the model answers it is seen when they are known."""
    p = step.parameters
    if p.get("correct_with") is not None:
        return
    draws = {(p["items"], p["split"])} if "split" in p else {
        (p["items"], TRAINING_SPLIT), (p["select_items"], p["select_on"])
    }  # fmt: skip
    if p.get("choose"):
        draws.add((p["items"], p["select_on"]))
    for n, split in sorted(draws):
        prompts = session.prompts(step, n, split, p["shots"])
        for asked in (asked for prompt in prompts for asked in _asked(p, prompt)):
            query = session.backend(step).pieces(asked)[-1]
            wanted = wording(span, asked.query.query)
            if wanted not in query:
                raise named(no_text(wanted, query), step.label)


def _measured(
    session: Session, step: Step, inputs: Values, points: list[Point], prompts: list[Prompt],
    split: str, wordings: Wordings | None = None, name: str = "",
) -> tuple[tuple[Condition, ...], tuple[Failure, ...]]:  # fmt: skip
    """Measure every condition of ``points`` on the same prompts of ``split``; those that give no
    numbers are failures.  With ``wordings`` they know what was said.  The names of the step's parts
    begin with ``name``."""
    relations = _relations(session, step, prompts)

    def condition(
        point: Point, outcomes: Outcomes, names: Sequence[str | None],
        weights: np.ndarray | None = None, opened: np.ndarray | None = None,
    ) -> Condition:  # fmt: skip
        said = None if wordings is None else wordings.places(names, outcomes.said)
        answered = answered_relations(prompts, names, relations)
        return Condition(point, outcomes, answered, weights, said, opened)

    if step.parameters.get("mode") == "classify":
        answers, errors_of = classified(session, step, inputs, points, prompts, name)
        conditions = [
            condition(point, answer.outcomes, answer.names) for point, answer in answers.items()
        ]
        failed = [errors_of.get(point) for point in points]
        return tuple(conditions), _failures(step, points, failed)
    if step.parameters.get("mode") == "blend":
        names = begun_by(
            session.backend(step), session.names(step, split), step.parameters["answer"]
        )
        blends = _blends(session, step, inputs, points, split, prompts, name)
        conditions = [
            condition(
                point, blend.outcomes,
                [names.get(token) for token in blend.outcomes.said.tolist()], blend.weights,
            )
            for point, blend in zip(points, blends, strict=True)
            if blend.failure is None
        ]  # fmt: skip
        errors = [blend.failure for blend in blends]
        return tuple(conditions), _failures(step, points, errors)
    backend = session.backend(step)
    variants: dict[Point, list[Edit]] = {}
    errors: dict[Point, MfvError] = {}
    for point in points:
        try:
            is_edit = step.parameters.get("mode") != "adapter"
            variants[point] = (
                edits_of(step.parameters, inputs, point, backend.sites, backend.facts.head_dim)
                if is_edit
                else []
            )
        except MfvError as error:
            errors[point] = error
    if step.parameters.get("mode") == "adapter":
        answers = [session.adapted_answers(step, prompts, split, inputs["real"], name)]
    elif "unedited" in step.references:
        answers = [inputs["unedited"].picked(_measurable(step, inputs, split))]
    else:
        asked = list(variants.values())
        answers = session.answers(step, prompts, split, asked, name) if asked else []
    conditions = [
        condition(point, answer.outcomes, answer.names, opened=answer.opened)
        for point, answer in zip(variants, answers, strict=True)
        if answer.failure is None
    ]
    errors |= {
        point: answer.failure
        for point, answer in zip(variants, answers, strict=True)
        if answer.failure is not None
    }
    return tuple(conditions), _failures(step, points, [errors.get(point) for point in points])


def _failures(
    step: Step, points: Sequence[Point], errors: Sequence[MfvError | None]
) -> tuple[Failure, ...]:
    return tuple(
        Failure(point, named(error, f"{step.label}, {point}" if str(point) else step.label))
        for point, error in zip(points, errors, strict=True)
        if error is not None
    )


def named(error: MfvError, where: str) -> MfvError:
    """The same error, which says that it comes from ``where``."""
    return NotFinite(error.code, f"{where}: {error.message}", error.help, error.notes)


def _blends(
    session: Session, step: Step, inputs: Values, points: Sequence[Point], split: str,
    prompts: list[Prompt], name: str,
) -> list[BlendOutcomes]:  # fmt: skip
    """Every condition of ``points``, its layer and scale, measured on ``prompts``."""
    backend = session.backend(step)
    size = fitting(backend, prompts)  # those have the more demonstrations
    source_of = dict(zip(map(id, prompts), source_pairs(session, step, inputs, split), strict=True))
    conditions = [
        [added_at(step.parameters, vector, point, backend.sites) for vector in inputs["candidates"]]
        for point in points
    ]

    def pairs(targets: list[Prompt]) -> Pairs:
        sources = session.batches(step, [source_of[id(prompt)] for prompt in targets], size)
        return Pairs(sources, session.batches(step, targets, size))

    def measured(chunk: list[Prompt]) -> tuple[Blended, ...]:
        return blend_parts(backend, pairs(chunk), conditions, prefix_of(step))

    parts = session.over_prompts(step, prompts, measured, name)
    return joined_blends(backend, pairs(prompts), conditions, parts)


def source_pairs(session: Session, step: Step, inputs: Values, split: str) -> list[Prompt]:
    """For each test prompt of ``step``, the zero-shot prompt that asks its source pair.

    The pair is what one demonstration would show: the same item as in the one-shot prompt.
    """
    prompts = _prompts(session, step, inputs, split, 1)
    return [Prompt((), prompt.demonstrations[0]) for prompt in prompts]


def _prompts(session: Session, step: Step, inputs: Values, split: str, shots: int) -> list[Prompt]:
    """The prompts that are measured on a split."""
    prompts = session.prompts(step, step.parameters["items"], split, shots)
    return [prompts[i] for i in _measurable(step, inputs, split)]


def _measurable(step: Step, inputs: Values, split: str) -> np.ndarray:
    """The numbers of the items that are measured, of all that are drawn: with `correct_with` those
    that the unedited model answers correctly with so many demonstrations.

    Raises MfvError (MFV5366) where there are none.
    """
    p = step.parameters
    shots = p.get("correct_with")
    if shots is None:
        return np.arange(p["items"])
    known = inputs["known" if split == p["split"] else "known_select"]
    numbers = np.flatnonzero(known.outcomes.correct)
    if not len(numbers):
        raise MfvError(
            "MFV5366",
            f"of {p['items']} items of `{p['relation']}` from {split} the model answers none "
            f"correctly with {shots} demonstrations, and `correct_with = {shots}` asks for such",
            help="take more `items`, another number of demonstrations, or leave it out",
        )
    return numbers


def _relations(session: Session, step: Step, prompts: list[Prompt]) -> tuple[str, ...]:
    return relations_shown(prompts, session.dataset(step).relations)


def _winners(trials: tuple[Condition, ...], choose: tuple[str, ...]) -> list[Point]:
    """The best condition for every value of the sweeps that are not chosen over.

    Best is by accuracy, then by the mean probability of the answer, then the first.
    """
    best: dict[Point, Condition] = {}
    for trial in trials:
        rest = trial.at.settled(choose)
        if rest not in best or _merit(trial) > _merit(best[rest]):
            best[rest] = trial
    return [trial.at for trial in best.values()]


def _merit(condition: Condition) -> tuple[float, float]:
    return condition.outcomes.accuracy, float(condition.outcomes.p_answer.mean())
