"""What a vector's file says of where the vector comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mfv_dsl import models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.execute.results import ResultRow
from mfv_dsl.execute.tuning_rows import training_metadata
from mfv_dsl.lang.constructed import model_id
from mfv_dsl.lang.entries import VECTOR_WRITES
from mfv_dsl.library.header import read_header
from mfv_dsl.library.lineage import Lineage
from mfv_dsl.library.sources import file_of
from mfv_dsl.library.vector_file import vector_hash
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.plan.descriptions import model_facts
from mfv_dsl.plan.steps import Plan, Step, values_of
from mfv_dsl.plan.treatments import Treatment, treatments
from mfv_dsl.plan.vector_files import MOST_OF_LOADED
from mfv_dsl.version import __version__

_OF_A_FILE = (
    "kind", "relation", "heads", "linearised", "prompt", "dataset", "tuning", "seed", "parents",
    "ancestors",
)  # fmt: skip
#: Operations that make vectors of rows of states.
_OF_STATES = ("mean_states", "pca", "probe")
#: What a vector was made of.
_BEHIND = ("parents", "ancestors")
#: Result rows that a vector's file holds at most; of more, those of the best accuracy.
MOST_ROWS = 200
#: Where evals write if nothing else is said.
_USUAL = {"site": "residual", "position": "last"}


def vector_metadata(
    plan: Plan,
    step: Step,
    values: Mapping[str, Any],
    results: Sequence[ResultRow],
    relation: str | None = None,
) -> dict[str, Any]:
    """The metadata of the vector that ``step`` made, but for what the vector itself knows.

    ``values`` are the steps' by key, ``results`` the rows of the run.
    """
    assert step.model is not None
    model = plan.models[step.model]
    facts = model_facts(plan, step)
    source = origin(plan, step, values)
    rows = metrics(plan, step, results)
    trained = models.sources(model.constructor, **model.arguments).get("checkpoint", {})
    return {
        **source,
        "relation": relation or source.get("relation"),
        "model": {
            "id": model_id(model),
            **_present(
                revision=trained.get("commit"),
                precision=None if facts.weights_as == "fp32" else facts.weights_as,
            ),
            "n_layers": facts.n_layers,
            "n_heads": facts.n_heads,
            "head_dim": facts.head_dim,
        },
        "layer": source.get("layer") if (layer := _one_layer(rows)) is None else layer,
        "metrics": rows,
        "mfv_version": __version__,
    }


def _one_layer(rows: Sequence[Mapping[str, Any]]) -> int | str | None:
    """The layer that all rows are of which are written behind one, or ``native``; None of several,
    also of those that one row adds at together."""
    layers = {row["layer"] for row in rows if "site" not in row}
    layer = layers.pop() if len(layers) == 1 else None
    return layer if isinstance(layer, int) or layer == "native" else None


def origin(plan: Plan, step: Step, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a vector was made of: prompts and heads, a file, or other vectors."""
    lineage, made = Lineage(), dict[str, tuple[int, bool]]()
    for ancestor in _vectors_behind(plan, step, values):
        own = _own(plan, ancestor, values, made)
        if len(json.dumps([own.get(key) for key in _BEHIND])) > MOST_OF_LOADED:
            own = {key: value for key, value in own.items() if key not in _BEHIND}
        parts = [(made[key][0], factor) for key, factor in _terms(ancestor, values)]
        name = {"name": ancestor.label, "hash": vector_hash(values[ancestor.key])}
        number = lineage.add({**name, **own}, parts or lineage.graft(own))
        made[ancestor.key] = number, "allow_mismatch" in own
    own = _own(plan, step, values, made)
    parts = [(made[key][0], factor) for key, factor in _terms(step, values)]
    if not parts and step.operation in ("extract", "load", "tune", *_OF_STATES):
        return own
    return {**own, **lineage.metadata(parts)}


def _vectors_behind(plan: Plan, step: Step, values: Mapping[str, Any]) -> list[Step]:
    """The vectors that a step's was made of, each once and behind those that it was made of."""
    order: dict[str, Step] = {}
    work = [(step, False)]
    while work:
        one, complete = work.pop()
        if complete:
            order[one.key] = one
        elif one.key not in order:
            work.append((one, True))
            terms = _terms(one, values)
            work += [(plan[key], False) for key, _ in reversed(terms) if key not in order]
    del order[step.key]
    return list(order.values())


def _own(
    plan: Plan, step: Step, values: Mapping[str, Any], made: Mapping[str, tuple[int, bool]]
) -> dict[str, Any]:
    """What is said of a vector but for the vectors that it was made of; of a loaded one with them.
    ``made`` tells of these, by key, whether they may mismatch."""
    if step.operation == "extract":
        return {"kind": "extracted", "step": step.key, **_extracted(plan, step, values)}
    if step.operation == "load":
        return {"step": step.key, **_loaded(step)}
    if step.operation in _OF_STATES:
        return {"kind": "extracted", "step": step.key, **_read(plan, step)}
    if step.operation == "tune":
        return {"kind": "tuned", "step": step.key, "relation": step.parameters["relation"],
                **training_metadata(plan, step, values[step.key])}  # fmt: skip
    mismatched = any(made[key][1] for key, _ in _terms(step, values))
    return {
        "kind": "composed", "step": step.key, **({"allow_mismatch": True} if mismatched else {})
    }  # fmt: skip


def metrics(plan: Plan, step: Step, results: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """The result rows of the evals that used exactly this vector, :data:`MOST_ROWS` at most, and
    where these wrote it if not as usual."""
    own = {
        (row.eval, row.relation, row.shots, tuple(values_of(row.axes).items())): _unusual(
            plan[row.step].parameters
        )
        for row in plan.rows
        if plan[row.step].inputs.get(Treatment().name) == step.key
        and plan[row.step].parameters.get("mode") in VECTOR_WRITES
        and not plan[row.step].parameters.get("ablates")
        and [t for t in treatments(plan[row.step].parameters) if not t.control] == [Treatment()]
    }
    rows = [
        (row, own[key])
        for row in results
        if (key := (row.eval, row.relation, row.shots, tuple(row.axes.items()))) in own
        and not row.control
        and not row.error
    ]
    if len(rows) > MOST_ROWS:
        best = sorted(rows, key=lambda pair: pair[0].accuracy or 0.0, reverse=True)[:MOST_ROWS]
        kept = {id(row) for row, _ in best}
        rows = [(row, where) for row, where in rows if id(row) in kept]
    return [{**row.to_json(), **where} for row, where in rows]


def _unusual(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Where an eval writes, as far as it is not behind a layer at the last token."""
    return {
        name: parameters[name]
        for name, usual in _USUAL.items()
        if parameters.get(name, usual) != usual
    }


def _extracted(plan: Plan, step: Step, values: Mapping[str, Any]) -> dict[str, Any]:
    source, heads = _input(plan, step, "mean"), _input(plan, step, "heads")
    mean, chosen = values[source.key], values[heads.key]
    linearised = values[step.key].linearised
    p = source.parameters
    assert source.dataset is not None
    dataset = plan.datasets[source.dataset]
    assert isinstance(dataset.facts, DatasetFacts)
    assert source.model is not None
    model = plan.models[source.model]
    template = models.template(model.constructor, **model.arguments)
    corrupt = {
        plan[key].parameters["corrupt"]
        for key in _ancestors(plan, heads)
        if plan[key].operation == "mediation"
    }
    return {
        "relation": step.parameters["relation"],
        "heads": {
            "chosen": heads.label,
            **_present(site=step.parameters.get("site")),
            "list": [
                [i, j, None if chosen.scores is None else float(chosen.scores[i, j])]
                for i, j in chosen.chosen
            ],
        },
        **_present(linearised=linearised and linearised.to_json()),
        "prompt": {
            "template": template.hash,
            "shots": p["shots"],
            **_present(corrupt=", ".join(sorted(corrupt)) or None),
            **_present(control=p.get("corrupt")),
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


def _read(plan: Plan, step: Step) -> dict[str, Any]:
    """What is said of a vector of states: what all prompts have in common that were read for it."""
    steps = [plan[key] for key in sorted(_ancestors(plan, step))]
    read = [one for one in steps if one.operation == "states"]
    said: list[dict[str, Any]] = []
    for one in read:
        p = one.parameters
        assert one.dataset is not None and one.model is not None
        dataset, model = plan.datasets[one.dataset], plan.models[one.model]
        assert isinstance(dataset.facts, DatasetFacts)
        template = models.template(model.constructor, **model.arguments)
        said.append({
            "relation": p["relation"], "seed": p["seed"],
            "prompt.template": template.hash, "prompt.shots": p["shots"],
            "prompt.trials": p["trials"], "prompt.split": p["split"],
            "prompt.correct_only": p["correct_only"],
            **_present(**{"prompt.control": p["corrupt"]}),
            "dataset": {
                "id": dataset.constructor, "arguments": dict(dataset.arguments),
                "hash": dataset.facts.hash,
            },
        })  # fmt: skip
    common = {
        name: value
        for name, value in said[0].items()
        if all(name in other and other[name] == value for other in said)
    }
    prompt = {
        name.removeprefix("prompt."): common.pop(name)
        for name in list(common)
        if name.startswith("prompt.")
    }
    places = {tuple(map(tuple, one.parameters["places"])) for one in read}
    if len(places) == 1 and len(own := places.pop()) == 1:
        common["layer"] = own[0][1]
    return {**common, **({"prompt": prompt} if prompt else {})}


def _loaded(step: Step) -> dict[str, Any]:
    """What the loaded file said, as far as it is still there, and where it was."""
    p = step.parameters
    origin: dict[str, Any] = {"kind": "composed"}
    try:
        file = file_of(p["path"], p["name"], p["revision"], download=False)
        metadata = read_header(file).metadata
        origin = {key: metadata[key] for key in _OF_A_FILE if key in metadata}
    except MfvError:
        pass
    at = f"@{p['revision']}" if p["revision"] and "@" not in p["path"] else ""
    source = f"{p['path']}{at}" + (f"/{p['name']}" if p["name"] else "")
    return {**origin, "source": source, **({"allow_mismatch": True} if p["allow_mismatch"] else {})}


def _terms(step: Step, values: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """The vectors that a step combines, with their coefficients where it is linear in them."""
    vectors = [key for key in step.input_keys if isinstance(values[key], Vector)]
    factors: list[float | None] = [None] * len(vectors)
    if step.operation == "linear":
        factors = list(step.parameters["coefficients"])
    elif step.operation == "times":
        factors = [float(values[step.inputs["factor"]])]
    return list(zip(vectors, factors, strict=True))


def _input(plan: Plan, step: Step, name: str) -> Step:
    """The step that an input of ``step`` comes from."""
    key = step.inputs[name]
    assert isinstance(key, str)
    return plan[key]


def _ancestors(plan: Plan, step: Step) -> set[str]:
    keys = {step.key}
    for key in step.input_keys:
        keys |= _ancestors(plan, plan[key])
    return keys


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
