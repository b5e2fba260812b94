"""An eval of a plan as hooks on a user's own model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mfv_dsl.base.arguments import plain_number, shown
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.execute.conditions import Point
from mfv_dsl.execute.edits import edits_of
from mfv_dsl.execute.run import inputs_of, perform
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.models.loaded import origin_of
from mfv_dsl.models.sites import SiteSource
from mfv_dsl.plan.descriptions import model_facts
from mfv_dsl.plan.steps import EvalRow, Plan, needed, values_of

#: What :func:`bind` takes by name.
OPTIONS = ("layer", "scale", "k", "vector", "axes", "sites", "attention_output")


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
    axes: Mapping[str, int | float | str] | None = None,
    sites: SiteSource | None = None,
    attention_output: str | None = None,
    given: Mapping[str, Any] | None = None,
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
        axes: The values of sweeps that the eval is read for, by name, such as ``{"draw": 2}``.
        sites: Where a model of another make keeps its parts
            (:func:`mfv_dsl.models.sites.find_sites`).
        attention_output: Which module of a decoder layer is the attention's output projection.
        given: Models and datasets that are loaded already, by the plan's names; ``model`` is one
            where it is a model of the plan.

    Returns:
        The edits: ``with bind(...).attach(): model(...)``.

    Raises:
        MfvError: MFV5109 for a condition that is not one of the eval's, or that edits nothing or
            differs from item to item; what running the steps and binding to the model raise.
    """
    name = _only("eval", eval, {r.eval: r for r in plan.rows}).eval
    rows = _reading([r for r in plan.rows if r.eval == name], name, axes or {})
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
    settings = RunSettings(given=_given(plan, model, given or {}))
    own = HookPlan.of(model, (), sites, attention_output)
    values = perform(part, settings=settings).values
    inputs = inputs_of(replace(step, references={}), values)
    edits = edits_of(parameters, inputs, at, own.sites, model_facts(plan, step).head_dim)
    if not edits:
        raise MfvError("MFV5109", f"`{name}` edits nothing, so there is nothing to attach")
    return own.with_edits(edits)


def _reading(
    rows: Sequence[EvalRow], name: str, axes: Mapping[str, int | float | str]
) -> dict[str, EvalRow]:
    """The rows of the reading that ``axes`` say, by relation."""
    own = dict.fromkeys(axis.name for row in rows for axis in row.axes)
    for axis in axes:
        if axis not in own:
            raise MfvError(
                "MFV5109", f"`{name}` has no sweep `{axis}`",
                help=f"it has: {', '.join(own)}" if own else "it has none",
            )  # fmt: skip
    for axis in own:
        values = {values_of(row.axes)[axis]: None for row in rows}
        value = _only(
            f"`{axis}` of `{name}`", axes.get(axis), dict(zip(values, values, strict=True))
        )
        rows = [row for row in rows if values_of(row.axes)[axis] == value]
    return {row.relation: row for row in rows}


def _given(plan: Plan, model: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given``, and the user's own model where it is one of the plan's."""
    identity = getattr(getattr(model, "facts", None), "identity", None)
    own = {
        name: model
        for name, declared in plan.models.items()
        if origin_of(model) is not None
        and isinstance(declared.facts, ModelFacts)
        and declared.facts.identity == identity
    }
    return {**own, **given}


def _only(noun: str, choice: Any, candidates: dict[Any, Any]) -> Any:
    """The candidate of the name ``choice``, or the only candidate where the choice is left out."""
    if choice is None and len(candidates) == 1:
        return next(iter(candidates.values()))
    name = choice if isinstance(choice, str) else plain_number(choice)
    if name is not None and name in candidates:
        return candidates[name]
    names = ", ".join(map(str, candidates)) or "none"
    told = shown(choice) if name is None else name
    problem = f"say which {noun}" if choice is None else f"there is no {noun} {told}"
    raise MfvError("MFV5109", problem, help=f"there are: {names}")
