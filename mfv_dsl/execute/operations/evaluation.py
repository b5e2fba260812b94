"""Evaluations: every condition of an eval on one relation, measured on the same items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.execute.conditions import Condition, Evaluation, Point
from mfv_dsl.execute.edits import edits_of
from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session
from mfv_dsl.methods.analogy import BlendOutcomes, measure_blends
from mfv_dsl.methods.answers import (
    answered_relations,
    begun_by,
    relations_shown,
    require_distinct,
)
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.outcomes import selected
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.plan.descriptions import BATCH
from mfv_dsl.plan.steps import Step
from mfv_dsl.plan.treatments import treatments


@performs("evaluate")
def evaluate(session: Session, step: Step, inputs: Values) -> Evaluation:
    """All conditions of an eval on one relation: those of a sweep that is chosen from are tried on
    another split first."""
    p = step.parameters
    points = _sweep(p)
    trials: tuple[Condition, ...] = ()
    if p.get("choose"):
        progress = session.listener.begin(f"{step.label}, choosing", len(points))
        prompts = _prompts(session, step, p["select_on"], p["shots"])
        trials = _measured(session, step, inputs, points, prompts, p["select_on"])
        progress(len(points))
        points = _winners(trials, p["choose"])
    controls = ("", *p.get("controls", ()))
    points = [replace(point, control=control) for point in points for control in controls]
    progress = session.listener.begin(step.label, len(points))
    prompts = _prompts(session, step, p["split"], p["shots"])
    conditions = _measured(session, step, inputs, points, prompts, p["split"])
    progress(len(points))
    return Evaluation(
        conditions,
        trials,
        selected(session.unedited(step, p["split"], 0), _measurable(session, step, p["split"])),
        tuple(prompt.query.image for prompt in prompts),
        _relations(session, step, prompts),
    )


def check_answers(session: Session, steps: Iterable[Step]) -> None:
    """Refuse evaluations by first token where it does not tell objects apart (MFV5340): before
    anything is measured, not after."""
    for step in steps:
        p = step.parameters
        if step.operation == "evaluate" and p["answer"] == "first":
            for split in {p["split"], p.get("select_on") or p["split"]}:
                require_distinct(session.backend(step), session.names(step, split))


def _sweep(p: Mapping[str, Any]) -> list[Point]:
    """The real conditions of an evaluation."""
    return [
        Point(layer, scale, treatment.k, treatment.vector)
        for treatment in treatments(p)
        for layer in p.get("layers") or (None,)
        for scale in p.get("scales") or (None,)
        if not treatment.control
    ]


def _measured(
    session: Session, step: Step, inputs: Values, points: list[Point], prompts: list[Prompt],
    split: str,
) -> tuple[Condition, ...]:  # fmt: skip
    """Measure every condition of ``points`` on the same prompts of ``split``."""
    relations = _relations(session, step, prompts)
    if step.parameters.get("mode") == "blend":
        names = begun_by(
            session.backend(step), session.names(step, split), step.parameters["answer"]
        )
        blends = _blends(session, step, inputs["candidates"], points, split, prompts)
        return tuple(
            Condition(
                point, blend.outcomes,
                answered_relations(
                    prompts, [names.get(token) for token in blend.outcomes.said.tolist()], relations
                ),
                blend.weights,
            )
            for point, blend in zip(points, blends, strict=True)
        )  # fmt: skip
    head_dim = session.backend(step).facts.head_dim
    variants = [edits_of(step.parameters, inputs, point, head_dim) for point in points]
    answers = session.answers(step, prompts, split, variants)
    return tuple(
        Condition(point, answer.outcomes, answered_relations(prompts, answer.names, relations))
        for point, answer in zip(points, answers, strict=True)
    )


def _blends(
    session: Session, step: Step, candidates: Sequence[Vector], points: Sequence[Point],
    split: str, prompts: list[Prompt],
) -> list[BlendOutcomes]:  # fmt: skip
    """Every condition of ``points``, its layer and scale, measured on ``prompts``."""
    sources = session.batches(step, source_pairs(session, step, split), BATCH)
    conditions = [
        [adding(vector, point.layer, point.scale) for vector in candidates] for point in points
    ]
    pairs = list(zip(sources, session.batches(step, prompts, BATCH), strict=True))
    return measure_blends(session.backend(step), pairs, conditions)


def source_pairs(session: Session, step: Step, split: str) -> list[Prompt]:
    """For each test prompt of ``step``, the zero-shot prompt that asks its source pair.

    The pair is what one demonstration would show: the same item as in the one-shot prompt.
    """
    prompts = _prompts(session, step, split, 1)
    return [Prompt((), prompt.demonstrations[0]) for prompt in prompts]


def _prompts(session: Session, step: Step, split: str, shots: int) -> list[Prompt]:
    """The prompts that are measured on a split."""
    prompts = session.prompts(step, step.parameters["items"], split, shots)
    return [prompts[i] for i in _measurable(session, step, split)]


def _measurable(session: Session, step: Step, split: str) -> np.ndarray:
    """The numbers of the items that are measured, of all that are drawn: with `correct_with` those
    that the unedited model answers correctly with so many demonstrations.

    Raises MfvError (MFV5366) where there are none.
    """
    p = step.parameters
    shots = p.get("correct_with")
    if shots is None:
        return np.arange(p["items"])
    numbers = np.flatnonzero(session.unedited(step, split, shots).correct)
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
        rest = replace(trial.at, **dict.fromkeys(choose))
        if rest not in best or _merit(trial) > _merit(best[rest]):
            best[rest] = trial
    return [trial.at for trial in best.values()]


def _merit(condition: Condition) -> tuple[float, float]:
    return condition.outcomes.accuracy, float(condition.outcomes.p_answer.mean())
