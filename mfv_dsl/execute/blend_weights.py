"""The weights of blends' candidates, as a run shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfv_dsl.plan.arithmetic import sum_text
from mfv_dsl.plan.steps import Plan, Step, values_of


def blend_weights(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Mean weight of every candidate over the test items, by condition of every eval of a blend."""
    return [
        {
            "eval": row.eval,
            "relation": row.relation,
            "shots": row.shots,
            **({"axes": values_of(row.axes)} if row.axes else {}),
            "layer": condition.at.layer,
            "scale": condition.at.scale,
            "weights": [
                {"vector": vector_text(plan, plan[key]), "weight": float(weight)}
                for key, weight in zip(
                    plan[row.step].inputs["candidates"], condition.weights.mean(axis=0), strict=True
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
    labels = [plan[key].label for key in step.inputs["vectors"]]
    return sum_text(zip(step.parameters["coefficients"], labels, strict=True))
