"""What every item was answered, with and without what an eval does: a run's file ``items.csv``.

A line is one item under one condition of an eval, in the order of the results.  Where all
conditions would be more than :data:`MOST_LINES`, of each eval only the one with the highest
accuracy over its relations is kept (the best of many looks better than it is), with its controls.
A file of more than :data:`PLAIN_BYTES` is ``items.csv.gz``.  What every option of a question was
worth is in ``options.csv``.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mfv_dsl.base.columns import cell
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import open_dataset
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.execute.conditions import Condition, Evaluation, Point
from mfv_dsl.execute.item_lines import AFTER, BEFORE, ITEMS, ZIPPED
from mfv_dsl.execute.rows import vector_of
from mfv_dsl.plan.steps import EvalRow, Plan, Step, values_of

MOST_LINES = 100_000
PLAIN_BYTES = 1_000_000


@dataclass(frozen=True)
class _Asked:
    """The items of an eval on one relation: queries, answers and places in their file, (prompts,)
    each.  Of what an earlier version kept, ``neighbours`` are each item's answers by relation, and
    ``unedited`` the objects that the unedited model named."""

    queries: tuple[str, ...]
    answers: tuple[str, ...]
    places: tuple[str, ...]
    neighbours: tuple[Mapping[str, str], ...] = ()
    unedited: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class _Measured:
    """What an eval measured on one relation, and the items of it."""

    row: EvalRow
    step: Step
    evaluation: Evaluation
    asked: _Asked

    @property
    def said_unedited(self) -> list[str]:
        """What the unedited model answered (prompts,)."""
        if self.evaluation.zero_shot_said is not None:
            return self._texts(self.evaluation.zero_shot_said)
        return [name or "" for name in self.asked.unedited]

    def said(self, condition: Condition) -> list[str]:
        """What was answered under a condition (prompts,); of what an earlier version kept, the
        object where its relation is known."""
        if condition.said is not None:
            return self._texts(condition.said)
        relations = self.evaluation.relations
        return [
            known.get(relations[place], "") if place >= 0 else ""
            for place, known in zip(condition.answered, self.asked.neighbours, strict=True)
        ]

    def _texts(self, places: np.ndarray) -> list[str]:
        return [self.evaluation.texts[place] for place in places]


def items_file(plan: Plan, values: Mapping[str, Any]) -> tuple[str, bytes] | None:
    """The name and the contents of the file of a run's items; None where there is none.

    Args:
        plan: What was run, without what failed.
        values: The values of its steps by key.
    """
    measured = list(filter(None, (_measured(plan, values, row) for row in plan.rows)))
    kept = _kept([(one, len(one.evaluation.images)) for one in measured])
    axes = tuple(dict.fromkeys(axis.name for one in measured for axis in one.row.axes))
    lines = [line for one in measured for line in _lines(one, axes, kept[one.row.eval])]
    if not lines:
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*BEFORE, *axes, *AFTER))
    writer.writerows(lines)
    data = text.getvalue().encode()
    if len(data) <= PLAIN_BYTES:
        return ITEMS, data
    return ZIPPED, gzip.compress(data, 6, mtime=0)


def _measured(plan: Plan, values: Mapping[str, Any], row: EvalRow) -> _Measured | None:
    """What a row of a plan measured; None where it is not known of which items."""
    step, evaluation = plan[row.step], values.get(row.step)
    if evaluation is None:
        return None
    queries, answers, places = evaluation.items
    asked = _Asked(queries, answers, places)
    if len(queries) != len(evaluation.images):  # an earlier version kept it
        drawn = _drawn(plan, values, step, evaluation)
        if drawn is None:
            return None
        asked = drawn
    return _Measured(row, step, evaluation, asked)


def _drawn(
    plan: Plan, values: Mapping[str, Any], step: Step, evaluation: Evaluation
) -> _Asked | None:
    """The items of an evaluation drawn again; None where they are others by now."""
    p, inputs = step.parameters, {**step.inputs, **step.references}
    with suppress(MfvError, OSError, KeyError, TypeError, ValueError, IndexError):
        declared = plan.datasets[step.dataset or ""]
        dataset = open_dataset(declared.constructor, **declared.arguments)
        prompts = draw_prompts(dataset, p["relation"], p["split"], p["items"], 0, p["seed"])
        numbers = np.arange(len(prompts))
        if p.get("correct_with") is not None:
            numbers = np.flatnonzero(values[str(inputs["known"])].outcomes.correct)
        items = [prompts[number].query for number in numbers]
        if tuple(item.image for item in items) == evaluation.images:
            return _Asked(
                tuple(item.query for item in items),
                tuple(item.answer for item in items),
                tuple(item.place for item in items),
                tuple({**item.neighbours, item.relation: item.answer} for item in items),
                values[str(inputs["zero_shot"])].picked(numbers).names,
            )
    return None


def option_lines(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line for every option of every item that an eval chooses one for, under every condition,
    with the columns of ``options.csv``; where there would be too many, those of the same conditions
    as of items."""
    measured = [
        one
        for one in filter(None, (_measured(plan, values, row) for row in plan.rows))
        if one.evaluation.options
    ]
    kept = _kept([(one, sum(map(len, one.evaluation.options))) for one in measured])
    return [line for one in measured for line in _options(one, kept[one.row.eval])]


def _options(one: _Measured, kept: set[Point] | None) -> Iterator[dict[str, Any]]:
    row, evaluation, asked = one.row, one.evaluation, one.asked
    items = list(
        zip(evaluation.images, asked.places, asked.queries, evaluation.options, strict=True)
    )
    for condition in evaluation.conditions:
        at, choices = condition.at, condition.outcomes.choices
        if choices is None or (kept is not None and at not in kept):
            continue
        where = {
            "eval": row.eval, "relation": row.relation, "shots": row.shots, "layer": at.layer,
            "scale": at.scale, "vector": vector_of(row, at), "k": at.k, "control": at.control,
            **values_of(row.axes), "split": one.step.parameters["split"],
        }  # fmt: skip
        chosen, has_texts = choices.chosen, choices.text_tokens.shape[1]
        for i, (image, place, question, options) in enumerate(items):
            for number, text in enumerate(options):
                yield where | {
                    "image": image, "place": place, "question": question, "option": number,
                    "text": text, "right": int(number == choices.right[i]),
                    "chosen": int(number == chosen[i]), "p": float(choices.p[i, number]),
                    "log_p": float(choices.text_log_p[i, number]) if has_texts else None,
                    "tokens": int(choices.text_tokens[i, number]) if has_texts else None,
                }  # fmt: skip


def _kept(measured: Sequence[tuple[_Measured, int]]) -> dict[str, set[Point] | None]:
    """The conditions whose lines a file has, by eval, None for all of them; beside each what has so
    many lines for a condition."""
    evals = dict.fromkeys(one.row.eval for one, _ in measured)
    if sum(len(one.evaluation.conditions) * lines for one, lines in measured) <= MOST_LINES:
        return dict.fromkeys(evals)
    return {name: _best([one for one, _ in measured if one.row.eval == name]) for name in evals}


def _best(measured: Sequence[_Measured]) -> set[Point] | None:
    """The real condition that most items are right under, over all relations and readings, with its
    controls; None, for all of them, where there is no more than one."""
    chosen = [_settled(one) for one in measured]
    right: dict[Point, int] = {}
    for one, settled in zip(measured, chosen, strict=True):
        for condition in one.evaluation.real:
            at = settled(condition.at)
            right[at] = right.get(at, 0) + int(condition.outcomes.correct.sum())
    if len(right) < 2:
        return None
    best = max(right, key=lambda at: right[at])
    return {
        condition.at
        for one, settled in zip(measured, chosen, strict=True)
        for condition in one.evaluation.conditions
        if replace(settled(condition.at), control="") == best
    }


def _settled(one: _Measured) -> Callable[[Point], Point]:
    """What makes one condition of those that differ in what was chosen for each relation."""
    choose = one.step.parameters.get("choose", ())
    return lambda at: at.settled(choose)


def _lines(
    one: _Measured, axes: Iterable[str], kept: set[Point] | None
) -> Iterator[tuple[Any, ...]]:
    """The lines of an eval on one relation, condition by condition."""
    row, evaluation, asked = one.row, one.evaluation, one.asked
    swept, zero_shot = values_of(row.axes), evaluation.zero_shot
    same = list(zip(evaluation.images, asked.places, asked.queries, asked.answers, strict=True))
    before = list(
        zip(
            one.said_unedited,
            _probabilities(zero_shot.p_answer),
            zero_shot.correct.astype(int),
            strict=True,
        )
    )
    for condition in evaluation.conditions:
        at = condition.at
        if kept is not None and at not in kept:
            continue
        where = (
            row.eval, row.relation, row.shots, cell(at.layer), cell(at.scale), vector_of(row, at),
            cell(at.k), at.control, *(cell(swept.get(name)) for name in axes),
            one.step.parameters["split"],
        )  # fmt: skip
        after = zip(
            one.said(condition), _probabilities(condition.outcomes.p_answer),
            condition.outcomes.correct.astype(int), strict=True,
        )  # fmt: skip
        for item, own, unedited in zip(same, after, before, strict=True):
            yield (*where, *item, *own, *unedited)


def _probabilities(values: np.ndarray) -> list[str]:
    return [f"{value:.6g}" for value in values.tolist()]
