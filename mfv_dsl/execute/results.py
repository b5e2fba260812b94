"""Result rows: plain data, one row per condition."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from mfv_dsl.execute.operations import Condition, Evaluation
from mfv_dsl.methods.statistics import accuracy_interval, bootstrap
from mfv_dsl.plan.steps import Plan, Row


@dataclass(frozen=True)
class ResultRow:
    """One condition: accuracy with its 95 % interval, mean probability of the answer, and the
    paired difference in accuracy from zero-shot on the same items with its interval."""

    eval: str
    relation: str
    shots: int
    layer: int | str | None
    scale: float | None
    n: int
    accuracy: float
    ci_low: float
    ci_high: float
    mean_p_answer: float
    difference: float
    difference_low: float
    difference_high: float


def result_rows(plan: Plan, values: Mapping[str, Any]) -> list[ResultRow]:
    """Rows in the order of the recipe."""
    rows = []
    for row in plan.rows:
        evaluation: Evaluation = values[row.step]
        seed = plan[row.step].parameters["seed"]
        for condition in evaluation.conditions:
            rows.append(_row(row, condition, evaluation, seed))
    return rows


def choices(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was tried to settle ``choose``, and on which split."""
    return [
        {
            "eval": row.eval,
            "relation": row.relation,
            "split": plan[row.step].parameters["select_on"],
            "layer": trial.layer,
            "scale": trial.scale,
            "n": len(trial.outcomes),
            "accuracy": trial.outcomes.accuracy,
        }
        for row in plan.rows
        for trial in values[row.step].trials
    ]


def _row(row: Row, condition: Condition, evaluation: Evaluation, seed: int) -> ResultRow:
    correct = condition.outcomes.correct
    low, high = accuracy_interval(correct, seed)
    gained = correct.astype(np.float64) - evaluation.zero_shot.correct
    gained_low, gained_high = bootstrap(gained, seed)
    return ResultRow(
        eval=row.eval,
        relation=row.relation,
        shots=row.shots,
        layer=condition.layer,
        scale=condition.scale,
        n=len(correct),
        accuracy=condition.outcomes.accuracy,
        ci_low=low,
        ci_high=high,
        mean_p_answer=float(condition.outcomes.p_answer.mean()),
        difference=float(gained.mean()),
        difference_low=gained_low,
        difference_high=gained_high,
    )


def to_csv(rows: list[ResultRow]) -> str:
    """Rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(ResultRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()
