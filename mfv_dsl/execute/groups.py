"""The order in which steps are performed, and which of them together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from mfv_dsl.execute.operations.registry import TOGETHER
from mfv_dsl.plan.steps import Step


def in_groups(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """``steps``, each after its inputs, with those together that can be performed together: when
    one's turn comes, all that are like it and follow from none of them, and before them what these
    follow from.  It depends on the steps alone, not on which of them are finished: in other company
    the last bits of a step's value would be others."""
    waits_for = _waits_for(steps)
    makes = {step.key for step in steps if step.operation in TOGETHER}
    done: set[str] = set()

    def single(step: Step) -> tuple[Step, ...]:
        done.add(step.key)
        return (step,)

    for step in steps:
        if step.key in done:
            continue
        if step.key not in makes:
            yield single(step)
            continue
        kind = _kind(step)
        group = [
            other
            for other in steps
            if other.key in makes
            and other.key not in done
            and _kind(other) == kind
            and not waits_for[other.key] & (makes - done)
        ]
        needed = set[str]().union(*(waits_for[member.key] for member in group))
        for other in steps:
            if other.key in needed and other.key not in done:
                yield single(other)
        done.update(member.key for member in group)
        yield tuple(group)


def _kind(step: Step) -> tuple[Hashable, ...]:
    return step.operation, TOGETHER[step.operation].alike(step)


def _waits_for(steps: Sequence[Step]) -> dict[str, set[str]]:
    """The keys of all that each step follows from."""
    waits: dict[str, set[str]] = {}
    for step in steps:
        waits[step.key] = set(step.follows_from).union(*(waits[key] for key in step.follows_from))
    return waits
