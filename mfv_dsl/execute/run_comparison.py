"""Two runs side by side: paired differences where they measured the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mfv_dsl.execute.item_lines import ItemLine
from mfv_dsl.execute.recorded_run import RecordedRun
from mfv_dsl.methods.intervals import difference_interval
from mfv_dsl.methods.statistics import sign_test


@dataclass(frozen=True)
class RunDifference:
    """A condition of an eval on one relation, or on all (None), in two runs.

    ``condition`` is one of the first run's lines of it.  ``difference`` is the accuracy in the
    other run less that in the first, on the ``n`` items of both, with its 95 % interval, and ``p``
    the exact two-sided sign test (McNemar's where every item has an image of its own); None where
    the items are not the same, which ``reason`` tells.
    """

    condition: ItemLine
    relation: str | None
    n: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str = ""


def compare_runs(first: RecordedRun, other: RecordedRun) -> list[RunDifference]:
    """Every condition that both runs have, relation by relation, then all relations of it together
    where it has several.  What was chosen for each relation counts as one condition."""
    own, others = _by_condition(first), _by_condition(other)
    differences = []
    for condition, by_relation in own.items():
        if condition not in others:
            continue
        pairs: list[tuple[list[ItemLine], list[ItemLine]]] = []
        for relation, lines in by_relation.items():
            theirs = others[condition].get(relation)
            if theirs is None:
                continue
            reason = _unlike(first, other, lines, theirs)
            if reason:
                differences.append(RunDifference(lines[0], relation, len(lines), reason=reason))
                continue
            pairs.append((lines, _in_order(lines, theirs)))
            differences.append(_difference(relation, pairs[-1:]))
        if len(pairs) > 1 and len(pairs) == len(by_relation) == len(others[condition]):
            differences.append(_difference(None, pairs))
    return differences


def _by_condition(run: RecordedRun) -> dict[tuple[object, ...], dict[str, list[ItemLine]]]:
    """The lines of a run by condition and relation."""
    groups: dict[tuple[object, ...], dict[str, list[ItemLine]]] = {}
    for line in run.items or ():
        alike = run.settled(line)
        key = alike._replace(relation="").condition
        groups.setdefault(key, {}).setdefault(line.relation, []).append(line)
    return groups


def _unlike(
    first: RecordedRun, other: RecordedRun, lines: Sequence[ItemLine], theirs: Sequence[ItemLine]
) -> str:
    """Why lines of two runs are not of the same items; empty where they are."""
    hashes = {
        run.dataset_hash(run.dataset_of(some[0])) for run, some in ((first, lines), (other, theirs))
    }
    if len(hashes) > 1 or None in hashes:
        return "of other datasets"
    own, others = _answers(lines), _answers(theirs)
    if own != others:
        shared = len(own.items() & others.items())
        return f"other items: {len(own)} and {len(others)}, {shared} of them in both"
    return ""


def _answers(lines: Sequence[ItemLine]) -> Mapping[tuple[str, ...], str]:
    return {_item(line): line.answer for line in lines}


def _item(line: ItemLine) -> tuple[str, ...]:
    """What tells an item from others of its dataset, also of one that asks the same twice."""
    return *line.item, line.place


def _in_order(lines: Sequence[ItemLine], theirs: Sequence[ItemLine]) -> list[ItemLine]:
    by_item = {_item(line): line for line in theirs}
    return [by_item[_item(line)] for line in lines]


def _difference(
    relation: str | None, pairs: Sequence[tuple[Sequence[ItemLine], Sequence[ItemLine]]]
) -> RunDifference:
    """The paired difference over the relations of ``pairs``."""
    gains = np.array(
        [
            float(theirs.correct) - float(line.correct)
            for lines, others in pairs
            for line, theirs in zip(lines, others, strict=True)
        ]
    )
    images = [line.image for lines, _ in pairs for line in lines]
    strata = [number for number, (lines, _) in enumerate(pairs) for _ in lines]
    low, high = difference_interval(gains, images, strata)
    return RunDifference(
        pairs[0][0][0], relation, len(gains), float(gains.mean()), float(low), float(high),
        sign_test(gains, images),
    )  # fmt: skip
