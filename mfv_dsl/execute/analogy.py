"""Evals that add a blend: the mode ``blend`` of ``evaluate``, whose inputs are the candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfv_dsl.data.items import Prompt
from mfv_dsl.execute.session import Session
from mfv_dsl.methods.analogy import BlendOutcomes, measure_blends
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.plan.arithmetic import sum_text
from mfv_dsl.plan.steps import Plan, Step

if TYPE_CHECKING:
    from mfv_dsl.execute.evaluation import Point


def measured_blends(
    session: Session,
    step: Step,
    candidates: Sequence[Vector],
    points: Sequence[Point],
    split: str,
    prompts: list[Prompt],
) -> list[BlendOutcomes]:
    """Every condition of ``points``, its layer and scale, measured on ``prompts``."""
    sources = session.batches(step, source_pairs(session, step, split))
    conditions = [
        [adding(vector, point.layer, point.scale) for vector in candidates] for point in points
    ]
    pairs = list(zip(sources, session.batches(step, prompts), strict=True))
    return measure_blends(session.backend(step), pairs, conditions)


def source_pairs(session: Session, step: Step, split: str) -> list[Prompt]:
    """For each test prompt of ``step``, the zero-shot prompt that asks its source pair.

    The pair is what one demonstration would show: the same item as in the one-shot prompt.
    """
    prompts = session.prompts(step, step.parameters["items"], split, 1)
    return [Prompt((), prompt.demonstrations[0]) for prompt in prompts]


def blend_weights(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Mean weight of every candidate over the test items, by condition of every eval of a blend."""
    return [
        {
            "eval": row.eval,
            "relation": row.relation,
            "shots": row.shots,
            "layer": condition.at.layer,
            "scale": condition.at.scale,
            "weights": [
                {"vector": vector_text(plan, plan[key]), "weight": float(weight)}
                for key, weight in zip(
                    plan[row.step].inputs, condition.weights.mean(axis=0), strict=True
                )
            ],
        }
        for row in plan.rows
        for condition in values[row.step].conditions
        if condition.weights is not None
    ]


def vector_text(plan: Plan, step: Step) -> str:
    """What the vector of a step is, in the recipe's language."""
    if step.operation != "linear":
        return step.label
    labels = [plan[key].label for key in step.inputs]
    return sum_text(zip(step.parameters["coefficients"], labels, strict=True))
