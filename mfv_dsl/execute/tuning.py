"""The operation `tune`, and what a run says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mfv_dsl.base.files import write_atomically
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_in_turn
from mfv_dsl.execute.session import Session
from mfv_dsl.lang.tunes import TRAINING_SPLIT
from mfv_dsl.methods import tuning
from mfv_dsl.methods.statistics import wilson
from mfv_dsl.methods.tuning import Settings, Tuned
from mfv_dsl.plan.steps import Plan, Step
from mfv_dsl.plan.tuning import OFF_TASK_SHOTS

_SETTINGS = (
    "layer", "epochs", "lr", "weight_decay", "max_norm", "kl", "variable", "sparsity", "seed",
)  # fmt: skip


def tune(session: Session, step: Step, inputs: tuple[Any, ...]) -> Tuned:
    """Train the vector of one relation; every finished epoch is kept as a part of the step."""
    p = step.parameters
    train = session.prompts(step, p["items"], TRAINING_SPLIT, p["shots"])
    validation = session.prompts(step, p["select_items"], p["select_on"], p["shots"])
    off_task = _off_task(session, step) if p["kl"] else []
    batches = session.batches(step, train, p["batch"])
    return tuning.tune(
        session.backend(step),
        batches,
        session.batches(step, validation),
        inputs[0] if inputs else None,
        Settings(**{name: p[name] for name in _SETTINGS}),
        session.batches(step, off_task, p["batch"]),
        keep=partial(session.part, step),
        progress=session.listener.begin(step.label, p["epochs"] * len(batches)),
    )


def _off_task(session: Session, step: Step) -> list[Prompt]:
    """As many few-shot prompts of other relations as there are training prompts, relation by
    relation in turn, from the same split."""
    p = step.parameters
    return draw_in_turn(
        session.dataset(step), p["off_task"], TRAINING_SPLIT, p["items"], OFF_TASK_SHOTS, p["seed"]
    )


@dataclass(frozen=True)
class TuningRow:
    """One trained vector: ``accuracy`` on the ``n`` validation prompts in the epoch that they
    ``chose``, with its 95 % interval, beside that of the start; ``norm`` likewise."""

    tune: str
    relation: str
    variable: str
    layer: int
    epochs: int
    chosen: int
    n: int
    start_accuracy: float
    accuracy: float
    ci_low: float
    ci_high: float
    start_nll: float
    nll: float
    start_norm: float
    norm: float


def tuning_rows(plan: Plan, values: Mapping[str, Any]) -> list[TuningRow]:
    """A row for every vector that was trained, in the order of the plan."""
    return [_row(row.tune, plan[row.step], values[row.step]) for row in plan.tunes]


def _row(name: str, step: Step, vector: Tuned) -> TuningRow:
    training = vector.training
    start, best = training.epochs[0], training.epochs[training.chosen]
    low, high = wilson(round(best.accuracy * training.n), training.n)
    return TuningRow(
        name, step.parameters["relation"], step.parameters["variable"], step.parameters["layer"],
        len(training.epochs) - 1, training.chosen, training.n,
        start.accuracy, best.accuracy, low, high, start.nll, best.nll, start.norm, best.norm,
    )  # fmt: skip


def training_metadata(plan: Plan, step: Step, vector: Tuned) -> dict[str, Any]:
    """What the file of a trained vector says of its training."""
    training = vector.training
    assert step.dataset is not None
    dataset = plan.datasets[step.dataset]
    return {
        "layer": step.parameters["layer"],
        "tuning": {
            **step.parameters,
            "start": plan[step.inputs[0]].label if step.inputs else "random",
            "chosen": training.chosen,
            "start_validation": asdict(training.epochs[0]),
            "validation": asdict(training.epochs[training.chosen]),
        },
        "dataset": {"id": dataset.constructor, "arguments": dict(dataset.arguments),
                    "hash": getattr(dataset.facts, "hash", None)},
        "seed": step.parameters["seed"],
    }  # fmt: skip


def write_curves(folder: Path, plan: Plan, values: Mapping[str, Any]) -> None:
    """Write ``<tune>/<relation>.json`` for every vector that was trained: its settings, and for
    every epoch what :class:`~mfv_dsl.methods.tuning.Epoch` holds."""
    for row in plan.tunes:
        step, vector = plan[row.step], values[row.step]
        said = {
            "tune": row.tune,
            "relation": row.relation,
            "step": step.key,
            "start": plan[step.inputs[0]].label if step.inputs else "random",
            "settings": dict(step.parameters),
            "chosen": vector.training.chosen,
            "n": vector.training.n,
            "epochs": [
                {"epoch": number, **asdict(epoch)}
                for number, epoch in enumerate(vector.training.epochs)
            ],
        }
        text = json.dumps(said, indent=2) + "\n"
        write_atomically(folder / row.tune / f"{row.relation}.json", text.encode())
