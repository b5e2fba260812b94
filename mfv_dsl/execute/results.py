"""Result rows: plain data, one row per condition, and one over all relations of an eval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from mfv_dsl.base.columns import CHOICE_FIELDS, MEAN
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.choice_figures import choice_fields
from mfv_dsl.execute.conditions import Condition, Evaluation, Failure, Point, planned
from mfv_dsl.execute.off_task import OffTaskMeasurement, Part, off_task_mean, off_task_row
from mfv_dsl.execute.rows import (
    Difference,
    ReportedNumber,
    ResultRow,
    vector_of,
)
from mfv_dsl.lang.syntax import Axis
from mfv_dsl.methods.comparisons import Paired
from mfv_dsl.methods.draws import Draw, accuracy_over_draws, difference_over_draws
from mfv_dsl.methods.intervals import accuracy_interval, difference_interval
from mfv_dsl.methods.statistics import benjamini_hochberg, holm
from mfv_dsl.plan.steps import EvalRow, Plan, Step, values_of
from mfv_dsl.plan.writes import written_as

CHOSEN = "chosen"  # a value that was settled for each relation


@dataclass(frozen=True)
class _Failed:
    """One condition on one relation that gave no numbers."""

    row: EvalRow
    at: Point
    error: MfvError
    written: str


@dataclass(frozen=True)
class _Measurement:
    """One condition on one relation, and what it is compared with."""

    row: EvalRow
    at: Point
    condition: Condition
    evaluation: Evaluation
    others: Mapping[str, Evaluation]
    is_zero_shot: bool
    dataset: str  # its hash
    written: str
    off_task: OffTaskMeasurement | None = None

    @property
    def clusters(self) -> list[tuple[str, str]]:
        """Each item's image, which no image of another dataset is."""
        return [(self.dataset, image) for image in self.evaluation.images]

    def gain(self, other: str | None = None) -> np.ndarray:
        """Correct here less correct under the baseline, by item: zero-shot, or another eval."""
        baseline = self.evaluation.zero_shot
        if other is not None:
            (condition,) = self.others[other].real
            assert self.others[other].images == self.evaluation.images
            baseline = condition.outcomes
        return self.condition.outcomes.correct.astype(np.float64) - baseline.correct


def result_rows(
    plan: Plan, values: Mapping[str, Any], failures: Mapping[str, MfvError] | None = None
) -> list[ResultRow]:
    """Rows in the order of the recipe; behind the relations of an eval those over all of them, and
    behind its seeds, where it is read for several, those of the mean over these.
    ``failures`` are the steps without a value, by key, and why."""
    rows: list[ResultRow] = []
    evals: dict[str, list[EvalRow]] = {}
    for row in plan.rows:
        evals.setdefault(row.eval, []).append(row)
    for own in evals.values():
        readings: dict[tuple[tuple[Axis, ...], int], list[EvalRow]] = {}
        for row in own:
            readings.setdefault((row.axes, row.shots), []).append(row)
        measured: dict[tuple[tuple[Axis, ...], int], _Alike] = {}
        for key, group in readings.items():
            alike: _Alike = {}
            for row in group:
                chosen = plan[row.step].parameters.get("choose", ())
                for part in _parts(plan, values, failures or {}, row):
                    rows.append(_shown(row.relation, part.at, [part]))
                    settled = part.at.settled(chosen, CHOSEN)
                    alike.setdefault((row.relation, settled), []).append(part)
                    if len(group) > 1:
                        alike.setdefault((None, settled), []).append(part)
            pooled = {at: parts for (relation, at), parts in alike.items() if relation is None}
            rows += [_shown(None, at, parts) for at, parts in pooled.items()]
            measured[key] = alike
        rows += _over_seeds(measured)
    return _tested_together(rows)


#: What was measured on a relation, or on all (None), under a condition: a part for each relation.
_Alike: TypeAlias = "dict[tuple[str | None, Point], list[_Measurement | _Failed]]"


def _over_seeds(measured: Mapping[tuple[tuple[Axis, ...], int], _Alike]) -> list[ResultRow]:
    """A row for the mean over all seeds, where an eval is read for several, of each condition."""
    draws: dict[Any, list[list[_Measurement | _Failed]]] = {}
    for (axes, shots), alike in measured.items():
        if any(axis.is_seed for axis in axes):
            shown = tuple(replace(a, value=MEAN) if a.is_seed else a for a in axes)
            for (relation, at), parts in alike.items():
                draws.setdefault((shown, shots, relation, at), []).append(parts)
    ordered = sorted(draws.items(), key=lambda one: one[0][2] is None)  # all relations come last
    return [
        _mean_row(values_of(axes), relation, at, parts)
        for (axes, _, relation, at), parts in ordered
        if len(parts) > 1
    ]


def _mean_row(
    axes: Mapping[str, int | float | str], relation: str | None, at: Point,
    draws: Sequence[Sequence[_Measurement | _Failed]],
) -> ResultRow:  # fmt: skip
    """The row of the mean over several draws of one condition."""
    for draw in draws:
        for part in draw:
            if isinstance(part, _Failed):
                return ResultRow.failed(part.row, relation, at, part.error, axes, part.written)
    measured = [[part for part in draw if isinstance(part, _Measurement)] for draw in draws]
    single = [_row(relation, at, parts) for parts in measured]
    accuracies = [row.accuracy for row in single if row.accuracy is not None]

    def drawn(values: Callable[[_Measurement], np.ndarray]) -> list[Draw]:
        return [
            Draw(
                np.concatenate([values(part) for part in parts]).astype(np.float64),
                [image for part in parts for image in part.clusters],
                [n for n, part in enumerate(parts) for _ in part.clusters],
            )
            for parts in measured
        ]

    def difference() -> Difference:
        own = drawn(lambda part: part.gain())
        low, high = difference_over_draws(own)
        return Difference(_mean_of(own), float(low), float(high))

    def compared(other: str) -> Difference:
        own = drawn(lambda part: part.gain(other))
        return _compared(Paired.of_draws(own), _mean_of(own), first.row)

    low, high = accuracy_over_draws(drawn(lambda part: part.condition.outcomes.correct))
    first = measured[0][0]
    gain = Difference(0.0, 0.0, 0.0) if first.is_zero_shot else difference()
    return replace(
        single[0],
        axes=axes,
        n=min(row.n for row in single if row.n is not None),
        accuracy=float(np.mean(accuracies)),
        ci_low=float(low),
        ci_high=float(high),
        mean_p_answer=float(np.mean([row.mean_p_answer or 0.0 for row in single])),
        difference=gain.difference,
        difference_low=gain.low,
        difference_high=gain.high,
        against={
            name: compared(name) for name in single[0].against
            if all(name in row.against for row in single)
        },
        answers={
            name: float(np.mean([row.answers.get(name, 0.0) for row in single]))
            for name in dict.fromkeys(name for row in single for name in row.answers)
        },
        answers_other=None if single[0].answers_other is None
        else float(np.mean([row.answers_other or 0.0 for row in single])),
        draws=len(single),
        opened=None if single[0].opened is None
        else float(np.mean([row.opened or 0.0 for row in single])),
        spread=float(np.std(accuracies, ddof=1)),
        off_task=off_task_mean(off_task, [[part.dataset for part in parts] for parts in measured])
        if all(off_task := [_off_task(parts) for parts in measured]) else None,
        **{
            name: float(np.mean([getattr(row, name) for row in single]))
            for name in CHOICE_FIELDS
            if all(getattr(row, name) is not None for row in single)
        },
    )  # fmt: skip


def _mean_of(draws: Sequence[Draw]) -> float:
    """The mean over draws of their means."""
    return float(np.mean([draw.values.mean() for draw in draws]))


def _compared(paired: Paired, difference: float, row: EvalRow) -> Difference:
    """A difference from another eval, with what its tests say."""
    low, high = (float(bound) for bound in paired.interval)
    found = Difference(difference, low, high, p=paired.p)
    if row.margin is None:
        return found
    return replace(
        found,
        margin=row.margin,
        no_worse=low > -row.margin,
        p_no_worse=paired.p_no_worse(row.margin),
        equivalent=-row.margin < low and high < row.margin,
        p_equivalent=paired.p_equivalent(row.margin),
    )


def _tested_together(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """The rows, whose comparisons with other evals know what their p-values are when all of a kind
    are tested together: those on one relation, those over all relations, and of each those of means
    over seeds."""
    families: dict[tuple[bool, bool], list[tuple[int, str]]] = {}
    for place, row in enumerate(rows):
        family = families.setdefault((row.relation is None, row.draws is not None), [])
        family += [(place, name) for name in row.against]
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


def _parts(
    plan: Plan, values: Mapping[str, Any], failures: Mapping[str, MfvError], row: EvalRow
) -> list[_Measurement | _Failed]:
    """The conditions of an eval on one relation, with or without numbers, in the order in which the
    recipe sweeps them."""
    step = plan[row.step]
    written = written_as(step.parameters)
    if row.step in failures:
        return [_Failed(row, at, failures[row.step], written) for at in planned(step.parameters)]
    evaluation: Evaluation = values[row.step]
    others = {
        name: values[other]
        for name, other in row.against
        if other in values and not values[other].failures
    }
    edits = step.parameters.get("mode", "none") != "none"
    plain = row.shots == 0 and not edits
    measured: list[_Measurement | _Failed] = [
        _Measurement(
            row,
            condition.at,
            condition,
            evaluation,
            others,
            plain,
            _hash(plan, step),
            written,
            values.get(row.off_task) if row.off_task is not None else None,
        )
        for condition in evaluation.conditions
    ]
    failed = [_Failed(row, f.at, f.error, written) for f in evaluation.failures if not f.is_trial]
    if not failed:
        return measured
    place = {at: number for number, at in enumerate(planned({**step.parameters, "choose": ()}))}
    return sorted([*measured, *failed], key=lambda part: place.get(part.at, len(place)))


def _hash(plan: Plan, step: Step) -> str:
    assert step.dataset is not None
    return str(getattr(plan.datasets[step.dataset].facts, "hash", step.dataset))


def _shown(relation: str | None, at: Point, parts: Sequence[_Measurement | _Failed]) -> ResultRow:
    for part in parts:
        if isinstance(part, _Failed):
            axes = values_of(part.row.axes)
            return ResultRow.failed(part.row, relation, at, part.error, axes, part.written)
    return _row(relation, at, [part for part in parts if isinstance(part, _Measurement)])


def _row(relation: str | None, at: Point, parts: Sequence[_Measurement]) -> ResultRow:
    """The row of one condition on one relation, or of the same one on several.

    What differs between relations is no uncertainty of the mean over them, and items that share an
    image count together.
    """
    first = parts[0]
    correct = np.concatenate([part.condition.outcomes.correct for part in parts])
    images = [image for part in parts for image in part.evaluation.images]
    strata = [number for number, part in enumerate(parts) for _ in part.evaluation.images]
    low, high = accuracy_interval(correct, images, strata)

    def difference() -> Difference:
        if first.is_zero_shot:
            return Difference(0.0, 0.0, 0.0)
        gain = np.concatenate([part.gain() for part in parts])
        low, high = difference_interval(gain, images, strata)
        return Difference(float(gain.mean()), float(low), float(high))

    def compared(other: str) -> Difference:
        gain = np.concatenate([part.gain(other) for part in parts])
        return _compared(Paired.of_items(gain, images, strata), float(gain.mean()), first.row)

    zero_shot = difference()
    return ResultRow(
        eval=first.row.eval,
        relation=relation,
        shots=first.row.shots,
        layer=at.layer,
        scale=at.scale,
        n=len(correct),
        accuracy=float(correct.mean()),
        ci_low=float(low),
        ci_high=float(high),
        mean_p_answer=float(
            np.concatenate([part.condition.outcomes.p_answer for part in parts]).mean()
        ),
        difference=zero_shot.difference,
        difference_low=zero_shot.low,
        difference_high=zero_shot.high,
        vector=vector_of(first.row, at),
        k=at.k,
        control=at.control,
        axes=values_of(first.row.axes),
        written=first.written,
        opened=_opened(parts),
        against={
            name: compared(name)
            for name in first.others
            if all(name in part.others for part in parts)
        },
        off_task=off_task_row(measured) if (measured := _off_task(parts)) else None,
        **(_answers(parts[0]) if relation is not None else {}),
        **choice_fields(
            [part.condition.outcomes for part in parts],
            [answer for part in parts for answer in part.evaluation.items[1]],
            "balanced_accuracy" in first.row.metrics,
        ),
    )


def _opened(parts: Sequence[_Measurement]) -> float | None:
    """The share of items that opened the gate, None without one."""
    masks = [part.condition.opened for part in parts if part.condition.opened is not None]
    return float(np.concatenate(masks).mean()) if masks else None


def _off_task(parts: Sequence[_Measurement]) -> list[Part]:
    """What was measured off the task of parts, nothing where one of them lacks it."""
    found = [(part.off_task, part.at) for part in parts if part.off_task is not None]
    return found if len(found) == len(parts) else []


def _answers(measurement: _Measurement) -> dict[str, Any]:
    """The share of items whose answer was each relation's object, and of those of no relation's, as
    fields of a row."""
    answered = measurement.condition.answered
    shares = {
        name: float((answered == place).mean())
        for place, name in enumerate(measurement.evaluation.relations)
    }
    return {"answers": shares, "answers_other": float((answered < 0).mean())}


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
