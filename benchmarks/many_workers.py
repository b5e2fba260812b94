"""What a store and a driver see of many workers: the workers' own code under a clock that does not
wait.

    python -m benchmarks.many_workers [--workers 10 100 1000] [--seeds 30] [--latency 0.01] [--json]

Workers run :mod:`mfv_dsl.launch.worker` as they do elsewhere: they look at the job's files, claim
units and parts, keep values, report, help and wait.  Three things are pretended.  The store is
in this process, counts requests, and answers each after ``--latency`` seconds; a step takes the
time that ``mfv plan`` estimates of it on an A100 that reaches one part in five of its rate, and
gives few bytes; and of all clocks there is one, which goes on when everybody waits.  So what comes
out is how often the store is asked, when, and how long workers wait for work, for each other and
for the store, and not how fast this machine is.  The plans are those of the paper's experiment on
the model of four billion parameters, once for each seed.

Printed are, by number of workers: the time until all is done, and what part of the workers' time is
work; requests a second, on average and in the busiest second, and their kinds; names that lists
give a second; and the processor time of one of the driver's looks.
"""

from __future__ import annotations

import argparse
import heapq
import json
import pickle
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

import mfv_dsl as mfv
from mfv_dsl.execute import claims as claims_module
from mfv_dsl.execute import store as store_module
from mfv_dsl.execute.claims import Claims, Owner
from mfv_dsl.execute.operations.registry import DIVIDED
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.execute.store import Store
from mfv_dsl.launch import parts as parts_module
from mfv_dsl.launch import telling as telling_module
from mfv_dsl.launch import worker as worker_module
from mfv_dsl.launch.job import Job
from mfv_dsl.launch.orders import Work, WorkerOrder
from mfv_dsl.launch.units import Unit, units_of
from mfv_dsl.plan.descriptions import BATCH
from mfv_dsl.plan.estimate import estimate_by_arithmetic
from mfv_dsl.plan.rates import device_rate
from mfv_dsl.version import __version__

RECIPE = "paper/spatial-4b"
#: What part of a device's arithmetic a run reaches, about.
_REACHED = 0.2
#: Seconds that a step takes which runs no model.
_LEAST = 0.05
#: Seconds from the first worker's start to the last one's, as a scheduler starts them.
_STARTED_WITHIN = 60.0
#: Seconds in which a worker imports what it needs and loads a model.
_LOADS = 40.0
_JOB = "simulated"


class Clock:
    """A clock for threads of which one runs at a time: who sleeps gives way to whoever wakes first.

    It stands in for the module :mod:`time` where workers use it.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._count = 0
        self._over = threading.Event()
        self.error: BaseException | None = None

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        """Give way for so many seconds."""
        event = self._entered(seconds)
        self._pass_on()
        event.wait()

    def run(self, works: Sequence[tuple[float, Callable[[], None]]]) -> None:
        """Do each of ``works``, from its second on, until all are done."""
        for start, work in works:
            event = self._entered(start)
            threading.Thread(target=self._do, args=(event, work), daemon=True).start()
        self._pass_on()
        self._over.wait()
        if self.error is not None:
            raise self.error

    def _do(self, event: threading.Event, work: Callable[[], None]) -> None:
        event.wait()
        try:
            work()
            self._pass_on()
        except BaseException as error:
            self.error = error
            self._over.set()

    def _entered(self, seconds: float) -> threading.Event:
        event = threading.Event()
        self._count += 1
        heapq.heappush(self._waiting, (self.now + seconds, self._count, event))
        return event

    def _pass_on(self) -> None:
        if not self._waiting:
            self._over.set()
            return
        self.now, _, event = heapq.heappop(self._waiting)
        event.set()


class CountedStorage:
    """A storage in this process that counts what it is asked, and answers after some time."""

    def __init__(self, clock: Clock, latency: float) -> None:
        self.clock, self.latency = clock, latency
        self.files: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.requests: Counter[str] = Counter()
        self.names_listed = self.bytes_moved = 0
        self.by_second: Counter[int] = Counter()

    def _asked(self, kind: str) -> None:
        self.requests[kind] += 1
        self.by_second[int(self.clock.now)] += 1
        self.clock.sleep(self.latency)

    def _folder(self, name: str) -> dict[str, bytes]:
        return self.files[name.partition("/")[0]]

    def read(self, name: str) -> bytes:
        self._asked("read")
        if name.startswith("beats/"):  # nobody dies here
            return repr(self.clock.now).encode()
        self.bytes_moved += len(self._folder(name)[name])
        return self._folder(name)[name]

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._asked("write")
        self.bytes_moved += len(data)
        self._folder(name)[name] = data

    def create(self, name: str, data: bytes) -> bool:
        self._asked("create")
        return self._folder(name).setdefault(name, data) is data

    def exists(self, name: str) -> bool:
        self._asked("exists")
        return name in self._folder(name)

    def names(self, prefix: str) -> list[str]:
        self._asked("list")
        found = [name for name in self._folder(prefix) if name.startswith(f"{prefix}/")]
        self.names_listed += len(found)
        return found

    def remove(self, *names: str) -> None:
        for name in names:
            self._asked("remove")
            self._folder(name).pop(name, None)

    def replace(self, name: str, was: bytes, data: bytes) -> bool:
        self._asked("replace")
        if self._folder(name).get(name) != was:
            return False
        self._folder(name)[name] = data
        return True

    def place(self, name: str) -> str:
        return name


class _Pretended:
    """Steps that take their time and give little."""

    def __init__(self, clock: Clock, seconds: dict[str, float]) -> None:
        self.clock, self.seconds = clock, seconds
        self.worked = 0.0

    def session(self, plan: Any, listener: Any, settings: Any, parts: Any) -> Any:
        return SimpleNamespace(plan=plan, listener=listener, parts=parts, devices={})

    def perform_group(
        self, session: Any, store: Store, group: Any, performance: Any, *, go_on: bool, ours: Any
    ) -> None:
        for step in group:
            if step.key not in ours:
                continue
            self.perform(session, step)
            store.put(step.key, 1.0, step.label, step.operation)
            store.drop_parts(step.key)
            performance.seconds[step.key] = 1.0
            performance.values[step.key] = 1.0

    def performed(self, session: Any, work: Any) -> None:
        for step, _ in work:
            self.perform(session, step)

    def prepared(self, steps: Any, performance: Any) -> list[Any]:
        return [(step, {}) for step in steps]

    def perform(self, session: Any, step: Any) -> None:
        """Parts of a batch each, as a divided operation has them, or the whole."""
        p = step.parameters
        size = max(p.get("items", 0), p.get("trials", 0))
        n_parts = -(-size // BATCH) if step.operation in DIVIDED else 1
        each = self.seconds[step.key] / max(1, n_parts)

        def make() -> float:
            self.worked += each
            self.clock.sleep(each)
            return 1.0

        if n_parts > 1:
            makes = [(f"{number}/{BATCH}", make) for number in range(n_parts)]
            session.parts.keep_all(step, makes, lambda place: None)
        else:
            make()


def simulate(
    plans: Sequence[Any], units: Sequence[Unit], seconds: dict[str, float], n: int, latency: float
) -> dict[str, Any]:
    """A run of ``plans`` by ``n`` workers."""
    clock = Clock()
    storage = CountedStorage(clock, latency)
    store, pretended = Store(storage), _Pretended(clock, seconds)  # type: ignore[arg-type]
    replaced: dict[Any, dict[str, Any]] = {
        worker_module: {
            "time": clock, "units_of": lambda *_: units, "store_at": lambda _: store,
            "Session": pretended.session, "perform_group": pretended.perform_group,
            "performed": pretended.performed, "prepared": pretended.prepared,
            "check_answers": lambda *_: None,
        },
        parts_module: {"time": clock}, claims_module: {"time": clock},
        telling_module: {"time": clock}, store_module: {"form_fault": lambda *_: None},
    }  # fmt: skip
    before = {(m, name): getattr(m, name) for m, names in replaced.items() for name in names}
    shown = Claims.show_life
    work = Work(tuple(plans), RunSettings())

    def worker(number: int) -> None:
        job = Job(storage, _JOB)  # type: ignore[arg-type]
        claims = Claims(storage, Owner(process=number))  # type: ignore[arg-type]
        order = WorkerOrder(__version__, _JOB, number, n, ".", "", 1, None, b"")
        job.begin(number, claims.owner)
        worker_module._Worker(order, work, job, claims).run()

    done: dict[str, float] = {}
    looks: list[float] = []

    def driver() -> None:
        """Looks as the driver does: no more than once in 20 times what a look takes."""
        job, seen = Job(storage, _JOB), 0  # type: ignore[arg-type]
        while seen < len(units):
            started = time.process_time()
            now = job.look()
            looks.append(time.process_time() - started)
            for number in sorted(map(int, now["done"]))[seen:]:
                job.reported("done", units[number])
            seen = len(now["done"])
            clock.sleep(0.2)
        done["at"] = clock.now

    try:
        for module, names in replaced.items():
            for name, value in names.items():
                setattr(module, name, value)
        Claims.show_life = lambda self: None  # type: ignore[method-assign]
        starts = [_LOADS + _STARTED_WITHIN * number / n for number in range(n)]
        works: list[tuple[float, Callable[[], None]]] = [
            (start, lambda number=number: worker(number))  # type: ignore[misc]
            for number, start in enumerate(starts, 1)
        ]
        clock.run([(0.0, driver), *works])
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)
        Claims.show_life = shown  # type: ignore[method-assign]
    total = done["at"]
    beats = n * total / 5.0
    storage.requests["write"] += int(beats)
    spent = sum(total - start for start in starts if start < total)
    asked = sum(storage.requests.values())
    return {
        "workers": n,
        "seconds": total,
        "busy": pretended.worked / spent,
        "requests": dict(storage.requests),
        "per_unit": asked / len(units),
        "per_second": asked / total,
        "busiest_second": max(storage.by_second.values()) + n / 5.0,
        "names_per_second": storage.names_listed / total,
        "look_seconds": float(np.median(looks)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Requests and waiting of many workers.")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--latency", type=float, default=0.01, help="seconds of a request")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    threading.stack_size(512 << 10)
    plans = [
        mfv.Recipe.from_file(RECIPE, [f"defaults.seed={seed}"]).plan()
        for seed in range(asked.seeds)
    ]
    rate = device_rate("a100")
    seconds = {
        key: max(_LEAST, value / _REACHED)
        for plan in plans
        for key, value in estimate_by_arithmetic(plan, (), rate).seconds.items()
    }
    units = units_of(plans)
    order = len(pickle.dumps(tuple(plans)))
    found = [simulate(plans, units, seconds, n, asked.latency) for n in asked.workers]
    if asked.json:
        print(json.dumps(found))
        return 0
    hours = sum(seconds.values()) / 3600
    print(f"{RECIPE}, {asked.seeds} seeds: {len(units)} units, {hours:.1f} hours of one GPU; "
          f"an order is {order / 1e6:.1f} MB; {asked.latency * 1e3:.0f} ms a request")  # fmt: skip
    print(f"{'workers':>8}{'time':>9}{'busy':>7}{'requests/s':>12}{'busiest s':>11}"
          f"{'a unit':>8}{'names/s':>10}{'a look':>9}  kinds")  # fmt: skip
    for one in found:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(one["requests"].items()))
        line = (
            f"{one['workers']:>8}{one['seconds']:>8.0f}s{one['busy']:>7.0%}"
            f"{one['per_second']:>12.0f}{one['busiest_second']:>11.0f}{one['per_unit']:>8.0f}"
            f"{one['names_per_second']:>10.0f}{one['look_seconds'] * 1e3:>6.1f} ms"
        )
        print(f"{line}  {kinds}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
