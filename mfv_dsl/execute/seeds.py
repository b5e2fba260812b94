"""Rows of means over seeds: of the readings of one eval, or of several runs of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mfv_dsl.base.columns import CHOICE_FIELDS, MEAN
from mfv_dsl.execute.conditions import Point
from mfv_dsl.execute.measurements import (
    Alike,
    Failed,
    Measurement,
    Reading,
    compared_with,
    measured_row,
    off_task_of,
)
from mfv_dsl.execute.off_task import off_task_mean
from mfv_dsl.execute.rows import Difference, ResultRow
from mfv_dsl.methods.comparisons import Paired
from mfv_dsl.methods.draws import Draw, accuracy_over_draws, difference_over_draws
from mfv_dsl.plan.steps import values_of


def over_seeds(measured: Mapping[Reading, Alike]) -> list[ResultRow]:
    """A row for the mean over all seeds, where an eval is read for several, of each condition."""
    draws: dict[Any, list[list[Measurement | Failed]]] = {}
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
    draws: Sequence[Sequence[Measurement | Failed]],
) -> ResultRow:  # fmt: skip
    """The row of the mean over several draws of one condition."""
    for draw in draws:
        for part in draw:
            if isinstance(part, Failed):
                return ResultRow.failed(part.row, relation, at, part.error, axes, part.written)
    measured = [[part for part in draw if isinstance(part, Measurement)] for draw in draws]
    single = [measured_row(relation, at, parts) for parts in measured]
    accuracies = [row.accuracy for row in single if row.accuracy is not None]

    def drawn(values: Callable[[Measurement], np.ndarray]) -> list[Draw]:
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
        return compared_with(Paired.of_draws(own), _mean_of(own), first.row)

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
        blind=None if any(row.blind is None for row in single)
        else float(np.mean([row.blind or 0.0 for row in single])),
        off_task=off_task_mean(off_task, [[part.dataset for part in parts] for parts in measured])
        if all(off_task := [off_task_of(parts) for parts in measured]) else None,
        **{
            name: float(np.mean([getattr(row, name) for row in single]))
            for name in CHOICE_FIELDS
            if all(getattr(row, name) is not None for row in single)
        },
    )  # fmt: skip


def _mean_of(draws: Sequence[Draw]) -> float:
    """The mean over draws of their means."""
    return float(np.mean([draw.values.mean() for draw in draws]))
