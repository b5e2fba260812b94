"""What a run says of the vectors that it trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from mfv_dsl.base.names import file_names, plain
from mfv_dsl.execute.rows import TuningRow
from mfv_dsl.methods.intervals import wilson
from mfv_dsl.methods.tuning import Tuned
from mfv_dsl.plan.steps import Plan, Step, TuneRow, values_of


def tuning_rows(plan: Plan, values: Mapping[str, Any]) -> list[TuningRow]:
    """A row for every vector that was trained, in the order of the plan."""
    return [_row(row, plan[row.step], values[row.step]) for row in plan.tunes]


def _row(row: TuneRow, step: Step, vector: Tuned) -> TuningRow:
    training = vector.training
    start, best = training.epochs[0], training.epochs[training.chosen]
    low, high = wilson(round(best.accuracy * training.n), training.n)
    p = step.parameters
    return TuningRow(
        row.tune, p["relation"], p["variable"], p["layer"],
        len(training.epochs) - 1, training.chosen, training.n,
        start.accuracy, best.accuracy, low, high, start.nll, best.nll, start.norm, best.norm,
        values_of(row.axes),
    )  # fmt: skip


def training_metadata(plan: Plan, step: Step, vector: Tuned) -> dict[str, Any]:
    """What the file of a trained vector says of its training."""
    training = vector.training
    assert step.dataset is not None
    dataset, layer = plan.datasets[step.dataset], step.parameters["layer"]
    return {
        **({"layer": layer} if isinstance(layer, int) or layer == "native" else {}),
        "tuning": {
            **step.parameters,
            "start": _start(plan, step),
            "chosen": training.chosen,
            "start_validation": asdict(training.epochs[0]),
            "validation": asdict(training.epochs[training.chosen]),
        },
        "dataset": {"id": dataset.constructor, "arguments": dict(dataset.arguments),
                    "hash": getattr(dataset.facts, "hash", None)},
        "seed": step.parameters["seed"],
    }  # fmt: skip


def _start(plan: Plan, step: Step) -> str:
    """What the training of a vector began with, for people."""
    start = step.inputs.get("start")
    return plan[start].label if isinstance(start, str) else str(step.parameters["start"])


def curves(plan: Plan, values: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Files ``<tune>/<relation>.json`` for every vector that was trained, for each value of a sweep
    ``<tune>-<sweep>-<value>/<relation>.json``: its settings, and for every epoch what
    :class:`~mfv_dsl.methods.tuning.Epoch` holds."""
    names = file_names(dict.fromkeys(row.relation for row in plan.tunes))
    for row in plan.tunes:
        step, vector = plan[row.step], values[row.step]
        curve = {
            "tune": row.tune,
            **({"axes": values_of(row.axes)} if row.axes else {}),
            "relation": row.relation,
            "step": step.key,
            "start": _start(plan, step),
            "settings": dict(step.parameters),
            "chosen": vector.training.chosen,
            "n": vector.training.n,
            "epochs": [
                {"epoch": number, **asdict(epoch)}
                for number, epoch in enumerate(vector.training.epochs)
            ],
        }
        text = json.dumps(curve, indent=2, allow_nan=False) + "\n"
        swept = "".join(
            f"-{plain(axis.name.removeprefix(f'{row.tune}.'))}-{axis.value}" for axis in row.axes
        )
        yield f"{row.tune}{swept}/{names[row.relation]}.json", text.encode()
