"""What starts workers and watches them, until all steps are done."""

from __future__ import annotations

import os
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.claims import Claims, Owner
from mfv_dsl.execute.folder import Performance
from mfv_dsl.execute.settings import Listener, RunSettings, Silence
from mfv_dsl.execute.storage import storage_at
from mfv_dsl.execute.store import Store, store_at
from mfv_dsl.execute.stored_content import Damaged
from mfv_dsl.launch.executors import Executor, Worker
from mfv_dsl.launch.job import ALL, Job
from mfv_dsl.launch.leftovers import remove_leftovers
from mfv_dsl.launch.orders import Work, WorkerOrder, orders_for, packed
from mfv_dsl.launch.partial_values import kept_partial
from mfv_dsl.launch.shared import shared_home
from mfv_dsl.launch.shown import Shown
from mfv_dsl.launch.telling import interval
from mfv_dsl.launch.units import Unit, units_of
from mfv_dsl.plan.steps import Plan, Step
from mfv_dsl.version import __version__

#: So many workers in a row may die or end before one of them has done anything.
_IDLE_DEATHS = 3
#: Seconds between two looks at the workers, and that they have to end by themselves.
_LOOK, _TO_END = 0.2, 10.0
#: A look may take one part in so many of the time between two.
_SHARE = 20.0


@dataclass(frozen=True)
class Crew:
    """Who does the work: what starts workers, how many, and with what.

    Attributes:
        executor: What starts them.
        workers: How many.
        gpus: GPUs of each.
        threads: Threads of each on a processor, None for those of
            :func:`~mfv_dsl.execute.threads.threads_for`.
        logs: The folder of what they print, removed where all went well.
    """

    executor: Executor
    workers: int
    gpus: int = 0
    threads: int | None = None
    logs: Path | None = None


def perform(
    plans: Sequence[Plan],
    crew: Crew,
    listener: Listener | None = None,
    settings: RunSettings | None = None,
) -> list[Performance | MfvError]:
    """What :func:`mfv_dsl.execute.run.perform` gives for each of ``plans``, going on where steps
    fail, by workers; steps that several plans have are made once.

    Args:
        plans: What is to be computed, as if one were run after the other.
        crew: Who does it.
        listener: Who is told how far it is.
        settings: How it is run.

    Returns:
        For each plan its values, or why it cannot be run.

    Raises:
        MfvError: MFV5670 and MFV5671 for what cannot be sent to workers, MFV5674 where workers die
            before they do anything, MFV5675 and MFV5679 for settings and a store that need one
            process, MFV6120 to MFV6124 for a store that cannot be written; and what the executor
            raises.
    """
    result_of = perform_in_turn(plans, crew, listener, settings)
    return [result_of(number) for number in range(len(plans))]


def perform_in_turn(
    plans: Sequence[Plan],
    crew: Crew,
    listener: Listener | None = None,
    settings: RunSettings | None = None,
) -> Callable[[int], Performance | MfvError]:
    """As :func:`perform`, for plans whose values together may be more than memory holds: gives a
    function that reads the values of the plan of a number from the store."""
    settings = settings or RunSettings()
    if shared_home().startswith("memory:"):
        raise MfvError(
            "MFV5679", "a store in memory is one process's alone, and workers share the store",
            help="let MFV_HOME name a folder, or a bucket",
        )  # fmt: skip
    if settings.trace:
        raise MfvError(
            "MFV5675", "a trace tells what one process reads and writes in turn",
            help="leave `--trace` or the workers out",
        )  # fmt: skip
    with disk_trouble():
        driver = _Driver(plans, crew, listener or Silence(), settings)
        driver.run()
        return driver.result_of


class _Driver:
    """A run on workers, as the one who started it sees it."""

    def __init__(
        self, plans: Sequence[Plan], crew: Crew, listener: Listener, settings: RunSettings
    ) -> None:
        self.plans, self.crew, self.listener, self.settings = plans, crew, listener, settings
        home = shared_home()
        self.job = Job(storage_at(home), f"{time.strftime('%Y%m%d')}-{secrets.token_hex(6)}")
        self.store: Store = store_at(home)
        self.claims = Claims(self.job.storage, Owner())
        self.steps = {step.key: step for plan in plans for step in plan.steps}
        self.performance = Performance({}, {}, set(), {}, {}, {})
        self.units: tuple[Unit, ...] = ()
        self.home = home
        self.fatal: dict[str, MfvError] = {}
        self._done: set[int] = set()
        self._said: set[str] = set()
        self._idle = 0
        self._workers: dict[int, Worker] = {}
        self._shown = Shown(self.job, listener)
        self._looked = self._took = 0.0
        self._dead: list[str] = []

    def run(self) -> None:
        """Until all is done; workers are ended however this ends."""
        self._take_finished()
        self.units = units_of(self.plans, self.performance.cached)
        if self.units:
            order = self._order()
            remove_leftovers(self.claims)
            with self.store.open_for_writing():
                try:
                    self.claims.show_life()
                    self.job.begin(0, self.claims.owner)
                    self._start(order)
                    self._watch(order)
                finally:
                    self._stop()

    def _take_finished(self) -> None:
        """Take the values that the store has."""
        for step in () if self.settings.fresh else self.steps.values():
            started = time.perf_counter()
            if step.key in self.store:
                with suppress(KeyError):
                    value = self._read(step)
                    if len(self.plans) == 1:  # of several, memory may not hold all
                        self.performance.values[step.key] = value
                    self.performance.seconds[step.key] = round(time.perf_counter() - started, 3)
                    self.performance.cached.add(step.key)

    def _read(self, step: Step) -> Any:
        """The value of a finished step; KeyError where there is none to be trusted."""
        try:
            return self.store.get(step.key, step.operation)
        except Damaged as error:
            warnings.warn(f"{error}; the step is run again", stacklevel=2)
            raise KeyError(step.key) from None

    def _order(self) -> WorkerOrder:
        work = Work(tuple(self.plans), self.settings, frozenset(self.performance.cached))
        return WorkerOrder(
            __version__, self.job.name, 1, self.crew.workers, os.getcwd(), self.home,
            self.crew.gpus, self.crew.threads, packed(work),
        )  # fmt: skip

    def _start(self, order: WorkerOrder) -> None:
        """Start the workers, no more than there are steps."""
        count = min(self.crew.workers, max(len(self.units), 2))
        for worker in self.crew.executor.start(orders_for(order, range(1, count + 1))):
            self._workers[worker.number] = worker

    # -- watching ---------------------------------------------------------------------------------
    def _watch(self, order: WorkerOrder) -> None:
        """See to it that all units are done."""
        progress = self.listener.begin(f"steps, by {len(self._workers)} workers", len(self.units))
        every = interval(self.crew.workers)
        while not self._is_over():
            before = len(self._done)
            self._look(every)
            progress(len(self._done) - before)
            if not self._is_over():
                self._replace_dead(order)
                time.sleep(max(_LOOK, _SHARE * self._took))
        self._shown.finish()

    def _is_over(self) -> bool:
        """Whether all is done of the plans that can be run."""
        if ALL in self.fatal:
            return True
        left = {key for unit in self.units if unit.number not in self._done for key in unit.ours}
        return not any(
            str(number) not in self.fatal and any(step.key in left for step in plan.steps)
            for number, plan in enumerate(self.plans)
        )

    def _look(self, every: float) -> None:
        """Take in what workers wrote."""
        started = time.monotonic()
        seen = self.job.look()
        self._took = time.monotonic() - started
        for kind in ("done", "failed"):
            for number in sorted(map(int, seen[kind])):
                if number not in self._done:
                    self._take_report(kind, self.units[number])
        for digest in sorted(seen["warnings"] - self._said):
            with suppress(KeyError):  # whoever empties a store empties it of this, too
                text = self.job.warning(digest)
                self._said.add(digest)
                warnings.warn(text, stacklevel=2)
        for plan in sorted(seen["fatal"] - set(self.fatal)):
            self.fatal[plan] = self.job.ended(plan)
        if time.monotonic() - self._looked >= every:
            self._looked = time.monotonic()
            self._shown.show(seen)

    def _take_report(self, kind: str, unit: Unit) -> None:
        try:
            report = self.job.reported(kind, unit)
            partial = {
                key: kept_partial(self.store, self.job, self.steps[key]) for key in report.partial
            }
        except KeyError:  # somebody empties the store: it is done again
            return
        self._done.add(unit.number)
        self._idle = 0
        performance = self.performance
        performance.seconds.update(report.seconds)
        performance.cached.update(report.had)
        performance.failures.update(report.failures)
        for name, device in report.devices.items():
            performance.devices.setdefault(name, device)
        performance.values.update(partial)

    # -- workers that die -------------------------------------------------------------------------
    def _replace_dead(self, order: WorkerOrder) -> None:
        """Put others in the place of workers that died."""
        states = {number: worker.state() for number, worker in self._workers.items()}
        gone = [number for number in states if states[number] in ("ended", "died")]
        if gone:
            self._look(float("inf"))  # what it wrote before it ended
        for number in () if self._is_over() else gone:
            worker, state = self._workers[number], states[number]
            held_something = self._note_death(worker) if state == "died" else False
            self.job.begin(0, self.claims.owner)  # where the store cannot be written, it says so
            if not held_something:
                self._idle += 1
                if self._idle >= _IDLE_DEATHS * len(self._workers) or (
                    self._idle >= _IDLE_DEATHS and not self._done and not self._are_at_work()
                ):
                    raise _no_workers(worker, state)
            self._start_another(order, number)

    def _are_at_work(self) -> bool:
        """Whether workers have begun that are not known to have died."""
        begun = {name.partition("/")[0] for name in self.job.look()["workers"]}
        return any(
            str(number) in begun and worker.state() == "running"
            for number, worker in self._workers.items()
        )

    def _start_another(self, order: WorkerOrder, number: int) -> None:
        """Start another worker in the place of one that is gone; where that cannot be done, as
        where a cluster takes no more jobs, the others go on without it."""
        try:
            (self._workers[number],) = self.crew.executor.start(orders_for(order, [number]))
        except MfvError as error:
            del self._workers[number]
            if not self._workers:
                raise
            warnings.warn(
                f"no other worker takes the place of worker {number}: {error.message}; "
                f"{len(self._workers)} go on",
                stacklevel=2,
            )

    def _note_death(self, worker: Worker) -> bool:
        """Note what a worker held when it died, and release it; whether that was anything."""
        told = f"worker {worker.number}: {worker.reason() or 'died'}; its log is {worker.log()}"
        self._dead.append(told)
        by_digest = {unit.digest: unit for unit in self.units}
        noted = self.job.look()["deaths"]
        held = False
        for owner in self.job.owners(worker.number):
            for name in noted:  # what it raised, of which it does not know where its log is
                unit_number, _, nonce = name.partition("/")
                if nonce == owner.nonce:
                    self.job.note_death(self.units[int(unit_number)], owner, told)
                    held = True
            for file in self.job.storage.names("claims"):
                name = file.removeprefix("claims/")
                unit = by_digest.get(name.partition("/")[2].partition(".")[0])
                if unit is not None and self.claims.holder(name) == owner:
                    self.job.note_death(unit, owner, told)
                    held = True
            self.claims.release_all_of(owner)
            self.job.forget(worker.number, owner)
        return held

    def _stop(self) -> None:
        """End the workers and remove what was written for them; logs stay where some died."""
        ended = time.monotonic() + _TO_END
        if self._is_over() and ALL not in self.fatal:
            while time.monotonic() < ended and any(
                worker.state() in ("waiting", "running") for worker in self._workers.values()
            ):
                time.sleep(0.05)
        self.crew.executor.stop()
        with suppress(OSError):
            begun = {int(name.partition("/")[0]) for name in self.job.look()["workers"]}
            for number in sorted(begun - {0}):
                for owner in self.job.owners(number):
                    self.claims.release_all_of(owner)
        with suppress(OSError):
            self.claims.close()
            self.job.remove()
        if self._is_well and self.crew.logs is not None:
            shutil.rmtree(self.crew.logs, ignore_errors=True)
            with suppress(OSError):
                self.crew.logs.parent.rmdir()

    @property
    def _is_well(self) -> bool:
        return len(self._done) == len(self.units) and not self._dead

    # -- results ----------------------------------------------------------------------------------
    def result_of(self, number: int) -> Performance | MfvError:
        """What came of the plan of a number."""
        error = self.fatal.get(ALL, self.fatal.get(str(number)))
        if error is not None:
            return error
        plan, whole = self.plans[number], self.performance
        keys = {step.key for step in plan.steps}
        values = _of(whole.values, keys)
        for step in plan.steps:
            if step.key not in values and step.key not in whole.failures:
                try:
                    values[step.key] = self._read(step)
                except KeyError:
                    raise MfvError(
                        "MFV5676",
                        f"{step.label}: what was kept of it is gone",
                        help="run it again: it is made anew; leave the store alone while something "
                        "runs on it",
                    ) from None
        return replace(
            whole,
            values=values,
            seconds={step.key: whole.seconds.get(step.key, 0.0) for step in plan.steps
                     if step.key in values},
            cached=whole.cached & keys, failures=_of(whole.failures, keys),
            devices={name: device for name, device in whole.devices.items() if name in plan.models},
        )  # fmt: skip


def _of(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in keys}


def _no_workers(worker: Worker, state: str) -> MfvError:
    reason = worker.reason()
    return MfvError(
        "MFV5674", f"workers {'die' if state == 'died' else 'end'} before they do anything"
        + (f": {reason}" if reason else ""),
        help=f"see the log of one: {worker.log()}",
    )  # fmt: skip
