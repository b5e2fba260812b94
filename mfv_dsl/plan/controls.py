"""Controls of an eval: what is written in the place of the real thing, by the control's name.

A control is a row of ``CONTROLS`` in :mod:`mfv_dsl.lang.entries` and one function here, which plans
what is written instead of ``expression`` and gives its step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from mfv_dsl.lang.checked import CheckedBlock
from mfv_dsl.lang.syntax import Expr
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.expressions import Planner

Substitute: TypeAlias = Callable[[Planner, CheckedBlock, str, Expr, Context], str]


def treatment_step(
    planner: Planner, block: CheckedBlock, mode: str, expression: Expr, context: Context
) -> str:
    """The step of the vector or heads that an eval writes, without any control."""
    plan = planner.heads if mode in ("ablate", "classify") else planner.vector
    return plan(expression, context)


def random_heads(
    planner: Planner, block: CheckedBlock, mode: str, expression: Expr, context: Context
) -> str:
    """As many random heads as each ``top(...)`` has, none of those that it chose."""
    variation = replace(context.variation, random_heads=block["seed"])
    return treatment_step(planner, block, mode, expression, replace(context, variation=variation))


def random_vector(
    planner: Planner, block: CheckedBlock, mode: str, expression: Expr, context: Context
) -> str:
    """A random direction of the vector's length."""
    vector = planner.vector(expression, context)
    label = f"random, as long as {planner.steps[vector].label}"
    return planner.add("random_like", label, {"seed": block["seed"]}, {"v": vector}, context)


def other_relation(
    planner: Planner, block: CheckedBlock, mode: str, expression: Expr, context: Context
) -> str:
    """The vector of the relation half-way round the eval's list, or the dataset's where the eval
    has one: above for left in [left, right, above, below], so that it is not always the opposite.
    """
    names = planner.relations_of(block)
    if len(names) == 1:
        names = planner.dataset_facts(context).relations
    place = names.index(context.relation("each"))
    other = names[(place + len(names) // 2) % len(names)]
    context = replace(context, relations={"each": other})
    return treatment_step(planner, block, mode, expression, context)


def shuffled(
    planner: Planner, block: CheckedBlock, mode: str, expression: Expr, context: Context
) -> str:
    """The vector averaged over prompts whose demonstrations' answers are shuffled."""
    variation = replace(context.variation, shuffled=True)
    return treatment_step(planner, block, mode, expression, replace(context, variation=variation))


SUBSTITUTES: dict[str, Substitute] = {
    "": treatment_step,
    "random_heads": random_heads,
    "random_vector": random_vector,
    "other_relation": other_relation,
    "shuffled": shuffled,
}
