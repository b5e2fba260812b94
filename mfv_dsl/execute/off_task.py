"""What the conditions of an evaluation cost on off-task prompts, as a step's value and as a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfv_dsl.base.short import Short
from mfv_dsl.execute.conditions import Failure, Point
from mfv_dsl.execute.rows import OffTask
from mfv_dsl.methods.draws import (
    Draw,
    accuracy_over_draws,
    difference_over_draws,
    mean_over_draws,
)
from mfv_dsl.methods.intervals import accuracy_interval, difference_interval
from mfv_dsl.methods.means import divergence_interval
from mfv_dsl.methods.off_task import OffTaskCost


@dataclass(frozen=True, repr=False)
class OffTaskMeasurement(Short):
    """For each of ``points``, conditions of an evaluation, what it costs on the same off-task
    prompts of a kind, whose images are ``images`` (prompts,).  ``failures`` are those of the
    evaluation; the store keeps no value that has some."""

    kind: str
    points: tuple[Point, ...]
    costs: tuple[OffTaskCost, ...]
    images: tuple[str, ...]
    failures: tuple[Failure, ...] = ()

    def of(self, point: Point) -> OffTaskCost:
        """What a condition costs."""
        return self.costs[self.points.index(point)]


#: A condition on one relation: what was measured off its task, and which condition it is.
Part = tuple[OffTaskMeasurement, Point]


def off_task_row(parts: Sequence[Part]) -> OffTask:
    """The cost of one condition on one relation, or of the same one on several: prompts that show
    one image count together."""
    images = [image for measured, _ in parts for image in measured.images]
    strata = [n for n, (measured, _) in enumerate(parts) for _ in measured.images]
    kl, before, after = _joined(parts)
    return OffTask(
        parts[0][0].kind, len(kl), *_with_bounds(kl.mean(), divergence_interval(kl, images)),
        *_with_bounds(after.mean(), accuracy_interval(after, images, strata)), float(before.mean()),
        *_with_bounds(
            after.mean() - before.mean(), difference_interval(after - before, images, strata)
        ),
    )  # fmt: skip


def off_task_mean(draws: Sequence[Sequence[Part]], dataset: Sequence[Sequence[str]]) -> OffTask:
    """The mean over several seeds; ``dataset`` is for each seed the hash of the dataset of each
    part.  Seeds and prompts are taken as drawn, and the interval of the divergence is Student's."""
    joined = [_joined(parts) for parts in draws]

    def drawn(place: int) -> list[Draw]:
        return [_draw(parts, own, values[place])
                for parts, own, values in zip(draws, dataset, joined, strict=True)]  # fmt: skip

    def mean(of: Sequence[Draw]) -> float:
        return float(np.mean([draw.values.mean() for draw in of]))

    kl, before, after = drawn(0), drawn(1), drawn(2)
    change = [
        Draw(a.values - b.values, a.clusters, a.strata)
        for a, b in zip(after, before, strict=True)
    ]  # fmt: skip
    low, high = mean_over_draws(kl)
    return OffTask(
        draws[0][0][0].kind, min(len(draw.values) for draw in kl), mean(kl), max(0.0, low), high,
        *_with_bounds(mean(after), accuracy_over_draws(after)), mean(before),
        *_with_bounds(mean(change), difference_over_draws(change)),
    )  # fmt: skip


def _joined(parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divergences and right answers without and with the edits, of all parts' prompts."""
    costs = [measured.of(point) for measured, point in parts]
    return (
        np.concatenate([cost.kl_per_prompt for cost in costs]).astype(np.float64),
        np.concatenate([cost.correct_before for cost in costs]).astype(np.float64),
        np.concatenate([cost.correct_after for cost in costs]).astype(np.float64),
    )


def _draw(parts: Sequence[Part], dataset: Sequence[str], values: np.ndarray) -> Draw:
    clusters = [
        (own, image)
        for (measured, _), own in zip(parts, dataset, strict=True)
        for image in measured.images
    ]
    strata = [n for n, (measured, _) in enumerate(parts) for _ in measured.images]
    return Draw(values, clusters, strata)


def _with_bounds(
    value: float, interval: tuple[float, float]
) -> tuple[float, float | None, float | None]:
    low, high = (float(bound) for bound in interval)
    return float(value), low, high if math.isfinite(high) else None
