"""Result rows: plain data, one row per condition, and one over all relations of an eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.conditions import Evaluation, Failure
from mfv_dsl.execute.measurements import Alike, Reading, alike_in, parts_of, row_of
from mfv_dsl.execute.rows import ReportedNumber, ResultRow, vector_of
from mfv_dsl.execute.seeds import over_seeds
from mfv_dsl.lang.syntax import Axis
from mfv_dsl.methods.statistics import benjamini_hochberg, holm
from mfv_dsl.plan.steps import EvalRow, Plan, values_of


def result_rows(
    plan: Plan, values: Mapping[str, Any], failures: Mapping[str, MfvError] | None = None
) -> list[ResultRow]:
    """Rows in the order of the recipe; behind the relations of an eval those over all of them, and
    behind its seeds, where it is read for several, those of the mean over these.
    ``failures`` are the steps without a value, by key, and why."""
    rows: list[ResultRow] = []
    for own in _by_eval(plan):
        measured: dict[Reading, Alike] = {}
        for reading, group in _readings(own).items():
            alike = measured[reading] = alike_in(plan, values, failures or {}, group)
            for row in group:
                for part in parts_of(plan, values, failures or {}, row):
                    rows.append(row_of(row.relation, part.at, [part]))
            pooled = {at: parts for (relation, at), parts in alike.items() if relation is None}
            rows += [row_of(None, at, parts) for at, parts in pooled.items()]
        rows += over_seeds(measured)
    return _tested_together(rows)


@dataclass(frozen=True)
class Variant:
    """One of several runs of a recipe: the values in which it differs from others, its plan, and of
    its steps the values and why some have none, by key."""

    axes: tuple[Axis, ...]
    plan: Plan
    values: Mapping[str, Any]
    failures: Mapping[str, MfvError]


def rows_over_variants(variants: Sequence[Variant]) -> list[ResultRow]:
    """The rows of means over runs that differ in seeds, as of an eval that is read for several;
    what else runs differ in is told apart."""
    measured: dict[str, dict[Reading, Alike]] = {}
    for variant in variants:
        for own in _by_eval(variant.plan):
            found = measured.setdefault(own[0].eval, {})
            for (axes, shots), group in _readings(own).items():
                alike = alike_in(variant.plan, variant.values, variant.failures, group)
                found[(*variant.axes, *axes), shots] = alike
    return _tested_together([row for found in measured.values() for row in over_seeds(found)])


def _by_eval(plan: Plan) -> list[list[EvalRow]]:
    """The rows of each eval, in the order of the recipe."""
    evals: dict[str, list[EvalRow]] = {}
    for row in plan.rows:
        evals.setdefault(row.eval, []).append(row)
    return list(evals.values())


def _readings(rows: Sequence[EvalRow]) -> dict[Reading, list[EvalRow]]:
    """The rows of each reading of an eval, one for each relation."""
    readings: dict[Reading, list[EvalRow]] = {}
    for row in rows:
        readings.setdefault((row.axes, row.shots), []).append(row)
    return readings


def _tested_together(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """The rows, whose comparisons with other evals know what their p-values are when all of a kind
    (:attr:`ResultRow.family`) are tested together."""
    families: dict[str, list[tuple[int, str]]] = {}
    for place, row in enumerate(rows):
        families.setdefault(row.family, []).extend((place, name) for name in row.against)
    adjusted = [dict(row.against) for row in rows]
    for family in families.values():
        p_values = [rows[place].against[name].p or 0.0 for place, name in family]
        for (place, name), p_holm, q_bh in zip(
            family, holm(p_values), benjamini_hochberg(p_values), strict=True
        ):
            adjusted[place][name] = replace(
                rows[place].against[name], p_holm=float(p_holm), q_bh=float(q_bh),
                family=len(family),
            )  # fmt: skip
    return [
        replace(row, against=against) if against else row
        for row, against in zip(rows, adjusted, strict=True)
    ]


def choices(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was tried to settle ``choose``, on which split, and what was chosen."""
    choices = []
    for row in plan.rows:
        evaluation: Evaluation = values[row.step]
        winners = {condition.at for condition in evaluation.real}
        for trial in evaluation.trials:
            choice: dict[str, Any] = {
                "eval": row.eval, "relation": row.relation, "shots": row.shots
            }  # fmt: skip
            if row.axes:
                choice["axes"] = values_of(row.axes)
            if row.vectors:
                choice["vector"] = vector_of(row, trial.at)
            if trial.at.k is not None:
                choice["k"] = trial.at.k
            choices.append(
                choice
                | {
                    "split": plan[row.step].parameters["select_on"],
                    "layer": trial.at.layer,
                    "scale": trial.at.scale,
                    "n": len(trial.outcomes),
                    "accuracy": trial.outcomes.accuracy,
                    "mean_p_answer": float(trial.outcomes.p_answer.mean()),
                    "chosen": trial.at in winners,
                }
            )
        for failure in evaluation.failures:
            if failure.is_trial:
                choices.append(_failed_choice(plan, row, failure))
    return choices


def _failed_choice(plan: Plan, row: EvalRow, failure: Failure) -> dict[str, Any]:
    at = failure.at
    choice: dict[str, Any] = {"eval": row.eval, "relation": row.relation, "shots": row.shots}
    choice |= {"axes": values_of(row.axes)} if row.axes else {}
    choice |= {"vector": vector_of(row, at)} if row.vectors else {}
    choice |= {} if at.k is None else {"k": at.k}
    return choice | {
        "split": plan[row.step].parameters["select_on"], "layer": at.layer, "scale": at.scale,
        "n": None, "accuracy": None, "mean_p_answer": None, "chosen": False,
        "error": failure.error.code,
    }  # fmt: skip


def reported(
    plan: Plan, values: Mapping[str, Any], failures: Mapping[str, MfvError]
) -> list[ReportedNumber]:
    """The numbers of a plan's reports, in the order of the recipe."""
    rows = []
    for row in plan.numbers:
        value, error = row.value, None
        if row.step in failures:
            error = failures[row.step].code
        elif row.step is not None:
            value = float(values[row.step])
        axes = values_of(row.axes)
        rows.append(ReportedNumber(row.number, row.relation, value, error, axes))
    return rows
