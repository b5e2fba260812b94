"""An eval of a plan as hooks on a user's own model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.execute.conditions import Point
from mfv_dsl.execute.edits import edits_of
from mfv_dsl.execute.run import inputs_of, perform
from mfv_dsl.models.sites import SiteSource
from mfv_dsl.plan.descriptions import model_facts
from mfv_dsl.plan.steps import Plan, needed


def bind(
    plan: Plan,
    model: Any,
    eval: str | None = None,
    relation: str | None = None,
    *,
    layer: int | str | None = None,
    scale: float | None = None,
    k: int | None = None,
    vector: str | None = None,
    sites: SiteSource | None = None,
) -> HookPlan:
    """The edits of one condition of an eval, bound to the user's own model.

    What the edits need is computed on the plan's own model, or found in the store.

    Args:
        plan: The plan that the eval is of.
        model: One from ``load_model``, an ``open_flamingo.Flamingo`` or a transformers model of
            the same sizes as the plan's.
        eval: The eval's name; may be left out where the plan has one.
        relation: Likewise.
        layer: The layer written to, where the eval sweeps it.
        scale: The factor before the vector, likewise.
        k: The number of heads, likewise.
        vector: The text of the vector, where the eval lists several.
        sites: Where a model of another make keeps its parts
            (:func:`mfv_dsl.models.sites.find_sites`).

    Returns:
        The edits: ``with bind(...).attach(): model(...)``.

    Raises:
        MfvError: MFV5109 for a condition that is not one of the eval's, or that edits nothing or
            differs from item to item; what running the steps and binding to the model raise.
    """
    name = _only("eval", eval, {r.eval: r for r in plan.rows}).eval
    rows = {r.relation: r for r in plan.rows if r.eval == name}
    row = _only(f"relation of `{name}`", relation, rows)
    step = plan[row.step]
    parameters = step.parameters
    at = Point(
        _only("layer", layer, {i: i for i in parameters.get("layers") or (None,)}),
        _only("scale", scale, {x: x for x in parameters.get("scales") or (None,)}),
        _only("k", k, {x: x for x in parameters.get("ks") or (None,)}),
        _only("vector", vector, {text: i for i, text in enumerate(row.vectors)} or {None: 0}),
    )
    part = replace(plan, steps=needed(plan.steps, step.input_keys), rows=(), saves=())
    values = perform(part).values
    inputs = inputs_of(step, values)
    edits = edits_of(parameters, inputs, at, model_facts(plan, step).head_dim)
    if not edits:
        raise MfvError("MFV5109", f"`{name}` edits nothing, so there is nothing to attach")
    return HookPlan.of(model, edits, sites)


def _only(noun: str, choice: Any, candidates: dict[Any, Any]) -> Any:
    """The candidate of the name ``choice``, or the only candidate where the choice is left out."""
    if choice is None and len(candidates) == 1:
        return next(iter(candidates.values()))
    if choice in candidates:
        return candidates[choice]
    names = ", ".join(map(str, candidates)) or "none"
    problem = f"say which {noun}" if choice is None else f"there is no {noun} {choice}"
    raise MfvError("MFV5109", problem, help=f"there are: {names}")
