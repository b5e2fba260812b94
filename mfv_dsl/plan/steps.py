"""A plan: what a recipe will do, as data, without a model and without torch.

Every step has a *key*: the SHA-256 of its operation and version, the parameters that differ from
the operation's defaults, the keys of its inputs, the model's identity (its fingerprint, and its
precision unless that is fp32) and the dataset's hash.
Equal keys mean equal results.  Names, comments and the order of lines are not part of any key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.plan.tuning import TuneRow

if TYPE_CHECKING:
    from mfv_dsl.engine.attach import HookPlan
    from mfv_dsl.engine.hooks import Hooks


@dataclass(frozen=True)
class Operation:
    """A kind of step.  ``version`` is raised when the same parameters would give other results."""

    doc: str
    version: int = 1
    defaults: Mapping[str, Any] | None = None


OPERATIONS: dict[str, Operation] = {
    "activations": Operation(
        "mean head outputs over a relation's prompts",
        defaults={"correct_only": True, "corrupt": None},
    ),
    "mediation": Operation(
        "causal indirect effect of every head on a relation",
        defaults={"by": "aie", "correct_only": True},
    ),
    "head_norms": Operation("length of what every head writes on average"),
    "top": Operation("the heads with the largest mean score"),
    "other_heads": Operation("random heads, none of them among those given"),
    "head_set": Operation("heads named in the recipe"),
    "head_union": Operation("heads in either set"),
    "head_intersection": Operation("heads in both sets"),
    "head_difference": Operation("heads in the first set only"),
    "extract": Operation("function vector of a relation", defaults={"bias": "none"}),
    "load": Operation(
        "a vector from a library",
        defaults={"name": None, "revision": None, "allow_mismatch": False},
    ),
    "linear": Operation("weighted sum of vectors"),
    "times": Operation("a vector times a computed number"),
    "normalize": Operation("a vector at length 1"),
    "project": Operation("the part of a vector along another"),
    "reject": Operation("a vector without its part along another"),
    "random_like": Operation("a random vector of the same length"),
    "norm": Operation("a vector's length"),
    "dot": Operation("inner product of two vectors"),
    "cosine": Operation("cosine of the angle between two vectors"),
    "arithmetic": Operation("arithmetic on computed numbers"),
    "overall_mean": Operation("mean head outputs over several relations"),
    "tune": Operation(
        "a vector trained with the model frozen",
        defaults={"variable": "vector", "shots": 0, "loss": "nll", "weight_decay": 0.0,
                  "max_norm": None, "kl": 0.0, "sparsity": 0.0},
    ),
    "evaluate": Operation(
        "accuracy on a relation's prompts",
        version=2,
        defaults={"mode": "none", "layers": None, "scales": (1,), "ks": None, "vectors": 1,
                  "controls": (), "answer": "first", "choose": (), "select_on": None,
                  "ablate_with": None},
    ),
    "save": Operation("vectors written into a library folder"),
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step.  ``label`` is for people and not part of ``key``; ``inputs`` are keys."""

    key: str
    operation: str
    label: str
    parameters: Mapping[str, Any]
    inputs: tuple[str, ...] = ()
    model: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Row:
    """What an ``eval`` shows: the step that measures one relation under one number of shots.

    ``vectors`` are the texts of the vectors where the eval lists several; ``against`` pairs the
    names of evals to compare with and the steps that measure this relation there.
    """

    eval: str
    relation: str
    shots: int
    step: str
    vectors: tuple[str, ...] = ()
    against: tuple[tuple[str, str], ...] = ()
    metrics: tuple[str, ...] = ("accuracy", "p_answer")


@dataclass(frozen=True)
class Saved:
    """A vector that a ``save`` writes: its file's name, its step, its normalised source text."""

    name: str
    step: str
    expression: str
    relation: str | None


@dataclass(frozen=True)
class Save:
    folder: str
    layer: int | None
    license: str | None
    model: str
    dataset: str
    vectors: tuple[Saved, ...]


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which each comes after its inputs, and what is shown and written."""

    models: Mapping[str, Constructed]
    datasets: Mapping[str, Constructed]
    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    saves: tuple[Save, ...]
    warnings: tuple[Diagnostic, ...] = ()
    tunes: tuple[TuneRow, ...] = ()

    def __getitem__(self, key: str) -> Step:
        return next(step for step in self.steps if step.key == key)

    @property
    def metrics(self) -> Mapping[str, tuple[str, ...]]:
        """What each eval reports."""
        return {row.eval: row.metrics for row in self.rows}

    def bind(self, model: Any, *names: Any, **options: Any) -> HookPlan:
        """The edits of one eval bound to the user's own model: ``bind(model, "raw", "left",
        layer=1)``; see :func:`mfv_dsl.execute.bind.bind`."""
        from mfv_dsl.execute.bind import bind

        return bind(self, model, *names, **options)

    def attach(self, model: Any, *names: Any, **options: Any) -> Hooks:
        """``with plan.attach(model, "raw", "left", layer=1): model(...)``"""
        return self.bind(model, *names, **options).attach()

    def _repr_html_(self) -> str:
        from mfv_dsl.base.places import finished
        from mfv_dsl.plan.explain import explain_plan
        from mfv_dsl.report.html import plan_html

        notes = explain_plan(self, finished(step.key for step in self.steps))
        return plan_html(self.steps, notes)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {
            "models": {name: _constructed(made) for name, made in self.models.items()},
            "datasets": {name: _constructed(made) for name, made in self.datasets.items()},
            "steps": [
                {
                    "key": step.key,
                    "operation": step.operation,
                    "label": step.label,
                    "parameters": dict(step.parameters),
                    "inputs": list(step.inputs),
                    "model": step.model,
                    "dataset": step.dataset,
                }
                for step in self.steps
            ],
            "rows": [vars(row) for row in self.rows],
            "tunes": [vars(row) for row in self.tunes],
            "saves": [
                {"folder": save.folder, "layer": save.layer, "license": save.license,
                 "vectors": [vars(vector) for vector in save.vectors]}
                for save in self.saves
            ],
        }  # fmt: skip


def _constructed(made: Constructed) -> dict[str, Any]:
    return {
        "constructor": made.constructor,
        "arguments": dict(made.arguments),
        "facts": None if made.facts is None else vars(made.facts),
    }


def step_key(
    operation: str,
    parameters: Mapping[str, Any],
    inputs: tuple[str, ...],
    identity: str | None,
    dataset_hash: str | None,
) -> str:
    """The content key of a step, 64 hexadecimal digits."""
    known = OPERATIONS[operation]
    defaults = known.defaults or {}
    said = {
        "operation": operation,
        "version": known.version,
        "parameters": {
            name: value
            for name, value in parameters.items()
            if name not in defaults or _plain(defaults[name]) != _plain(value)
        },
        "inputs": inputs,
        "model": identity,
        "dataset": dataset_hash,
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
