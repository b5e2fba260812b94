"""What was measured under each condition of an eval, and the row that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.choice_figures import choice_fields
from mfv_dsl.execute.conditions import Condition, Evaluation, Point, planned
from mfv_dsl.execute.off_task import OffTaskMeasurement, Part, off_task_row
from mfv_dsl.execute.rows import Difference, ResultRow, vector_of
from mfv_dsl.lang.syntax import Axis
from mfv_dsl.methods.comparisons import Paired
from mfv_dsl.methods.intervals import accuracy_interval, difference_interval
from mfv_dsl.plan.steps import EvalRow, Plan, Step, values_of
from mfv_dsl.plan.writes import written_as


@dataclass(frozen=True)
class Failed:
    """One condition on one relation that gave no numbers."""

    row: EvalRow
    at: Point
    error: MfvError
    written: str


@dataclass(frozen=True)
class Measurement:
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


CHOSEN = "chosen"  # a value that was settled for each relation
#: What an eval is read for: the values of sweeps, and the number of shots.
Reading: TypeAlias = "tuple[tuple[Axis, ...], int]"
#: What was measured on a relation, or on all (None), under a condition: a part for each relation.
Alike: TypeAlias = "dict[tuple[str | None, Point], list[Measurement | Failed]]"


def alike_in(
    plan: Plan, values: Mapping[str, Any], failures: Mapping[str, MfvError], rows: Sequence[EvalRow]
) -> Alike:
    """What was measured in one reading of an eval, by relation and condition; what was settled for
    each relation counts as one condition."""
    alike: Alike = {}
    for row in rows:
        chosen = plan[row.step].parameters.get("choose", ())
        for part in parts_of(plan, values, failures, row):
            settled = part.at.settled(chosen, CHOSEN)
            alike.setdefault((row.relation, settled), []).append(part)
            if len(rows) > 1:
                alike.setdefault((None, settled), []).append(part)
    return alike


def compared_with(paired: Paired, difference: float, row: EvalRow) -> Difference:
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


def parts_of(
    plan: Plan, values: Mapping[str, Any], failures: Mapping[str, MfvError], row: EvalRow
) -> list[Measurement | Failed]:
    """The conditions of an eval on one relation, with or without numbers, in the order in which the
    recipe sweeps them."""
    step = plan[row.step]
    written = written_as(step.parameters)
    if row.step in failures:
        return [Failed(row, at, failures[row.step], written) for at in planned(step.parameters)]
    evaluation: Evaluation = values[row.step]
    others = {
        name: values[other]
        for name, other in row.against
        if other in values and not values[other].failures
    }
    edits = step.parameters.get("mode", "none") != "none"
    plain = row.shots == 0 and not edits
    measured: list[Measurement | Failed] = [
        Measurement(
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
    failed = [Failed(row, f.at, f.error, written) for f in evaluation.failures if not f.is_trial]
    if not failed:
        return measured
    place = {at: number for number, at in enumerate(planned({**step.parameters, "choose": ()}))}
    return sorted([*measured, *failed], key=lambda part: place.get(part.at, len(place)))


def _hash(plan: Plan, step: Step) -> str:
    assert step.dataset is not None
    return str(getattr(plan.datasets[step.dataset].facts, "hash", step.dataset))


def row_of(relation: str | None, at: Point, parts: Sequence[Measurement | Failed]) -> ResultRow:
    for part in parts:
        if isinstance(part, Failed):
            axes = values_of(part.row.axes)
            return ResultRow.failed(part.row, relation, at, part.error, axes, part.written)
    return measured_row(relation, at, [part for part in parts if isinstance(part, Measurement)])


def measured_row(relation: str | None, at: Point, parts: Sequence[Measurement]) -> ResultRow:
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
        return compared_with(Paired.of_items(gain, images, strata), float(gain.mean()), first.row)

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
        blind=_blind(parts),
        against={
            name: compared(name)
            for name in first.others
            if all(name in part.others for part in parts)
        },
        off_task=off_task_row(measured) if (measured := off_task_of(parts)) else None,
        **(_answers(parts[0]) if relation is not None else {}),
        **choice_fields(
            [part.condition.outcomes for part in parts],
            [answer for part in parts for answer in part.evaluation.items[1]],
            "balanced_accuracy" in first.row.metrics,
        ),
    )


def _blind(parts: Sequence[Measurement]) -> float | None:
    """How often a guess without the picture is right, None where it is not known of all items."""
    chances = [part.evaluation.blind for part in parts if part.evaluation.blind is not None]
    return float(np.concatenate(chances).mean()) if len(chances) == len(parts) else None


def _opened(parts: Sequence[Measurement]) -> float | None:
    """The share of items that opened the gate, None without one."""
    masks = [part.condition.opened for part in parts if part.condition.opened is not None]
    return float(np.concatenate(masks).mean()) if masks else None


def off_task_of(parts: Sequence[Measurement]) -> list[Part]:
    """What was measured off the task of parts, nothing where one of them lacks it."""
    found = [(part.off_task, part.at) for part in parts if part.off_task is not None]
    return found if len(found) == len(parts) else []


def _answers(measurement: Measurement) -> dict[str, Any]:
    """The share of items whose answer was each relation's object, and of those of no relation's, as
    fields of a row."""
    answered = measurement.condition.answered
    shares = {
        name: float((answered == place).mean())
        for place, name in enumerate(measurement.evaluation.relations)
    }
    return {"answers": shares, "answers_other": float((answered < 0).mean())}
