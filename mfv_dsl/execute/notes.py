"""What must be said beside results: a best of many on the measured split is no measurement, which
items were left out, and which vectors were not trained to the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mfv_dsl.execute.conditions import Evaluation
from mfv_dsl.methods.statistics import holm, sign_test
from mfv_dsl.plan.steps import EvalRow, Plan

#: by mode, what is swept on one set of items, and whether `choose` could settle it
_SWEPT = ("layer", "scale", "k")
_CHOOSING = ("add", "patch")


def notes(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, str]]:
    """For every eval whose items the model has to answer correctly, how many there were; for every
    eval whose sweep is seen on the test split, how many conditions the best is the best of, and how
    many differences from zero-shot hold when all are tested together; and for every tune which of
    its vectors were not trained to the end."""
    evals: dict[str, list[EvalRow]] = {}
    for row in plan.rows:
        evals.setdefault(row.eval, []).append(row)
    texts = []
    for name, rows in evals.items():
        text = _known_items(name, plan, values, rows)
        texts += [{"eval": name, "text": text}] if text else []
        if plan[rows[0].step].parameters["split"] == "test":
            settled = plan[rows[0].step].parameters.get("mode") in _CHOOSING
            text = _note(name, [values[row.step] for row in rows], settled)
            texts += [{"eval": name, "text": text}] if text else []
    return [*texts, *_unfinished(plan, values)]


def _unfinished(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, str]]:
    """For every tune the vectors whose loss was still falling when training ended."""
    falls: dict[str, dict[str, float]] = {}
    for row in plan.tunes:
        fall = values[row.step].training.still_falling
        if fall is not None:
            falls.setdefault(row.tune, {})[row.relation] = fall
    return [
        {
            "tune": name,
            "text": f"{name} is not trained to the end: in the second half of its epochs the loss "
            f"still fell, by {', '.join(f'{fall:.2g} ({r})' for r, fall in by_relation.items())}. "
            "A larger `lr`, a smaller `batch` or more `epochs` train it further.",
        }
        for name, by_relation in falls.items()
    ]


def _known_items(
    name: str, plan: Plan, values: Mapping[str, Any], rows: list[EvalRow]
) -> str | None:
    """How many items `correct_with` left."""
    shots = plan[rows[0].step].parameters.get("correct_with")
    if shots is None:
        return None
    drawn = sum(plan[row.step].parameters["items"] for row in rows)
    left = sum(len(values[row.step].images) for row in rows)
    return (
        f"{name} measures the {left:,} of {drawn:,} items that the model answers correctly with "
        f"{shots} demonstrations."
    )


def _note(name: str, evaluations: list[Evaluation], choosable: bool) -> str | None:
    points = [condition.at for condition in evaluations[0].real]
    swept = [name for name in _SWEPT if len({getattr(at, name) for at in points}) > 1]
    if not swept:
        return None
    p_values = [
        sign_test(
            condition.outcomes.correct.astype(np.float64) - evaluation.zero_shot.correct,
            evaluation.images,
        )
        for evaluation in evaluations
        for condition in evaluation.real
    ]
    cure = f"`choose = [{', '.join(swept)}]` settles it on another split. " if choosable else ""
    return (
        f"{name} shows {len(points)} conditions for each relation on the test split: the best of "
        f"them looks better than it is. {cure}"
        f"Of its {len(p_values)} differences from zero-shot {sum(holm(p_values))} hold at 5 % for "
        "all together (exact sign tests on the paired items, Holm's correction)."
    )
