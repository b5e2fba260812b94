"""Every operation that a step of a plan can be, declared once; no torch.

An operation says what its key holds and, where that takes a model's time, what it reads, writes and
costs.  What it does is registered under its name in :mod:`mfv_dsl.execute.operations`.  A function
of the language that is one operation, such as ``clip``, is declared by its entry alone.

The key of a step is the SHA-256 of its operation and version, its parameters, the keys of its
inputs, the model's identity (its fingerprint, and its precision unless that is fp32) and the
dataset's hash.  Equal keys mean equal results.  Names, comments and the order of lines are not part
of any key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mfv_dsl.lang.entries import ITEM
from mfv_dsl.lang.functions import FUNCTIONS, RANKINGS
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.plan import described_evaluations, described_trainings, descriptions
from mfv_dsl.plan.arithmetic import sweep
from mfv_dsl.plan.descriptions import Description
from mfv_dsl.plan.steps import Inputs, Plan, Step, keys_of


@dataclass(frozen=True)
class Operation:
    """A kind of step.

    ``always`` names the parameters that are in every key, ``defaults`` those that are in a key
    where they have another value.  ``version`` is raised when the same parameters would give other
    results.  ``describe`` tells what a step reads, writes and costs; ``file`` is where a run's
    folder keeps its value, with ``{relation}``, empty for nowhere.  Steps for which ``together`` is
    equal are performed in the same passes; where it is None, one after the other.  A step that is
    ``divided`` is made in parts of so many prompts, which several workers may make.
    """

    doc: str
    always: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    describe: Callable[[Plan, Step], Description] = descriptions.nothing
    file: str = ""
    together: Callable[[Step], Hashable] | None = None
    divided: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of all parameters that a step of this kind can have."""
        return (*self.always, *self.defaults)


def options_in_key(entry: Entry) -> list[Parameter]:
    """The parameters of an entry that are parameters of its step, and so in its key."""
    return [p for p in entry.parameters if p.key != "never" and not p.is_input]


def _of_entry(
    entry: Entry, always: tuple[str, ...] = (), defaults: Mapping[str, Any] | None = None
) -> Operation:
    """The operation that an entry declares; ``always`` and ``defaults`` add parameters that no
    option gives."""
    own_always, own_defaults = list[str](), dict[str, Any]()
    for p in options_in_key(entry):
        if p.key == "always" or p.required:
            own_always.append(p.stored_name)
        else:
            swept = p.sweeps and p.default is not None
            own_defaults[p.stored_name] = sweep(p.default) if swept else p.default
    return Operation(
        entry.doc, (*always, *own_always), {**(defaults or {}), **own_defaults}, entry.version
    )


def _reading(step: Step) -> Hashable:
    """What a step reads beside the places."""
    pool = step.parameters["pool"]
    own = [step.parameters[name] for name in _READ]
    return (step.model, step.dataset, *own, None if pool is None else tuple(pool))


def _training(step: Step) -> Hashable:
    """What trainings have in common that are steps of the same passes."""
    p = step.parameters
    return step.model, p["layer"], p.get("site"), p.get("position"), p["loss"]


_PROMPTS = ("relation", "shots", "trials", "split", "seed")
_READ = (*_PROMPTS, "position", "corrupt", "twins", "correct_only")

OPERATIONS: dict[str, Operation] = {
    "activations": Operation(
        "mean head outputs over a relation's prompts", _PROMPTS,
        {"correct_only": True, "corrupt": None, "twins": 1, "norm": False, "site": "attention"},
        describe=descriptions.activations, divided=True,
    ),
    "mediation": Operation(
        "causal indirect effect of every head on a relation", (*_PROMPTS, "corrupt"),
        {"by": "aie", "correct_only": True, "pool": None, "twins": 1, "site": "attention"},
        describe=descriptions.mediation, file="aie/{relation}", divided=True,
    ),
    "head_norms": Operation("length of what every head writes on average"),
    "head_outputs": Operation(
        "outputs of every head on each of a relation's prompts", _PROMPTS,
        {"site": "attention"}, describe=descriptions.head_outputs, divided=True,
    ),
    "head_relevance": Operation(
        "relevance of every head to the answers of a relation", _PROMPTS,
        {"correct_only": True, "site": "attention"}, describe=descriptions.head_relevance,
        divided=True,
    ),
    "head_mask": Operation(
        "learned weight of every head, its mean in its place, on a relation's corrupted twins",
        (*_PROMPTS, "corrupt"), {"correct_only": True, "pool": None, "twins": 1},
        describe=descriptions.head_mask,
    ),
    "head_probe": Operation(
        "how well a linear probe on every head's output tells a relation from others", _PROMPTS,
        {"pool": None, "site": "attention"}, describe=descriptions.head_probe,
    ),
    "top": Operation(
        "the heads with the largest mean score", ("k",), {"site": "attention"},
        describe=descriptions.top
    ),
    "other_heads": Operation(
        "random heads, none of them among those given", ("k", "seed", "layers", "heads"),
        {"without": ()},
    ),
    "head_set": Operation(
        "heads named in the recipe", ("heads",), describe=descriptions.head_set
    ),
    "head_union": Operation("heads in either set"),
    "head_intersection": Operation("heads in both sets"),
    "head_difference": Operation("heads in the first set only"),
    "extract": Operation(
        "function vector of a relation", ("relation",),
        {"bias": "none", "site": "attention"}, describe=descriptions.extract,
        file="vectors/fv_{relation}",
    ),
    "load": Operation(
        "a vector from a library", ("path", "content"),
        {"name": None, "revision": None, "allow_mismatch": False, "places": ()},
    ),
    "states": Operation(
        "states of the model, a row for each prompt", (*_PROMPTS, "places"),
        {"position": "last", "corrupt": None, "pool": None, "twins": 1, "correct_only": False},
        describe=descriptions.states, together=_reading, divided=True,
    ),
    "mean_states": Operation("the mean of rows of states"),
    "linear": Operation(
        "weighted sum of vectors, or of rows of states", ("coefficients",), {"rows": False}
    ),
    "times": Operation("a vector, or rows of states, times a computed number", (), {"rows": False}),
    "arithmetic": Operation("arithmetic on computed numbers", ("operator",),
                            {"left": None, "right": None}),
    "overall_mean": Operation("mean head outputs over several relations"),
    "tune": replace(
        _of_entry(ITEM["tune"], ("relation",), {"off_task": (), "start": "random"}),
        doc="a vector trained with the model frozen", describe=described_trainings.tune,
        file="vectors/tuned_{relation}", together=_training,
    ),
    "evaluate": replace(
        _of_entry(ITEM["eval"], ("relation",), {"mode": "none", "vectors": 1, "ablates": False}),
        doc="accuracy on a relation's prompts", version=2, describe=described_evaluations.evaluate,
        divided=True,
    ),
    "off_task": Operation(
        "what the conditions of an evaluation cost on prompts of other relations",
        ("relation", "off_task", "kind", "split", "items", "seed", "conditions"),
        describe=described_evaluations.off_task, divided=True,
    ),
    "answers": Operation(
        "what the unedited model answers; the values of evaluations hold it, so that with its "
        "version theirs is raised", ("relation", "shots", "items", "split", "seed", "answer"),
        describe=descriptions.answers, divided=True,
    ),
    **{
        entry.name: replace(
            _of_entry(entry),
            describe=described_trainings.adapter
            if entry.result == "Adapter"
            else descriptions.nothing,
        )
        for entry in FUNCTIONS
        if not entry.expanded
    },
}  # fmt: skip
for _ranking in RANKINGS:
    if _ranking.operation is not None and _ranking.operation not in OPERATIONS:
        OPERATIONS[_ranking.operation] = Operation(
            f"score of every head, {_ranking.doc}", ("relation", *_ranking.options),
            {"site": "attention"}, version=_ranking.version,
        )  # fmt: skip


def step_key(
    operation: str,
    parameters: Mapping[str, Any],
    inputs: Inputs,
    identity: str | None,
    dataset_hash: str | None,
) -> str:
    """The content key of a step: SHA-256 over all that its value depends on.

    Args:
        operation: Its name in ``OPERATIONS``; its version enters the key.
        parameters: Values by name; those that are at their defaults do not enter the key.
        inputs: Keys of the steps whose values it takes; their order enters, their names do not.
        identity: The model's identity, None for a step that does not depend on a model.
        dataset_hash: The dataset's hash, None likewise.

    Returns:
        64 hexadecimal digits.

    >>> inputs = {"mean": "3f", "heads": "9a"}
    >>> key = step_key("extract", {"relation": "left"}, inputs, "tiny", None)
    >>> key == step_key("extract", {"relation": "left", "bias": "none"}, inputs, "tiny", None)
    True
    >>> key == step_key("extract", {"relation": "right"}, inputs, "tiny", None)
    False
    """
    declaration = OPERATIONS[operation]
    defaults = declaration.defaults
    content = {
        "operation": operation,
        "version": declaration.version,
        "parameters": {
            name: value
            for name, value in parameters.items()
            if name not in defaults or _plain(defaults[name]) != _plain(value)
        },
        "inputs": keys_of(inputs),
        "model": identity,
        "dataset": dataset_hash,
    }
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
