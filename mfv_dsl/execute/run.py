"""Runs a plan, step by step, and writes its folder.

:func:`perform` gives every step's value, from the store or by the function of its operation;
:func:`run_plan` makes rows of the values and files of both.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from mfv_dsl.base.disk import disk_trouble, folder_for
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.memory import is_out_of_memory
from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.engine.trace import tracing
from mfv_dsl.execute.blend_weights import blend_weights
from mfv_dsl.execute.finished import remember
from mfv_dsl.execute.folder import Performance, write_library, write_run
from mfv_dsl.execute.notes import comparison_notes, failure_notes, linearised, notes
from mfv_dsl.execute.operations import PERFORM, TOGETHER
from mfv_dsl.execute.operations.evaluation import check_answers, named
from mfv_dsl.execute.results import choices, reported, result_rows
from mfv_dsl.execute.rows import Results
from mfv_dsl.execute.run_folder import Origin, RunFolder
from mfv_dsl.execute.run_result import RunResult
from mfv_dsl.execute.session import Session
from mfv_dsl.execute.settings import AS_DECLARED, Listener, RunSettings, Silence
from mfv_dsl.execute.store import Store, StoredParts, default_store
from mfv_dsl.execute.stored_content import Damaged
from mfv_dsl.execute.threads import threads_of
from mfv_dsl.execute.tuning_rows import tuning_rows
from mfv_dsl.library.overwriting import CODE as OVERWRITING
from mfv_dsl.library.overwriting import overwritten
from mfv_dsl.plan.groups import in_groups
from mfv_dsl.plan.steps import Plan, Step, written_in
from mfv_dsl.plan.treatments import treatments

#: What performs the steps of a plan, and notes the errors of those that fail.
By: TypeAlias = "Callable[[Plan, Listener | None, RunSettings], Performance]"

TRACED = 2  # prompts of every pass that are traced
_log = logging.getLogger(__name__)


def perform(
    plan: Plan,
    listener: Listener | None = None,
    settings: RunSettings = AS_DECLARED,
    *,
    go_on: bool = False,
) -> Performance:
    """Every step's value: from the store where it holds the step's key, else computed and kept
    there as soon as it is done.

    Args:
        plan: What is to be computed; its rows and saves are left alone.
        listener: Who is told how far it is.
        settings: How it is run.
        go_on: Of a step that fails, note the error, and leave out what follows from it; otherwise
            it is raised.

    Returns:
        The values by key, with the time that each took and whether the store had it.

    Raises:
        MfvError: MFV5340 where an eval by first token cannot tell objects apart, and MFV6120 to
            MFV6124 where finished steps cannot be kept, before anything is measured; and whatever a
            step raises.
    """
    store = default_store()
    new = [step for step in plan.steps if settings.fresh or step.key not in store]
    writing = store.open_for_writing() if new else nullcontext()
    with disk_trouble(), writing, threads_of(plan):
        return _perform(plan, listener or Silence(), settings, store, new, go_on)


def _perform(
    plan: Plan, listener: Listener, settings: RunSettings, store: Store, new: Sequence[Step],
    go_on: bool,
) -> Performance:  # fmt: skip
    session = Session(plan, listener, settings, StoredParts(store, settings.fresh))
    performance = Performance({}, {}, set(), {}, {}, {})
    check_answers(session, new)
    alone = ((step,) for step in plan.steps)  # what one touches is told from what others do
    for group in alone if settings.trace else in_groups(plan.steps):
        perform_group(session, store, group, performance, go_on=go_on)
    return replace(performance, devices=session.devices)


def perform_group(
    session: Session, store: Store, group: Sequence[Step], performance: Performance, *,
    go_on: bool, ours: Collection[str] | None = None,
) -> None:  # fmt: skip
    """Note the values of steps that are performed together, from the store or computed now and kept
    there, or why they have none; ``performance`` has what they follow from.

    Args:
        session: What they are performed in.
        store: Where finished steps are kept.
        group: Steps as :func:`~mfv_dsl.plan.groups.in_groups` gives them.
        performance: What is known of the plan's steps; theirs is added.
        go_on: Note the error of a step that fails; otherwise it is raised.
        ours: The keys of those that are wanted; the others are company to them, and left alone.
            All if left out.
    """
    settings, started = session.settings, time.perf_counter()
    work: list[tuple[Step, Mapping[str, Any]]] = []
    for step in group:
        if ours is not None and step.key not in ours:
            performance.cached.add(step.key)
            continue
        value = None if settings.fresh else _stored(store, step)
        if value is not None:
            performance.cached.add(step.key)
            _note_value(performance, step, value, time.perf_counter() - started)
    is_whole = performance.cached.issuperset(step.key for step in group)
    for step in () if is_whole else group:  # where one is missing all are made
        try:
            if step.key in store and step.key not in performance.cached and not settings.fresh:
                check_answers(session, [step])  # it was there, and is damaged
            work.append((step, _inputs(step, performance)))
        except Exception as error:
            if step.key not in performance.cached:
                _note_failure(performance, step, error, go_on)
    with tracing(TRACED) if settings.trace else nullcontext([]) as touches:
        results = performed(session, work)
    for (step, _), value in zip(work, results, strict=True):
        if step.key in performance.cached:
            continue
        try:
            if isinstance(value, Exception):
                raise value
            performance.touches[step.key] = [str(touch) for touch in touches]
            if not getattr(value, "failures", ()):
                store.put(step.key, value, step.label, step.operation)
                store.drop_parts(step.key)
        except Exception as error:
            _note_failure(performance, step, error, go_on)
        else:
            seconds = (time.perf_counter() - started) / len(work)
            _note_value(performance, step, value, seconds)


def prepared(group: Sequence[Step], performance: Performance) -> list[tuple[Step, dict[str, Any]]]:
    """The steps of a group that can be performed, with the values of their inputs."""
    work = []
    for step in group:
        with suppress(MfvError):
            work.append((step, _inputs(step, performance)))
    return work


def _note_value(performance: Performance, step: Step, value: Any, seconds: float) -> None:
    performance.values[step.key] = value
    performance.seconds[step.key] = round(seconds, 3)
    how = "from the store" if step.key in performance.cached else "done"
    _log.info("%s: %s, %.3f s", step.label, how, seconds)


def _note_failure(performance: Performance, step: Step, error: Exception, go_on: bool) -> None:
    if not go_on or not _is_of_the_step(error):
        raise error
    performance.failures[step.key] = _of_step(error, step)
    _log.warning("%s: %s", step.label, performance.failures[step.key].message)


def _inputs(step: Step, performance: Performance) -> dict[str, Any]:
    """The values of a step's inputs; an evaluation, of which each condition writes one of them,
    gets the error in place of one that failed, unless all of them need it."""
    failed = [key for key in step.follows_from if key in performance.failures]
    separate = [step.inputs[t.name] for t in treatments(step.parameters) if t.name in step.inputs]
    if step.operation == "off_task":  # it measures the conditions that its evaluation has
        separate = list(step.references.values())
    is_of_conditions = step.operation in ("evaluate", "off_task")
    shared = not is_of_conditions or any(key not in separate for key in failed)
    if failed and (shared or len(set(failed)) == len(set(separate))):
        raise performance.failures[failed[0]]
    return inputs_of(step, {**performance.values, **performance.failures})


def _is_of_the_step(error: Exception) -> bool:
    """Whether other steps may go well all the same: a disk that fails, fails for all."""
    return not isinstance(error, OSError) and "MFV_DEBUG" not in os.environ


def _of_step(error: Exception, step: Step) -> MfvError:
    """Why a step has no value."""
    if isinstance(error, MfvError):
        return error
    if is_out_of_memory(error):
        return MfvError(
            "MFV5377", f"{step.label}: memory ran out", help="take fewer conditions at a time: a "
            "shorter sweep, fewer `shots` or smaller pictures; or a model in fewer bits",
        )  # fmt: skip
    return MfvError(
        "MFV5900", f"{step.label}: {type(error).__name__}: {error}",
        help="this should not happen: please report it, with what MFV_DEBUG=1 shows",
    )  # fmt: skip


def performed(session: Session, work: Sequence[tuple[Step, Mapping[str, Any]]]) -> list[Any]:
    """For each step its value, or the exception that it ends with.  Several are performed together;
    where that fails as a whole, one after the other, so that it costs those alone that fail."""
    if len(work) > 1:
        steps, inputs = zip(*work, strict=True)
        try:
            results = TOGETHER[steps[0].operation](session, steps, inputs)
        except Exception as error:
            if not _is_of_the_step(error):
                raise
            if not isinstance(error, MfvError) and not is_out_of_memory(error):
                warnings.warn(f"{steps[0].label} and others one by one: {error!r}", stacklevel=2)
        else:
            return [_named(value, step) for value, step in zip(results, steps, strict=True)]
    return [_performed_alone(session, *item) for item in work]


def _performed_alone(session: Session, step: Step, inputs: Mapping[str, Any]) -> Any:
    try:
        return PERFORM[step.operation](session, step, inputs)
    except Exception as error:
        return _named(error, step)


def _named(value: Any, step: Step) -> Any:
    """``value``; numbers that are none with the name of the step that they came out of."""
    if not isinstance(value, NotFinite):
        return value
    error = named(value, step.label)
    error.__cause__ = value
    return error


def failures_within(values: Mapping[str, Any]) -> list[MfvError]:
    """Why conditions of evaluations have no numbers."""
    return [
        failure.error for value in values.values() for failure in getattr(value, "failures", ())
    ]


def inputs_of(step: Step, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a step's inputs by name, a list where an input is several."""
    return {
        name: values[key] if isinstance(key, str) else [values[part] for part in key]
        for name, key in {**step.inputs, **step.references}.items()
    }


def _stored(store: Store, step: Step) -> Any:
    """The value of a finished step, None where there is none to be trusted."""
    try:
        return store.get(step.key, step.operation)
    except KeyError:
        return None
    except Damaged as error:
        warnings.warn(f"{error}; the step is run again", stacklevel=3)
        return None


def run_plan(
    plan: Plan,
    text: str,
    folder: Path,
    listener: Listener | None = None,
    settings: RunSettings = AS_DECLARED,
    *,
    name: str,
    origin: Origin,
    by: By | None = None,
) -> RunResult:
    """Run a plan and write its folder and the vectors that it saves.

    A condition that fails is a row that says so; it is an error where nothing else came out.

    Args:
        plan: What is run.
        text: The recipe that it was made from.
        folder: Where plan, manifest, results, effects of heads and vectors go.
        listener: Who is told how far it is.
        settings: How it is run; with ``trace`` the folder has a ``trace.txt`` too.
        name: What the recipe is called in the libraries that it saves into.
        origin: Where ``text`` comes from; only a run of the same recipe is replaced.
        by: What performs its steps, in place of :func:`perform`, which does so in this process.

    Returns:
        The results, the files that were saved, and every step's value by key.

    Raises:
        MfvError: MFV6070 to MFV6072 for a folder that holds something else than an earlier run of
            this recipe, MFV5730 for one that another run is writing into, MFV6102 for one that
            cannot be made, MFV6121 and MFV6122 for one that a `save` cannot write, MFV6017 for a
            vector in the place of one that others in its library were made from; and what
            :func:`perform` raises.
        RecipeError: The plan's errors.
    """
    if plan.errors:
        raise RecipeError(plan.errors)
    with ExitStack() as stack:  # before any work, not after it
        stack.enter_context(disk_trouble())
        stack.enter_context(threads_of(plan))
        RunFolder(folder).check(origin, text)
        stack.enter_context(folder_for(folder, what="cannot make the folder", code="MFV6102"))
        stack.enter_context(RunFolder(folder).held())
        for item in plan.saves:
            stack.enter_context(folder_for(Path(item.folder)))
        for found in overwritten(written_in(plan.saves, OVERWRITING)):
            raise found.error()
        return _run_plan(plan, text, folder, listener, settings, name=name, origin=origin, by=by)


def _run_plan(
    plan: Plan, text: str, folder: Path, listener: Listener | None, settings: RunSettings, *,
    name: str, origin: Origin, by: By | None,
) -> RunResult:  # fmt: skip
    started = time.perf_counter()
    if by is None:
        performance = perform(plan, listener, settings, go_on=True)
    else:
        performance = by(plan, listener, settings)
    values = performance.values
    rows = result_rows(plan, values, performance.failures)
    done = plan.without(performance.failures)
    errors = [*performance.failures.values(), *failures_within(values)]
    else_done = done.saves or done.tunes or done.numbers
    if errors and not (else_done or any(not row.error for row in rows)):
        raise errors[0]
    said = [*failure_notes(plan, rows, performance.failures), *notes(done, values),
            *comparison_notes(rows)]  # fmt: skip
    results = Results(
        rows, choices(done, values), blend_weights(done, values),
        tuning_rows(done, values), said, linearised(done, values),
        reported(plan, values, performance.failures), dict(plan.docs),
    )  # fmt: skip
    write_run(folder, text, plan, performance, results, origin, settings.trace)
    saved: list[Path] = []
    unsaved: list[MfvError] = []
    for item in done.saves:
        try:
            with disk_trouble(item.folder):
                saved += write_library(
                    item, plan, values, results, recipe=name, text=origin.alone or text
                )
        except MfvError as error:
            unsaved.append(error)
    if unsaved and not (saved or rows or done.tunes or done.numbers):
        raise unsaved[0]
    result = RunResult(
        plan, results, folder, saved, time.perf_counter() - started, values,
        len(performance.cached), performance.failures, unsaved,
    )  # fmt: skip
    if not result.failed:
        remember(result, text, name, origin)
    return result
