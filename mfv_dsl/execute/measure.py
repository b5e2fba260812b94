"""How long a plan will take on this machine: a little of each kind of step is run and timed.

Steps that differ in nothing but their relation, their seed and what they follow from take the same
time, so that one of each kind is run, on a few prompts that go with it, and taken times as many
prompts as the plan has.  Nothing is kept: no value comes into the store.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mfv_dsl.execute.operations import PERFORM, TOGETHER
from mfv_dsl.execute.session import Session
from mfv_dsl.execute.settings import RunSettings, Silence
from mfv_dsl.execute.threads import threads_of
from mfv_dsl.methods.activations import TaskMean
from mfv_dsl.methods.answers import Answers
from mfv_dsl.methods.states import States
from mfv_dsl.plan.described_trainings import training_items
from mfv_dsl.plan.descriptions import BATCH
from mfv_dsl.plan.estimate import Estimate, duration
from mfv_dsl.plan.groups import in_groups
from mfv_dsl.plan.rates import Rate, short
from mfv_dsl.plan.steps import Plan, Step
from mfv_dsl.plan.work import is_counted, peak_memory, work_by_step

#: Seconds that one kind of step is run for, about.
_AIM = 2.0
#: Prompts to begin with.
_FEW = 4
#: What does not change how long a step takes.
_IRRELEVANT = {"relation", "seed", "off_task", "without", "content"}
_SIZES = ("items", "trials", "select_items")


@dataclass(frozen=True)
class _Line:
    """Seconds of a batch: ``fixed``, whatever it has in it, and those of ``each`` prompt."""

    fixed: float = 0.0
    each: float = 0.0

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> _Line:
        """The line through two points, (prompts, seconds), that does not fall."""
        if many[0] <= few[0]:
            return cls(0.0, few[1] / max(1, few[0]))
        each = max(0.0, (many[1] - few[1]) / (many[0] - few[0]))
        each = min(each, many[1] / many[0])
        return cls(many[1] - each * many[0], each)

    def seconds(self, prompts: int) -> float:
        """Of so many prompts, in batches as a run has them."""
        return -(-prompts // BATCH) * self.fixed + self.each * prompts


@dataclass(frozen=True)
class _Measured:
    """What a kind of step takes: an epoch of a training (``epoch``), and all the ``rest``; ``once``
    where it runs no prompts."""

    rest: _Line = _Line()
    epoch: _Line = _Line()
    once: float = 0.0

    def seconds(self, size: int, step: Step) -> float:
        """The seconds of a step of this kind on ``size`` prompts."""
        epochs = step.parameters.get("epochs", 0)
        return self.once + self.rest.seconds(size) + self.epoch.seconds(size) * epochs


@dataclass(frozen=True)
class _Sample:
    """Seconds of one run on ``prompts`` prompts, of the parts of :class:`_Measured`."""

    prompts: int
    rest: float
    epoch: float

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.rest + self.epoch


def measure_plan(
    plan: Plan, finished: Collection[str], settings: RunSettings, aim: float = _AIM
) -> Estimate:
    """Run a little of each kind of step that is not finished, and what that little needs.

    Args:
        plan: The whole plan.
        finished: The keys of the steps whose values the store holds; they take no time.
        settings: How it is run.
        aim: Seconds that one kind of step is run for, about.

    Returns:
        Seconds for every unfinished step.  A kind of step of which even a few prompts would take
        too long is estimated from its arithmetic, at the rate that the others reached.

    Raises:
        MfvError: What loading a model or opening a dataset raises.
    """
    with threads_of(plan):
        return _measured(plan, finished, settings, aim)


def _measured(plan: Plan, finished: Collection[str], settings: RunSettings, aim: float) -> Estimate:
    started = time.perf_counter()
    session = Session(plan, Silence(), settings)
    for step in plan.steps:
        if step.model is not None:
            session.backend(step)
        if step.dataset is not None:
            session.dataset(step)
    before = time.perf_counter() - started
    steps = [step for step in plan.steps if step.key not in finished]
    operations = {}
    if is_counted(plan):
        operations = {key: work.total for key, work in work_by_step(plan, plan.steps).items()}
    meter = _Meter(session, operations, aim)
    for step in plan.steps:  # finished ones too: others follow from them
        meter.add(step)
    remarks = [
        f"measured in {time.perf_counter() - started:.1f} s: "
        f"{len(meter.measured)} kinds of steps, on {meter.least} to {meter.most} prompts each"
    ]
    rate = meter.rate
    seconds = {}
    for step in steps:
        measured = meter.measured.get(kind_of(step))
        if measured is not None:
            seconds[step.key] = measured.seconds(_size(plan, step), step)
        else:
            seconds[step.key] = operations.get(step.key, 0.0) / rate
    if meter.left_out:
        remarks.append(
            f"not measured, as a few prompts would take longer than {duration(aim)}: "
            f"{', '.join(sorted(meter.left_out))}; their arithmetic at {short(rate)}FLOP/s, "
            "which the others reached"
        )
    devices = ", ".join(sorted(set(session.devices.values()))) or "this machine"
    return Estimate(seconds, peak_memory(plan), f"measured on {devices}", before, tuple(remarks))


def kind_of(step: Step) -> str:
    """What steps that take the same time for each prompt have in common."""
    shape = {
        name: value
        for name, value in step.parameters.items()
        if name not in _IRRELEVANT and name not in _SIZES and name != "epochs"
    }
    return json.dumps(
        [step.operation, step.model, step.dataset, len(step.input_keys), shape],
        sort_keys=True,
        default=str,
    )


def _size(plan: Plan, step: Step) -> int:
    """The prompts that a step's time grows with."""
    if step.operation == "tune":
        return training_items(plan, step)
    return int(step.parameters.get("items") or step.parameters.get("trials") or 0)


def _whole_batches(step: Step, prompts: int, size: int) -> int:
    """About as many prompts, in whole mini-batches where a step is a training."""
    batch = min(step.parameters.get("batch", 1), size)
    return max(batch, prompts - prompts % batch) if 3 * prompts > batch else prompts


class _Meter:
    """Runs one step of each kind, on few prompts, and keeps its value and its time."""

    def __init__(self, session: Session, operations: Mapping[str, float], aim: float) -> None:
        self.session, self.operations, self.aim = session, operations, aim
        self.measured: dict[str, _Measured] = {}
        self.left_out: set[str] = set()
        self.least, self.most = BATCH, 0
        steps = session.plan.steps
        self._groups = {s.key: group for group in in_groups(steps) for s in group}
        self._values: dict[str, Any] = {}
        self._alias: dict[str, str] = {}
        self._done = self._seconds = 0.0
        self._warm = False

    @property
    def rate(self) -> float:
        """Operations a second that were reached."""
        return self._done / self._seconds if self._done else matrix_rate(self.session)

    def add(self, step: Step) -> None:
        """Run a step of a new kind; one of a kind that was run stands for it."""
        kind = kind_of(step)
        self._alias[step.key] = kind
        if kind in self._values or step.operation in self.left_out:
            return
        inputs = self._inputs(step)
        if inputs is None:
            self.left_out.add(step.operation)
            return
        size = _size(self.session.plan, step)
        if not size:
            self.measured[kind] = _Measured(once=self._run(step, inputs, 0))
            return
        few = _whole_batches(step, min(size, _FEW), size)
        n = len(self._members(step))
        if self._too_long(step, n * few / size):
            self.left_out.add(step.operation)
            return
        if not self._warm:
            self._sample(step, inputs, few)
            self._warm = True
        first = self._sample(step, inputs, few)
        at_most = max(4 * few, int(few * self.aim / max(1e-3, n * first.seconds)))
        prompts = _whole_batches(step, min(size, BATCH, at_most), size)
        last = self._sample(step, inputs, prompts) if prompts > few else first
        if "batch" in step.parameters:  # what counts is how many mini-batches there are
            first = last
        self.measured[kind] = _Measured(
            *(
                _Line.through(
                    (first.prompts, getattr(first, part)), (last.prompts, getattr(last, part))
                )
                for part in ("rest", "epoch")
            )
        )
        self.least, self.most = min(self.least, last.prompts), max(self.most, last.prompts)
        if step.key in self.operations:
            self._done += self.operations[step.key] * last.prompts / size
            self._seconds += last.seconds

    def _too_long(self, step: Step, share: float) -> bool:
        operations = self.operations.get(step.key, 0.0) * share
        return operations > 0 and operations / self.rate > 4 * self.aim

    def _inputs(self, step: Step) -> dict[str, Any] | None:
        """What a step follows from, or values of their kinds; None where one is missing."""
        values: dict[str, Any] = {}
        for name, keys in {**step.inputs, **step.references}.items():
            kinds = [self._alias[key] for key in ([keys] if isinstance(keys, str) else keys)]
            if any(kind not in self._values for kind in kinds):
                return None
            own = [self._values[kind] for kind in kinds]
            values[name] = own[0] if isinstance(keys, str) else own
        return values

    def _sample(self, step: Step, inputs: Mapping[str, Any], prompts: int) -> _Sample:
        if "epochs" not in step.parameters:
            return _Sample(prompts, self._run(step, inputs, prompts), 0.0)
        two = self._run(step, inputs, prompts, epochs=2)
        one = self._run(step, inputs, prompts, epochs=1)
        epoch = max(0.0, two - one)
        return _Sample(prompts, max(0.0, one - epoch), epoch)

    def _run(self, step: Step, inputs: Mapping[str, Any], prompts: int, **more: int) -> float:
        """Seconds of a step on ``prompts`` prompts; its value is kept.  Steps that share their
        passes are run together, a part of the seconds each."""
        members = [self._small(member, prompts, more) for member in self._members(step)]
        small, values = members[0], dict(inputs)
        for name, value in inputs.items():  # of another number of prompts
            if name == "mean" and isinstance(value, TaskMean) and prompts:
                values[name] = replace(value, correct=(True,) * prompts)
            if isinstance(value, States) or (isinstance(value, list) and name == "vectors"):
                values[name] = _alike(value)
            if name == "others" and isinstance(value, list):  # one value stands for all of a kind
                values[name] = [
                    replace(other, images=tuple(f"{place} of {image}" for image in other.images))
                    for place, other in enumerate(value)
                ]
            if isinstance(value, Answers):
                values[name] = value.picked(np.arange(prompts) % len(value.names))
        started = time.perf_counter()
        if len(members) > 1:
            value = TOGETHER[step.operation](self.session, members, [values] * len(members))[0]
            if isinstance(value, Exception):
                raise value
        else:
            value = PERFORM[step.operation](self.session, small, values)
        self._values[self._alias[step.key]] = value
        _finish()
        return (time.perf_counter() - started) / len(members)

    def _members(self, step: Step) -> list[Step]:
        """The step and those of its kind that share its passes."""
        others = [other for other in self._groups[step.key] if other.key != step.key]
        return [step, *(other for other in others if kind_of(other) == kind_of(step))]

    def _small(self, step: Step, prompts: int, more: Mapping[str, int]) -> Step:
        """The step on ``prompts`` prompts."""
        p = step.parameters
        size = _size(self.session.plan, step)
        share = prompts / size if size else 1.0
        full = {**p, "items": size} if "items" in p else p  # of a training it may be all
        few: dict[str, Any] = {
            name: max(1, round(full[name] * share)) for name in _SIZES if name in p
        }
        if "correct_only" in p and not p.get("norm"):
            few["correct_only"] = False
        if "correct_with" in p:  # few prompts may leave none
            few["correct_with"] = None
        return replace(step, parameters={**p, **few, **more})


def _alike(value: Any) -> Any:
    """Rows of states, of different numbers of prompts or of other ones, as if they belonged
    together."""
    rows = value if isinstance(value, list) else [value]
    if not rows:
        return value
    if not isinstance(rows[0], States):
        return value
    n = min(len(one.rows) for one in rows)
    queries = tuple(map(str, range(n)))
    cut = [replace(one, rows=one.rows[:n], queries=queries) for one in rows]
    return cut if isinstance(value, list) else cut[0]


def _finish() -> None:
    """Wait for what a GPU was given to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_rate(session: Session | None = None) -> float:
    """Operations a second of this machine's processor on a plain matrix product in 32 bits."""
    a, b = torch.randn(512, 1024), torch.randn(1024, 1024)
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        best = max(best, 2 * a.shape[0] * b.numel() / (time.perf_counter() - started))
    return best


def processor_rate() -> Rate:
    """The rate of this machine's processor, in any precision."""
    rate = matrix_rate()
    return Rate(rate, rate, f"this processor: {short(rate)}FLOP/s in a plain product of matrices")
