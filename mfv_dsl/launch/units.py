"""What workers claim: groups of steps that are performed together."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mfv_dsl.plan.descriptions import BATCH
from mfv_dsl.plan.groups import in_groups
from mfv_dsl.plan.operations import OPERATIONS
from mfv_dsl.plan.steps import Plan, Step

#: The parameters of a step that say which prompts it runs.
_PROMPTS = ("relation", "split", "shots", "seed")


@dataclass(frozen=True)
class Unit:
    """Steps that one worker performs together.

    Attributes:
        number: Its place among all units, the same for every worker.
        plan: The number of the plan that it is performed in.
        steps: All steps that are performed.
        ours: The keys of those whose values are kept; the others are company, and are another
            unit's.
        waits_for: The keys of what they follow from, which no step of the unit makes.
        digest: What a unit of the same steps has in another run, too.
        models: What tells the models that it runs from others, in whatever plan.
        prompts: What tells the prompts that it runs from others of its plan: steps with the same
            ones are better done by one worker, which has them at hand.
    """

    number: int
    plan: int
    steps: tuple[Step, ...]
    ours: frozenset[str]
    waits_for: frozenset[str]
    digest: str
    models: frozenset[str]
    prompts: frozenset[tuple[object, ...]]

    @property
    def label(self) -> str:
        """What it is called where people read it."""
        more = len(self.ours) - 1
        first = next(step for step in self.steps if step.key in self.ours)
        return first.label + (f" and {more} more" if more else "")

    @property
    def model_names(self) -> frozenset[str]:
        """The names of the models that it runs, in its plan."""
        return frozenset(step.model for step in self.steps if step.model is not None)

    @property
    def is_divided(self) -> bool:
        """Whether it is made in parts, which several workers can make."""
        p = self.steps[0].parameters
        return (
            OPERATIONS[self.steps[0].operation].divided
            and max(p.get("items", 0), p.get("trials", 0)) > BATCH
        )

    @property
    def name(self) -> str:
        """What the unit as a whole is claimed by."""
        return f"steps/{self.digest}"


def units_of(plans: Sequence[Plan], had: Collection[str] = ()) -> tuple[Unit, ...]:
    """The units of several plans, each after what it waits for.

    A step that several plans have is made in the first of them, in its company there, as if the
    plans were run one after the other.  Steps of ``had`` are finished.
    """
    units: list[Unit] = []
    planned = set(had)
    for number, plan in enumerate(plans):
        for group in in_groups(plan.steps):
            keys = {step.key for step in group}
            ours = keys - planned
            planned |= ours
            if ours:
                units.append(_unit(len(units), number, plan, group, ours))
    return tuple(units)


def _unit(
    number: int, place: int, plan: Plan, group: tuple[Step, ...], ours: Collection[str]
) -> Unit:
    keys = {step.key for step in group}
    waits_for = {key for step in group for key in step.follows_from} - keys
    digest = hashlib.sha256(" ".join(sorted(keys)).encode()).hexdigest()[:32]
    declared = [plan.models[step.model] for step in group if step.model is not None]
    models = {f"{one.constructor} {sorted(one.arguments.items())}" for one in declared}
    prompts = {
        (step.model, step.dataset, *(step.parameters.get(name) for name in _PROMPTS))
        for step in group
        if "relation" in step.parameters and step.dataset is not None
    }
    return Unit(
        number, place, group, frozenset(ours), frozenset(waits_for), digest, frozenset(models),
        frozenset(prompts),
    )  # fmt: skip
