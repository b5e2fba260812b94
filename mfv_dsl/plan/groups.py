"""The order in which steps are performed, and which of them together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from mfv_dsl.plan.operations import OPERATIONS
from mfv_dsl.plan.steps import Step


def in_groups(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """``steps``, each after its inputs, with those together that can be performed together: when
    one's turn comes, all that are like it and follow from none of them, and before them what these
    follow from.  It depends on the steps alone, not on which of them are finished: in other company
    the last bits of a step's value would be others."""
    waits_for = _waits_for(steps)
    kinds = {step.key: kind for step in steps if (kind := _kind(step)) is not None}
    done: set[str] = set()

    def single(step: Step) -> tuple[Step, ...]:
        done.add(step.key)
        return (step,)

    for step in steps:
        if step.key in done:
            continue
        if step.key not in kinds:
            yield single(step)
            continue
        group = [
            other
            for other in steps
            if kinds.get(other.key) == kinds[step.key]
            and other.key not in done
            and not waits_for[other.key] & (kinds.keys() - done)
        ]
        needed = set[str]().union(*(waits_for[member.key] for member in group))
        for other in steps:
            if other.key in needed and other.key not in done:
                yield single(other)
        done.update(member.key for member in group)
        yield tuple(group)


def _kind(step: Step) -> Hashable | None:
    """What steps have in common that are performed together; None of one performed alone."""
    together = OPERATIONS[step.operation].together
    return None if together is None else (step.operation, together(step))


def _waits_for(steps: Sequence[Step]) -> dict[str, set[str]]:
    """The keys of all that each step follows from."""
    waits: dict[str, set[str]] = {}
    for step in steps:
        waits[step.key] = set(step.follows_from).union(*(waits[key] for key in step.follows_from))
    return waits
