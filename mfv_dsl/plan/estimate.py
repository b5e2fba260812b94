"""How long a plan will take: by counted arithmetic over a rate."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.plan.descriptions import model_facts
from mfv_dsl.plan.images import new_images
from mfv_dsl.plan.rates import Rate, short
from mfv_dsl.plan.steps import Plan, Step
from mfv_dsl.plan.work import is_counted, peak_memory, work_by_step


@dataclass(frozen=True)
class Estimate:
    """How long the steps of a plan that are not finished will take.

    ``seconds`` by the steps' keys, ``before`` the first of them (loading a model, opening a
    dataset), ``memory`` in bytes, 0 where it is not known; ``basis`` says where the figures come
    from, ``remarks`` what else is to be known of them.
    """

    seconds: Mapping[str, float]
    memory: int
    basis: str
    before: float = 0.0
    remarks: tuple[str, ...] = field(default=())

    @property
    def total(self) -> float:
        """Seconds of all together."""
        return self.before + sum(self.seconds.values())

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain data."""
        return {
            "seconds": dict(self.seconds), "before": self.before, "total": self.total,
            "memory": self.memory, "basis": self.basis, "remarks": list(self.remarks),
        }  # fmt: skip

    def to_text(self) -> str:
        """The sum as lines for people."""
        memory = f", about {self.memory / 2**30:.1f} GiB of memory" if self.memory else ""
        first = f"time: about {duration(self.total)}{memory}; {self.basis}"
        return "\n".join((first, *self.remarks)) + "\n"


def estimate_by_arithmetic(plan: Plan, finished: Collection[str], rate: Rate) -> Estimate:
    """Every unfinished step's operations over a device's rate.

    Drawing and reading pictures, loading, and what a device does between two products are left out.
    Raises MfvError (MFV5382) where the sizes of a model are not known.
    """
    if not is_counted(plan):
        raise MfvError(
            "MFV5382", "the sizes of the model are not known, so its arithmetic cannot be counted",
            help="`mfv plan RECIPE --measure` runs a little of each kind of step instead",
        )  # fmt: skip
    steps = [step for step in plan.steps if step.key not in finished]
    works = work_by_step(plan, steps)
    seconds = {
        step.key: works[step.key].total / rate.of(model_facts(plan, step).precision)
        if works[step.key].total
        else 0.0
        for step in steps
    }
    memory = peak_memory(plan)
    operations = sum(work.total for work in works.values())
    remarks = [_pictures(plan, steps)]
    if rate.memory and memory > rate.memory:
        remarks.append(
            f"the device has {rate.memory / 2**30:.0f} GiB of memory: too little for this plan"
        )
    return Estimate(
        seconds, memory,
        f"an estimate: {short(operations)}FLOP of arithmetic on {rate.source}",
        remarks=tuple(remarks),
    )  # fmt: skip


def _pictures(plan: Plan, steps: Sequence[Step]) -> str:
    """What is left out, with how many pictures that is."""
    pictures = sum(new_images(plan, steps).values())
    return f"left out: drawing or reading at most {pictures:,} different pictures, and loading"


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(0.25), duration(75), duration(5400)
    ('0.25 s', '75 s', '1.5 h')
    """
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
