"""What plans will take on several workers, told before they run.

The workers' own loop is gone through with the seconds that an estimate has for each step: whoever
is free takes the first unit whose inputs are there, and where there is none helps with one that is
made in parts.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mfv_dsl.launch.units import Unit, units_of
from mfv_dsl.plan.described_evaluations import conditions
from mfv_dsl.plan.descriptions import BATCH
from mfv_dsl.plan.estimate import Estimate, duration
from mfv_dsl.plan.machine import Machine
from mfv_dsl.plan.steps import Plan
from mfv_dsl.plan.stored_sizes import stored_bytes
from mfv_dsl.plan.work import peak_memory

#: Requests to the store around a unit: a claim and its end, what is there, the report.
_REQUESTS = 8


@dataclass(frozen=True)
class Forecast:
    """What plans will take on ``workers`` workers.

    Attributes:
        workers: How many workers.
        units: Groups of steps that one worker makes.
        parts: Parts of those that several workers can make together.
        chain: The labels of the units that follow from one another and take longest.
        chain_seconds: What these take, whatever the number of workers; None where no time is known.
        seconds: From the start to the end, the start of the workers included; None likewise.
        alone: The same for one worker.
        busy: Seconds of work of each worker.
        memory: Bytes of one worker, 0 where not known.
        written: Bytes written to the store.
        read: Bytes read from it.
        basis: Where the times come from.
        remarks: What else is to be known of them.
    """

    workers: int
    units: int
    parts: int
    chain: tuple[str, ...]
    chain_seconds: float | None
    seconds: float | None
    alone: float | None
    busy: tuple[float, ...]
    memory: int
    written: int
    read: int
    basis: str
    remarks: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The forecast as plain data."""
        return {**vars(self), "chain": list(self.chain), "busy": list(self.busy),
                "remarks": list(self.remarks)}  # fmt: skip

    def to_text(self) -> str:
        """The forecast as lines for people."""
        parts = f", some of them in {self.parts} parts" if self.parts else ""
        lines = [f"{self.workers} workers: {self.units} units of work{parts}"]
        chain = " → ".join(_ends(self.chain))
        if self.chain:
            least = "" if self.chain_seconds is None else (
                f", about {duration(self.chain_seconds)} on any number of workers"
            )  # fmt: skip
            lines.append(f"longest chain: {len(self.chain)} units{least}: {chain}")
        if self.seconds is not None and self.alone is not None:
            share = sum(self.busy) / (self.workers * self.seconds) if self.seconds else 0.0
            lines.append(
                f"time on {self.workers} workers: about {duration(self.seconds)}, on one "
                f"{duration(self.alone)}; a worker is busy for about "
                f"{duration(sum(self.busy) / self.workers)}, {100 * share:.0f} % of it"
            )
            lines.append(f"by {self.basis}")
        memory = f"about {_size(self.memory)}" if self.memory else "not known"
        lines.append(f"memory of a worker: {memory}, beside its program's own")
        lines.append(f"store: about {_size(self.written)} written, {_size(self.read)} read")
        return "\n".join([*lines, *self.remarks]) + "\n"


def forecast(
    plans: Sequence[Plan],
    finished: Collection[str],
    workers: int,
    estimate: Estimate | None = None,
    machine: Machine | None = None,
) -> Forecast:
    """What ``plans`` will take on ``workers`` workers.

    Args:
        plans: What is run, as if one plan were run after the other.
        finished: The keys of the steps whose values the store holds.
        workers: How many workers.
        estimate: The seconds of every step that is not finished; without it no time is told.
        machine: What was measured of this machine: the start of a worker and the store.
    """
    units = units_of(plans, finished)
    steps = {step.key: (plan, step) for plan in plans for step in plan.steps}
    sizes = {key: stored_bytes(*steps[key]) for key in steps}
    seconds = {} if estimate is None else estimate.seconds
    makers = {key: unit.number for unit in units for key in unit.ours}
    tasks = [_task(unit, makers, seconds, machine) for unit in units]
    chain = _longest(tasks)
    divided = [task for task in tasks if task.parts > 1]
    written = sum(sizes[key] for unit in units for key in unit.ours)
    written += sum(sizes[key] for task in divided for key in task.unit.ours)  # the parts
    read = sum(sizes[key] for unit in units for key in unit.waits_for)
    read += sum(sizes[key] for task in divided for key in task.unit.ours)
    read += sum(sizes[key] for unit in units for key in unit.ours)  # by who started it
    start = estimate.before if estimate is not None else 0.0
    start = max(start, machine.start if machine is not None and units else 0.0)
    busy = _schedule(tasks, workers) if estimate is not None else ()
    alone = _schedule(tasks, 1) if estimate is not None else ()
    return Forecast(
        workers, len(units), sum(task.parts for task in divided),
        tuple(task.unit.label for task in chain),
        sum(task.least for task in chain) if estimate is not None else None,
        start + busy[0] if busy else None, start + alone[0] if alone else None,
        tuple(busy[1:]), max(map(peak_memory, plans), default=0), written, read,
        estimate.basis if estimate is not None else "", _remarks(estimate, units),
    )  # fmt: skip


def _remarks(estimate: Estimate | None, units: Sequence[Unit]) -> tuple[str, ...]:
    if estimate is None and units:
        return (
            "no time is told: `mfv doctor --measure` measures this machine once; --device, --rate "
            "and --measure are other ways",
        )
    return () if estimate is None else estimate.remarks


@dataclass
class _Task:
    """A unit with its seconds, the parts that several workers can make, and the numbers of the
    units that it follows from."""

    unit: Unit
    seconds: float
    parts: int
    after: frozenset[int]
    taken: int = 0
    ends: float = 0.0

    @property
    def least(self) -> float:
        """Its seconds where each part has a worker."""
        return self.seconds / self.parts


def _task(
    unit: Unit, makers: Mapping[str, int], seconds: Mapping[str, float], machine: Machine | None
) -> _Task:
    own = sum(seconds.get(step.key, 0.0) for step in unit.steps)
    if machine is not None:
        own += _REQUESTS * machine.store.write_seconds
    after = frozenset(makers[key] for key in unit.waits_for if key in makers)
    return _Task(unit, own, parts_of(unit), after)


def parts_of(unit: Unit) -> int:
    """In how many parts a unit is made."""
    if not unit.is_divided:
        return 1
    p = unit.steps[0].parameters
    batches = -(-max(p.get("items", 0), p.get("trials", 0)) // BATCH)
    passes = 1
    if unit.steps[0].operation == "evaluate" and conditions(p)[0]:
        passes = 2  # on the split that is chosen on, then on the other
    return int(batches) * passes


def _longest(tasks: Sequence[_Task]) -> list[_Task]:
    """The tasks that follow from one another and take longest; where none takes time, most."""
    best: dict[int, tuple[float, int, _Task | None]] = {}
    for task in tasks:
        before = max(((*best[number][:2], number) for number in task.after), default=(0.0, 0, None))
        previous = None if before[2] is None else tasks[before[2]]
        best[task.unit.number] = (before[0] + task.least, before[1] + 1, previous)
    if not tasks:
        return []
    last: _Task | None = max(tasks, key=lambda task: best[task.unit.number][:2])
    chain: list[_Task] = []
    while last is not None:
        chain.insert(0, last)
        last = best[last.unit.number][2]
    return chain


def _schedule(tasks: Sequence[_Task], workers: int) -> list[float]:
    """When all is done, and the seconds of work of each worker.

    Whoever is free goes on with the parts of its own unit, else takes the first that is ready and
    that nobody has, else makes a part of one that another has.
    """
    followers: dict[int, list[_Task]] = {task.unit.number: [] for task in tasks}
    for task in tasks:
        task.taken, task.ends = 0, 0.0
        for number in task.after:
            followers[number].append(task)
    waits = {task.unit.number: len(task.after) for task in tasks}
    by_number = {task.unit.number: task for task in tasks}
    since = dict.fromkeys(by_number, 0.0)
    coming = [(0.0, number) for number, count in waits.items() if not count]
    ready: list[int] = []  # that nobody has
    begun: list[int] = []  # that have parts which nobody makes
    free = [(0.0, worker) for worker in range(workers)]
    own: list[int | None] = [None] * workers
    busy = [0.0] * workers
    for heap in (coming, free):
        heapq.heapify(heap)
    while free and (coming or ready or begun):
        now, worker = heapq.heappop(free)
        while coming and coming[0][0] <= now:
            heapq.heappush(ready, heapq.heappop(coming)[1])
        mine = own[worker]
        if mine is not None and by_number[mine].taken < by_number[mine].parts:
            number = mine
        elif ready:
            number = own[worker] = heapq.heappop(ready)
            if by_number[number].parts > 1:
                begun.append(number)
        elif begun:
            number = begun[0]
        else:
            heapq.heappush(free, (coming[0][0], worker))
            continue
        task = by_number[number]
        until = now + task.least
        busy[worker] += task.least
        task.taken, task.ends = task.taken + 1, max(task.ends, until)
        heapq.heappush(free, (until, worker))
        if task.taken < task.parts:
            continue
        if number in begun:
            begun.remove(number)
        for follower in followers[number]:
            other = follower.unit.number
            waits[other] -= 1
            since[other] = max(since[other], task.ends)
            if not waits[other]:
                heapq.heappush(coming, (since[other], other))
    return [max((task.ends for task in tasks), default=0.0), *busy]


def _ends(labels: Sequence[str]) -> list[str]:
    """A chain's labels, those in the midst of a long one left out."""
    return list(labels) if len(labels) <= 5 else [*labels[:3], "…", *labels[-2:]]


def _size(count: int) -> str:
    """Bytes for people."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 2**10:.0f} KiB"
