"""About how many bytes the values of steps take in the store, told before they are computed."""

from __future__ import annotations

from collections.abc import Callable

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.plan.described_evaluations import conditions
from mfv_dsl.plan.described_trainings import training_items
from mfv_dsl.plan.descriptions import model_facts
from mfv_dsl.plan.steps import Plan, Step

#: What is written around a value: names, types, a hash.
_AROUND = 900
#: Of an item: what is answered and with which probability, and its names and image.
_ANSWERED, _NAMED = 29, 80
#: Of a condition, beside its items.
_CONDITION = 620
#: Heads of a vector, where they are not said.
_HEADS = 10


def stored_bytes(plan: Plan, step: Step) -> int:
    """About how many bytes the value of a step takes, its parts left out; those of adapters, which
    depend on what is trained, are left out as well.

    >>> from mfv_dsl.base.source import Source
    >>> from mfv_dsl.lang.checker import load_recipe
    >>> from mfv_dsl.plan.build import build_plan
    >>> text = "mfv 1\\nmodel m = tiny()\\ndataset d = scenes(relations=[left])\\neval raw {\\n}\\n"
    >>> plan = build_plan(load_recipe(Source(text)))
    >>> [stored_bytes(plan, step) for step in plan.steps]
    [4500, 12420]
    """
    size = _SIZES.get(step.operation)
    if size is None and step.model is not None and step.operation in _VECTORS:
        size = _vector
    return _AROUND + (0 if size is None else size(plan, step))


def _activations(plan: Plan, step: Step) -> int:
    return _all_heads(model_facts(plan, step)) * 4 + 6 * int(step.parameters["trials"])


def _all_heads(facts: ModelFacts) -> int:
    """The numbers that all heads put out at a token, with a row for every layer."""
    return facts.n_layers * facts.n_heads * facts.head_dim


def _mediation(plan: Plan, step: Step) -> int:
    facts = model_facts(plan, step)
    return int(step.parameters["trials"]) * (5 * facts.n_layers * facts.n_heads + 9)


def _head_outputs(plan: Plan, step: Step) -> int:
    return int(step.parameters["trials"]) * (4 * _all_heads(model_facts(plan, step)) + _NAMED)


def _states(plan: Plan, step: Step) -> int:
    p = step.parameters
    row = 4 * len(p["places"]) * model_facts(plan, step).d_model + _NAMED
    return int(p["trials"]) * row


def _answers(plan: Plan, step: Step) -> int:
    return int(step.parameters["items"]) * 36


def _evaluate(plan: Plan, step: Step) -> int:
    items = int(step.parameters["items"])
    measured = sum(conditions(step.parameters))
    return items * _NAMED + measured * (items * _ANSWERED + _CONDITION)


def _off_task(plan: Plan, step: Step) -> int:
    p = step.parameters
    return int(p["items"]) * (_NAMED + 32 * int(p["conditions"]))


def _vector(plan: Plan, step: Step) -> int:
    """A vector, and what each of its heads adds."""
    facts = model_facts(plan, step)
    return 4 * (facts.d_model + _HEADS * (facts.head_dim + facts.d_model + 1)) + 300


def _tune(plan: Plan, step: Step) -> int:
    """A vector, and how its training went."""
    places = len(step.parameters.get("layers") or (0,))
    facts = model_facts(plan, step)
    shown = step.parameters["select_items"] * (step.parameters["epochs"] + 1)
    return 8 * places * facts.d_model + 12 * int(shown) + training_items(plan, step)


_VECTORS = ("extract", "linear", "times", "normalize", "reject", "project")
_SIZES: dict[str, Callable[[Plan, Step], int]] = {
    "activations": _activations,
    "mediation": _mediation,
    "head_relevance": _mediation,
    "head_outputs": _head_outputs,
    "states": _states,
    "answers": _answers,
    "evaluate": _evaluate,
    "off_task": _off_task,
    "tune": _tune,
}
