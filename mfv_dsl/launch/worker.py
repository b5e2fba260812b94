"""What a worker does, wherever it was started: one unit after another that nobody else has, until
all are done."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.claims import Claim, Claims, Owner
from mfv_dsl.execute.folder import Performance
from mfv_dsl.execute.operations.evaluation import check_answers
from mfv_dsl.execute.run import perform_group, performed, prepared
from mfv_dsl.execute.session import Session
from mfv_dsl.execute.storage import storage_at
from mfv_dsl.execute.store import StoredParts, store_at
from mfv_dsl.execute.stored_content import Damaged
from mfv_dsl.execute.threads import threads_for
from mfv_dsl.launch.job import ALL, Job, Report, Seen
from mfv_dsl.launch.orders import Work, WorkerOrder, opened
from mfv_dsl.launch.partial_values import is_partial, keep_partial, kept_partial
from mfv_dsl.launch.parts import Helped, SharedParts
from mfv_dsl.launch.telling import Telling, warnings_told
from mfv_dsl.launch.units import Unit, units_of
from mfv_dsl.models.loaded import clear_models

#: So many workers may die at one unit before it is given up.
DEATHS = 3
#: Seconds between two looks at what others do: the first, and the longest of few workers and for
#: each worker where there are many, so that all of them together do not ask too often.
_SHORTEST, _LONGEST, _EACH = 0.05, 0.5, 0.01
#: Units of others of which one look finds out whether their holders are alive.
_LOOKED_AT = 8


def work(order: WorkerOrder) -> None:
    """Take one unit after another that nobody else has, help with long ones, and return when all
    are done.  It may be ended at any moment, and nothing is lost but the part that it was making.

    Raises MfvError: MFV5671 and MFV5672 for an order that cannot be read here or is of another
    version; what cannot be done otherwise is reported to whoever watches the run.
    """
    job = Job(storage_at(order.home), order.job)
    try:
        what = opened(order)
    except MfvError as error:
        job.end(ALL, error)
        raise
    with suppress(OSError):  # elsewhere, with paths from the root alone, it is no matter
        os.chdir(order.folder)
    os.environ["MFV_HOME"] = order.home
    owner = Owner()
    claims = Claims(job.storage, owner, beat_every=order.beat_every, stale_after=order.stale_after)
    with claims, warnings_told(job):
        try:
            with disk_trouble():
                job.begin(order.number, owner)
                _Worker(order, what, job, claims).run()
        except MfvError as error:
            job.end(ALL, error)


class _Worker:
    """A worker at work."""

    def __init__(self, order: WorkerOrder, what: Work, job: Job, claims: Claims) -> None:
        self.order, self.what, self.job, self.claims = order, what, job, claims
        self.units = units_of(what.plans, what.had)
        self.store = store_at(order.home)
        fresh = what.settings.fresh
        stored = StoredParts(self.store, False)
        self.parts = SharedParts(stored, claims, order.job if fresh else "")
        self.listener = Telling(job, order.number, order.workers)
        self.values: dict[str, Any] = {}
        self.failures: dict[str, MfvError] = {}
        self.partial: set[str] = set()
        self.done: set[int] = set()
        self.finished: set[str] = set(what.had)
        self.seen = Seen({})
        self._sessions: dict[int, Session] = {}
        self._checked: set[tuple[int, str | None]] = set()
        self._models: set[str] = set()
        self._prompts: set[tuple[object, ...]] = set()
        self._looked = float("-inf")  # when it last looked at what others hold
        self._threads = torch.get_num_threads()
        self._useless: dict[int, float] = {}  # units that had nothing to help with, and until when
        self._steps = {step.key: step for plan in what.plans for step in plan.steps}

    def run(self) -> None:
        """Until all units are done, or the run is over."""
        wait = _SHORTEST
        while not self._is_over():
            if self._do_one() or self._help():
                wait = _SHORTEST
                continue
            time.sleep(wait)
            wait = min(1.5 * wait, max(_LONGEST, _EACH * self.order.workers))

    def _is_over(self) -> bool:
        """Look at what others did; whether nothing is left to do, or nobody waits for it."""
        was_watched, self.seen = self._is_watched(), self.job.look()
        if was_watched and not self._is_watched():
            return True
        for kind in ("done", "failed"):
            for name in self.seen[kind]:
                self._note(self.units[int(name)], kind)
        return ALL in self.seen["fatal"] or not any(map(self._is_wanted, self.units))

    def _is_watched(self) -> bool:
        """Whether whoever started the run is there, or died; it removes its files when it ends."""
        return any(name.startswith("0/") for name in self.seen["workers"])

    def _note(self, unit: Unit, kind: str) -> None:
        """Note that something came of a unit."""
        if unit.number in self.done:
            return
        if kind == "failed":
            try:
                report = self.job.reported(kind, unit)
            except KeyError:  # whoever watched the run has removed it meanwhile
                return
            self.failures.update(report.failures)
            self.partial.update(report.partial)
        self.done.add(unit.number)
        self.finished |= unit.ours

    def _is_wanted(self, unit: Unit) -> bool:
        """Whether a unit is still to be done: not if all plans that have it cannot be run."""
        if unit.number in self.done:
            return False
        fatal = self.seen["fatal"]
        return not fatal or any(
            str(number) not in fatal and any(step.key in unit.ours for step in plan.steps)
            for number, plan in enumerate(self.what.plans)
        )

    # -- a unit -----------------------------------------------------------------------------------
    def _do_one(self) -> bool:
        """Do a unit that nobody has; whether there was one."""
        ready = [
            unit for unit in self.units
            if self._is_wanted(unit) and self.finished.issuperset(unit.waits_for)
        ]  # fmt: skip
        if not ready:
            return False
        claimed = set(self.job.storage.names("claims"))
        free = [unit for unit in ready if f"claims/{self._claim_of(unit)}" not in claimed]
        held = [unit for unit in ready if f"claims/{self._claim_of(unit)}" in claimed]
        for unit in self._in_order(free, held):
            claim = self.claims.claim(self._claim_of(unit))
            if claim is not None:
                self._do_claimed(unit, claim)
                return True
        for unit in self._to_look_at(held):
            claim = self.claims.claim(self._claim_of(unit))
            if claim is not None:
                if (dead := claim.taken_from) is not None:
                    self.job.note_death(unit, dead, f"{dead} gave no sign of life any more")
                    self.seen = self.job.look()
                self._do_claimed(unit, claim)
                return True
        return False

    def _to_look_at(self, held: Sequence[Unit]) -> Sequence[Unit]:
        """Some of the units that others hold, now and then: to see whether their holders live, so
        that it takes three looks to know that one does not.  Each worker looks at others."""
        now = time.monotonic()
        if not held or now - self._looked < self.claims.stale_after / 3:
            return ()
        self._looked = now
        turn = self.order.number % len(held)
        return [*held[turn:], *held[:turn]][:_LOOKED_AT]

    def _in_order(self, free: list[Unit], held: Sequence[Unit]) -> list[Unit]:
        """Units that nobody has, those first for which this worker has most at hand: the model, the
        plan, prompts that it has run.  Of other plans those at which fewest are at work."""
        others = Counter(unit.plan for unit in held)
        is_first = not self._sessions  # all begin at the same time, and should want different ones
        turn = self.order.number - 1 if is_first else 0
        plans = sorted({unit.plan for unit in free}, key=lambda plan: others[plan])
        place = {plan: (n - turn) % len(plans) for n, plan in enumerate(plans)}

        def rank(unit: Unit) -> tuple[bool, int, bool, int]:
            is_here = unit.plan in self._sessions
            return (
                not unit.models <= self._models,
                -1 if is_here else place[unit.plan],
                not unit.prompts & self._prompts,
                unit.number,
            )

        ranked = sorted(free, key=rank)
        if is_first and len(plans) == 1 and ranked:
            turn %= len(ranked)
            ranked = ranked[turn:] + ranked[:turn]
        return ranked

    def _claim_of(self, unit: Unit) -> str:
        """What a unit is claimed by, in this run alone where nothing of others may be taken."""
        return f"{unit.name}.{self.order.job}" if self.what.settings.fresh else unit.name

    def _do_claimed(self, unit: Unit, claim: Claim) -> None:
        """Do a unit; what it ends this worker with counts as a death at it."""
        with claim:
            try:
                self._do(unit)
            except Exception as error:
                if not isinstance(error, MfvError | OSError):  # which end the run
                    told = f"worker {self.order.number}: {type(error).__name__}: {error}"
                    self.job.note_death(unit, self.claims.owner, told)
                raise

    def _do(self, unit: Unit) -> None:
        """Do a unit that is claimed, unless another did."""
        if self.job.is_done(unit):
            return
        if len(self.seen.deaths(unit)) >= DEATHS:
            error = _given_up(unit, self.job.told_of_deaths(unit, self.seen))
            self._report(unit, Report(failures=dict.fromkeys(unit.ours, error)))
            return
        session = self._session(unit)
        if session is None:
            return
        self.parts.at(unit)
        performance = self._known(unit)
        perform_group(session, self.store, unit.steps, performance, go_on=True, ours=unit.ours)
        partial = []
        for step in unit.steps:
            value = performance.values.get(step.key)
            if step.key in unit.ours and is_partial(value):
                keep_partial(self.store, self.job, step, value)
                partial.append(step.key)
            if step.key in unit.ours and value is not None:
                self.values[step.key] = value
        self._report(
            unit,
            Report(
                {key: performance.seconds[key] for key in unit.ours & performance.seconds.keys()},
                sorted(unit.ours & performance.cached),
                sorted(partial),
                {key: performance.failures[key] for key in unit.ours & performance.failures.keys()},
                session.devices,
            ),
        )

    def _report(self, unit: Unit, report: Report) -> None:
        self.job.report(unit, report)
        self.done.add(unit.number)
        self.failures.update(report.failures)
        self.partial.update(report.partial)
        self.finished |= unit.ours
        self.listener.clear()
        self.listener.tell()
        wanted = {key for other in self.units if other.number not in self.done
                  for key in other.waits_for}  # fmt: skip
        self.values = {key: value for key, value in self.values.items() if key in wanted}

    def _known(self, unit: Unit) -> Performance:
        """What is known of the steps that a unit follows from."""
        failures = {key: self.failures[key] for key in unit.waits_for if key in self.failures}
        values = {key: self._value(key) for key in unit.waits_for if key not in failures}
        return Performance(values, {}, set(), {}, {}, failures)

    def _value(self, key: str) -> Any:
        if key not in self.values:
            step = self._steps[key]
            try:
                if key in self.partial:
                    self.values[key] = kept_partial(self.store, self.job, step)
                else:
                    self.values[key] = self.store.get(key, step.operation)
            except KeyError:
                raise _gone(step, "it is not there any more") from None
            except Damaged as error:
                raise _gone(step, str(error)) from None
        return self.values[key]

    def _session(self, unit: Unit) -> Session | None:
        """What a unit is performed in, its models and answers checked; None where its plan cannot
        be run, which is told."""
        session = self._sessions.get(unit.plan)
        if session is None:
            plan = self.what.plans[unit.plan]
            session = Session(plan, self.listener, self.what.settings, self.parts)
            threads = self.order.threads or threads_for(plan) or self._threads
            torch.set_num_threads(threads)
            self._prompts.clear()
            self._sessions = {unit.plan: session}  # one at a time: each keeps prefixes of prompts
        if not unit.models <= self._models and _is_full():
            clear_models()
            self._models.clear()
        for model in sorted(unit.model_names):
            if (unit.plan, model) not in self._checked:
                self._checked.add((unit.plan, model))
                try:
                    check_answers(session, self._new_steps(unit.plan, model))
                except MfvError as error:
                    self.job.end(unit.plan, error)
                    self.seen = self.job.look()
                    if not self._is_wanted(unit):
                        return None
        self._models |= unit.models
        self._prompts |= unit.prompts
        return session

    def _new_steps(self, plan: int, model: str) -> Sequence[Any]:
        new = {key for unit in self.units for key in unit.ours}
        return [
            step for step in self.what.plans[plan].steps if step.model == model and step.key in new
        ]

    # -- help -------------------------------------------------------------------------------------
    def _help(self) -> bool:
        """Make parts of a unit that another holds; whether any was made."""
        now = time.monotonic()
        for unit in self.units:
            if not (unit.is_divided and self._is_wanted(unit)):
                continue
            is_ready = self.finished.issuperset(unit.waits_for)
            if not is_ready or self._useless.get(unit.number, 0.0) > now:
                continue
            if self._help_with(unit):
                return True
            self._useless[unit.number] = time.monotonic() + 3.0
            return False  # look again first
        return False

    def _help_with(self, unit: Unit) -> bool:
        session = self._session(unit)
        if session is None:
            return False
        self.parts.at(unit, lambda: self._has_come_of(unit))
        try:
            work = prepared(unit.steps, self._known(unit))
            performed(session, work)
        except (Helped, MfvError):  # what went wrong is the holder's to tell
            pass
        finally:
            self.listener.clear()
        return self.parts.helped > 0

    def _has_come_of(self, unit: Unit) -> bool:
        """Whether a unit is done, in this run or in another."""
        if not self.what.settings.fresh and all(key in self.store for key in unit.ours):
            return True
        return self.job.is_done(unit)


def _is_full() -> bool:
    """Whether the models that are loaded leave no room for as much again on a GPU."""
    if not torch.cuda.is_available():
        return False
    return torch.cuda.memory_allocated() > torch.cuda.mem_get_info()[0]


def _given_up(unit: Unit, told: Sequence[str]) -> MfvError:
    return MfvError(
        "MFV5673", f"{unit.label}: {DEATHS} workers died at it", notes=told,
        help="see their logs; where memory ran out, take fewer workers, shorter sweeps or fewer "
        "`shots`; run it again without workers to see it fail",
    )  # fmt: skip


def _gone(step: Any, why: str) -> MfvError:
    return MfvError(
        "MFV5676", f"{step.label}: what was kept of it is gone: {why}",
        help="run it again: it is made anew; leave the store alone while something runs on it",
    )  # fmt: skip
