"""What a vector's file says of where the vector comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mfv_dsl import models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.execute.results import ALL, result_rows
from mfv_dsl.execute.tuning import training_metadata
from mfv_dsl.library.header import read_header
from mfv_dsl.library.sources import file_of
from mfv_dsl.library.vector_file import vector_hash
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.models.openflamingo import render_text
from mfv_dsl.plan.evals import written
from mfv_dsl.plan.steps import Plan, Step
from mfv_dsl.version import __version__

_OF_A_FILE = ("kind", "relation", "heads", "prompt", "dataset", "tuning", "seed", "parents")


def vector_metadata(
    plan: Plan, step: Step, values: Mapping[str, Any], relation: str | None = None
) -> dict[str, Any]:
    """The metadata of the vector that ``step`` made, but for what the vector itself knows."""
    assert step.model is not None
    made = plan.models[step.model]
    facts = made.facts
    assert isinstance(facts, ModelFacts)
    said = origin(plan, step, values)
    rows = metrics(plan, step, values)
    layers = {row["layer"] for row in rows}
    trained = models.sources(made.constructor, **made.arguments).get("checkpoint", {})
    return {
        **said,
        "relation": relation or said.get("relation"),
        "model": {
            "id": made.arguments.get("path") or made.constructor,
            **_given(
                revision=trained.get("commit"),
                precision=None if facts.precision == "fp32" else facts.precision,
            ),
            "n_layers": facts.n_layers,
            "n_heads": facts.n_heads,
            "head_dim": facts.head_dim,
        },
        "layer": layers.pop() if len(layers) == 1 else said.get("layer"),
        "metrics": rows,
        "mfv_version": __version__,
    }


def origin(plan: Plan, step: Step, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a vector was made of: prompts and heads, a file, or other vectors."""
    if step.operation == "extract":
        return {"kind": "extracted", "step": step.key, **_extracted(plan, step, values)}
    if step.operation == "load":
        return {"step": step.key, **_loaded(step)}
    if step.operation == "tune":
        said = {"kind": "tuned", "step": step.key, "relation": step.parameters["relation"],
                **training_metadata(plan, step, values[step.key])}  # fmt: skip
        starts = _parents(plan, step, values)
        return {**said, "parents": starts} if starts else said
    parents = _parents(plan, step, values)
    mismatched = any("allow_mismatch" in parent for parent in parents)
    return {
        "kind": "composed",
        "step": step.key,
        "parents": parents,
        **({"allow_mismatch": True} if mismatched else {}),
    }


def _parents(plan: Plan, step: Step, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": plan[key].label,
            "hash": vector_hash(values[key]),
            "coefficient": coefficient,
            **origin(plan, plan[key], values),
        }
        for key, coefficient in _terms(step, values)
    ]


def metrics(plan: Plan, step: Step, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The result rows of the evals that used exactly this vector."""
    own = [
        row
        for row in plan.rows
        if plan[row.step].inputs[:1] == (step.key,)
        and plan[row.step].parameters.get("mode") in ("add", "patch")
        and len([one for one in written(plan[row.step].parameters) if not one.control]) == 1
    ]
    rows = result_rows(replace(plan, rows=tuple(own)), values)
    return [row.to_json() for row in rows if not row.control and row.relation != ALL]


def template_hash() -> str:
    """SHA-256 of a prompt of one demonstration, with names in braces for what varies."""
    demonstration = Item("", "{query}", "{answer}", "")
    text = render_text(Prompt((demonstration,), demonstration))
    return hashlib.sha256(text.encode()).hexdigest()


def _extracted(plan: Plan, step: Step, values: Mapping[str, Any]) -> dict[str, Any]:
    source, heads = (plan[key] for key in step.inputs)
    mean, chosen = values[source.key], values[heads.key]
    p = source.parameters
    assert source.dataset is not None
    dataset = plan.datasets[source.dataset]
    assert isinstance(dataset.facts, DatasetFacts)
    corrupt = {
        plan[key].parameters["corrupt"]
        for key in _ancestors(plan, heads)
        if plan[key].operation == "mediation"
    }
    return {
        "relation": step.parameters["relation"],
        "heads": {
            "chosen": heads.label,
            "list": [
                [i, j, None if chosen.scores is None else float(chosen.scores[i, j])]
                for i, j in chosen.chosen
            ],
        },
        "prompt": {
            "template": template_hash(),
            "shots": p["shots"],
            **_given(corrupt=", ".join(sorted(corrupt)) or None),
            **_given(control=p.get("corrupt")),
            "correct_only": p["correct_only"],
            "trials": p["trials"],
            "correct": sum(mean.correct),
            "accuracy": mean.accuracy,
            "split": p["split"],
        },
        "dataset": {
            "id": dataset.constructor,
            "arguments": dict(dataset.arguments),
            "hash": dataset.facts.hash,
        },
        "seed": p["seed"],
    }


def _loaded(step: Step) -> dict[str, Any]:
    """What the loaded file said, as far as it is still there, and where it was."""
    p = step.parameters
    said: dict[str, Any] = {"kind": "composed"}
    try:
        there = read_header(file_of(p["path"], p["name"], p["revision"], download=False)).metadata
        said = {key: there[key] for key in _OF_A_FILE if key in there}
    except MfvError:
        pass
    at = f"@{p['revision']}" if p["revision"] and "@" not in p["path"] else ""
    source = f"{p['path']}{at}" + (f"/{p['name']}" if p["name"] else "")
    return {**said, "source": source, **({"allow_mismatch": True} if p["allow_mismatch"] else {})}


def _terms(step: Step, values: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """The vectors that a step combines, with their coefficients where it is linear in them."""
    vectors = [key for key in step.inputs if isinstance(values[key], Vector)]
    factors: list[float | None] = [None] * len(vectors)
    if step.operation == "linear":
        factors = list(step.parameters["coefficients"])
    elif step.operation == "times":
        factors = [float(values[step.inputs[0]])]
    return list(zip(vectors, factors, strict=True))


def _ancestors(plan: Plan, step: Step) -> set[str]:
    found = {step.key}
    for key in step.inputs:
        found |= _ancestors(plan, plan[key])
    return found


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
