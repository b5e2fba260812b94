"""Result rows: plain data, one row per condition, and one over all relations of an eval."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from mfv_dsl.execute.conditions import Condition, Evaluation, Point
from mfv_dsl.methods.statistics import accuracy_interval, bootstrap
from mfv_dsl.plan.steps import Plan, Row

ALL = "all"  # the relation of a row over all relations
CHOSEN = "chosen"  # a value that was settled for each relation


@dataclass(frozen=True)
class Difference:
    """A paired difference in accuracy with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class ResultRow:
    """One condition: accuracy with its 95 % interval, mean probability of the answer, and the
    paired difference in accuracy from zero-shot on the same items with its interval.

    Over all relations ``relation`` is ``all``, and what was settled for each is ``chosen``.  ``k``
    and ``vector`` are there where the eval sweeps them, ``control`` where the row is one;
    ``against`` holds the differences from other evals, by name; ``answers`` the shares of items
    whose answer was that relation's object (``other``: none's), for a single relation.
    """

    eval: str
    relation: str
    shots: int
    layer: int | str | None
    scale: float | str | None
    n: int
    accuracy: float
    ci_low: float
    ci_high: float
    mean_p_answer: float
    difference: float
    difference_low: float
    difference_high: float
    vector: str | None = None
    k: int | str | None = None
    control: str = ""
    against: Mapping[str, Difference] = field(default_factory=dict)
    answers: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row as plain data; the later fields only where there is something in them."""
        said = asdict(self)
        return {name: said[name] for name in _STABLE} | {
            name: said[name] for name in _SOMETIMES if said[name] not in (None, "", {})
        }


_SOMETIMES = ("vector", "k", "control", "against", "answers")
_STABLE = tuple(f.name for f in fields(ResultRow) if f.name not in _SOMETIMES)


@dataclass(frozen=True)
class _Measured:
    """One condition on one relation, and what it is compared with."""

    row: Row
    at: Point
    condition: Condition
    evaluation: Evaluation
    others: Mapping[str, Evaluation]
    seed: int

    def gained(self, other: str | None = None) -> np.ndarray:
        """Correct here less correct there, by item; there is zero-shot, or another eval."""
        there = self.evaluation.zero_shot
        if other is not None:
            (condition,) = self.others[other].real
            assert self.others[other].images == self.evaluation.images
            there = condition.outcomes
        return self.condition.outcomes.correct.astype(np.float64) - there.correct


def result_rows(plan: Plan, values: Mapping[str, Any]) -> list[ResultRow]:
    """Rows in the order of the recipe; behind the relations of an eval those over all of them."""
    rows: list[ResultRow] = []
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in plan.rows:
        groups.setdefault((row.eval, row.shots), []).append(row)
    for group in groups.values():
        measured = [one for row in group for one in _measured(plan, values, row)]
        rows += [_row(one.row.relation, one.at, [one]) for one in measured]
        if len(group) > 1:
            alike: dict[Point, list[_Measured]] = {}
            for one in measured:
                alike.setdefault(_settled(plan, one), []).append(one)
            rows += [_row(ALL, at, parts) for at, parts in alike.items()]
    return rows


def _measured(plan: Plan, values: Mapping[str, Any], row: Row) -> list[_Measured]:
    evaluation: Evaluation = values[row.step]
    others = {name: values[step] for name, step in row.against}
    seed = plan[row.step].parameters["seed"]
    return [
        _Measured(row, condition.at, condition, evaluation, others, seed)
        for condition in evaluation.conditions
    ]


def _settled(plan: Plan, one: _Measured) -> Point:
    """The condition with what was settled for each relation left open."""
    chosen = plan[one.row.step].parameters.get("choose", ())
    return replace(one.at, **dict.fromkeys(chosen, CHOSEN))


def _row(relation: str, at: Point, parts: Sequence[_Measured]) -> ResultRow:
    """The row of one condition on one relation, or of the same one on several.

    Draws for intervals are made within relations; where relations share images, whose items then
    stand together, among all images.
    """
    first = parts[0]
    correct = np.concatenate([part.condition.outcomes.correct for part in parts])
    images = [image for part in parts for image in part.evaluation.images]
    strata = [number for number, part in enumerate(parts) for _ in part.evaluation.images]
    shared = len(set(images)) < sum(len(set(part.evaluation.images)) for part in parts)
    drawn: dict[str, Any] = {"clusters": images, "strata": None if shared else strata}
    low, high = accuracy_interval(correct, first.seed, **drawn)

    def difference(other: str | None = None) -> Difference:
        gained = np.concatenate([part.gained(other) for part in parts])
        low, high = bootstrap(gained, first.seed, **drawn)
        return Difference(float(gained.mean()), low, high)

    gained = difference()
    return ResultRow(
        eval=first.row.eval,
        relation=relation,
        shots=first.row.shots,
        layer=at.layer,
        scale=at.scale,
        n=len(correct),
        accuracy=float(correct.mean()),
        ci_low=low,
        ci_high=high,
        mean_p_answer=float(
            np.concatenate([part.condition.outcomes.p_answer for part in parts]).mean()
        ),
        difference=gained.difference,
        difference_low=gained.low,
        difference_high=gained.high,
        vector=first.row.vectors[at.vector] if first.row.vectors else None,
        k=at.k,
        control=at.control,
        against={name: difference(name) for name in first.others},
        answers=_answers(parts[0]) if relation != ALL else {},
    )


def _answers(one: _Measured) -> dict[str, float]:
    """The share of items whose answer was each relation's object, and of those of no relation's."""
    answered = one.condition.answered
    shares = {
        name: float((answered == place).mean())
        for place, name in enumerate(one.evaluation.relations)
    }
    return shares | {"other": float((answered < 0).mean())}


def choices(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was tried to settle ``choose``, on which split, and what was chosen."""
    tried = []
    for row in plan.rows:
        evaluation: Evaluation = values[row.step]
        winners = {condition.at for condition in evaluation.real}
        for trial in evaluation.trials:
            said: dict[str, Any] = {"eval": row.eval, "relation": row.relation, "shots": row.shots}
            if row.vectors:
                said["vector"] = row.vectors[trial.at.vector]
            if trial.at.k is not None:
                said["k"] = trial.at.k
            tried.append(
                said
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
    return tried


# -- files ----------------------------------------------------------------------------------------
def results_csv(rows: Sequence[ResultRow]) -> str:
    """Rows as CSV.  Only where a row needs them there are columns ``vector``, ``k``, ``control``,
    and ``vs_NAME`` with its interval for each eval compared with."""
    lines = []
    for row in rows:
        said = row.to_json()
        said.pop("answers", None)
        for name, gained in said.pop("against", {}).items():
            said |= {
                f"vs_{name}": gained["difference"],
                f"vs_{name}_low": gained["low"],
                f"vs_{name}_high": gained["high"],
            }
        lines.append(said)
    return _csv(lines, _STABLE)


def confusion_csv(rows: Sequence[ResultRow]) -> str:
    """One line for each row and relation whose object may be the answer: the share of items with
    that answer."""
    named = ("eval", "relation", "shots", "layer", "scale", *_SOMETIMES[:3], "n")
    lines = [
        {name: getattr(row, name) for name in named} | {"answered": answered, "share": share}
        for row in rows
        for answered, share in row.answers.items()
    ]
    return _csv(lines, (*named, "answered", "share"))


def choices_csv(choices: Sequence[Mapping[str, Any]]) -> str:
    """What was tried to settle ``choose``, one line for each condition and relation."""
    return _csv(choices, ("eval", "relation", "shots", "split", "layer", "scale", "n", "accuracy"))


def _csv(lines: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Lines as CSV with a header: ``columns``, then whatever else a line has."""
    names = dict.fromkeys([*columns, *(name for line in lines for name in line)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
