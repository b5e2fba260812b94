"""Evaluations: every condition of an eval on one relation, measured on the same items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.engine.edits import Edit
from mfv_dsl.execute.analogy import measured_blends
from mfv_dsl.execute.session import Session
from mfv_dsl.methods.answers import (
    answered_relations,
    begun_by,
    relations_shown,
    require_distinct,
)
from mfv_dsl.methods.evaluation import ablating, adding, patching
from mfv_dsl.methods.outcomes import Outcomes
from mfv_dsl.plan.evals import Written, written
from mfv_dsl.plan.steps import Step

Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Point:
    """What tells a condition of an eval on one relation from the others: layer and scale of what is
    added, how many heads where that is swept, the vector's place in a list of several, and the
    control, empty for the real thing."""

    layer: int | str | None = None
    scale: float | None = None
    k: int | None = None
    vector: int = 0
    control: str = ""

    @property
    def written(self) -> Written:
        return Written(self.control, self.vector, self.k)


@dataclass(frozen=True)
class Condition:
    """One measured condition.  ``answered`` (prompts,) says for which of the evaluation's relations
    each answer would be right, -1 for none; ``weights`` (prompts, candidates) are a blend's."""

    at: Point
    outcomes: Outcomes
    answered: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """Conditions measured on one split, the trials that settled ``choose`` on another, and the
    zero-shot outcomes on the same items; ``images`` (prompts) shows which items share one, and
    ``relations`` are those that the queries' pictures show."""

    conditions: tuple[Condition, ...]
    trials: tuple[Condition, ...]
    zero_shot: Outcomes
    images: tuple[str, ...]
    relations: tuple[str, ...]

    @property
    def real(self) -> tuple[Condition, ...]:
        """The conditions without the controls."""
        return tuple(one for one in self.conditions if not one.at.control)


def evaluate(session: Session, step: Step, inputs: Inputs) -> Evaluation:
    p = step.parameters
    points = _sweep(p)
    trials: tuple[Condition, ...] = ()
    if p.get("choose"):
        done = session.listener.begin(f"{step.label}, choosing", len(points))
        prompts = session.prompts(step, p["items"], p["select_on"], p["shots"])
        trials = _measured(session, step, inputs, points, prompts, p["select_on"], done)
        points = _winners(trials, p["choose"])
    controls = ("", *p.get("controls", ()))
    points = [replace(point, control=control) for point in points for control in controls]
    done = session.listener.begin(step.label, len(points))
    prompts = session.prompts(step, p["items"], p["split"], p["shots"])
    return Evaluation(
        _measured(session, step, inputs, points, prompts, p["split"], done),
        trials,
        session.zero_shot(step),
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
        Point(layer, scale, one.k, one.vector)
        for one in written(p)
        for layer in p.get("layers") or (None,)
        for scale in p.get("scales") or (None,)
        if not one.control
    ]


def _measured(
    session: Session, step: Step, inputs: Inputs, points: list[Point], prompts: list[Prompt],
    split: str, done: Callable[[int], None],
) -> tuple[Condition, ...]:  # fmt: skip
    """Measure every condition of ``points`` on the same prompts of ``split``."""
    relations = _relations(session, step, prompts)
    if step.parameters.get("mode") == "blend":
        names = begun_by(
            session.backend(step), session.names(step, split), step.parameters["answer"]
        )
        blends = measured_blends(session, step, inputs, points, split, prompts)
        done(len(points))
        return tuple(
            Condition(
                point, found.outcomes,
                answered_relations(
                    prompts, [names.get(token) for token in found.outcomes.said.tolist()], relations
                ),
                found.weights,
            )
            for point, found in zip(points, blends, strict=True)
        )  # fmt: skip
    head_dim = session.backend(step).facts.head_dim
    variants = [
        edits_of(step.parameters.get("mode", "none"), inputs_of(step.parameters, inputs, point),
                 point.layer, point.scale, head_dim)
        for point in points
    ]  # fmt: skip
    answers = session.answers(step, prompts, split, variants)
    done(len(points))
    return tuple(
        Condition(point, found.outcomes, answered_relations(prompts, found.names, relations))
        for point, found in zip(points, answers, strict=True)
    )


def _relations(session: Session, step: Step, prompts: list[Prompt]) -> tuple[str, ...]:
    return relations_shown(prompts, session.dataset(step).relations)


def inputs_of(p: Mapping[str, Any], inputs: Inputs, point: Point) -> Inputs:
    """What is written under one condition, and behind it what all conditions share."""
    kinds = written(p)
    if not inputs:
        return ()
    return (inputs[kinds.index(point.written)], *inputs[len(kinds) :])


def edits_of(mode: str, inputs: Inputs, layer: Any, scale: Any, head_dim: int) -> list[Edit]:
    """The edits of one condition of an evaluation."""
    if mode == "add":
        return adding(inputs[0], layer, scale)
    if mode == "blend":
        raise MfvError(
            "MFV5109", "a blend is another vector for every item, so there is none to attach"
        )
    if mode == "patch":
        return patching(inputs[0])
    if mode == "ablate":
        if not inputs[0].chosen:
            raise MfvError("MFV5307", "there are no heads to ablate: the set came out empty")
        overall = inputs[1] if len(inputs) > 1 else None
        return ablating(inputs[0].chosen, head_dim, overall)
    return []


def _winners(trials: tuple[Condition, ...], choose: tuple[str, ...]) -> list[Point]:
    """The best condition for every value of the sweeps that are not chosen over.

    Best is by accuracy, then by the mean probability of the answer, then the first.
    """
    best: dict[Point, Condition] = {}
    for trial in trials:
        kept = replace(trial.at, **dict.fromkeys(choose))
        if kept not in best or _merit(trial) > _merit(best[kept]):
            best[kept] = trial
    return [trial.at for trial in best.values()]


def _merit(condition: Condition) -> tuple[float, float]:
    return condition.outcomes.accuracy, float(condition.outcomes.p_answer.mean())
