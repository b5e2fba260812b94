"""Runs a plan, step by step, and writes its folder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.trace import tracing
from mfv_dsl.execute.blend_weights import blend_weights
from mfv_dsl.execute.folder import Performance, Results, write_library, write_run, write_trace
from mfv_dsl.execute.notes import notes
from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.execute.operations.evaluation import check_answers
from mfv_dsl.execute.results import choices, result_rows
from mfv_dsl.execute.run_result import RunResult
from mfv_dsl.execute.session import Listener, Session
from mfv_dsl.execute.store import Damaged, Store, StoredParts
from mfv_dsl.execute.tuning_rows import tuning_rows
from mfv_dsl.plan.steps import Plan, Step

TRACED = 2  # prompts of every pass that are traced


class Silence:
    """A listener that tells nobody."""

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        return lambda units: None


def perform(
    plan: Plan,
    listener: Listener,
    device: str | None = None,
    store: Store | None = None,
    fresh: bool = False,
    trace: bool = False,
    download: bool = False,
) -> Performance:
    """Every step's value.  A step whose key is in ``store`` is taken from there unless ``fresh``;
    every step that is run is kept there as soon as it is done.  ``trace`` notes what the steps that
    are run read and write where, for the first prompts of every pass.  ``download`` lets a model's
    missing files be fetched."""
    parts = None if store is None else StoredParts(store, fresh)
    session = Session(plan, listener, device, parts, download)
    performance = Performance({}, {}, set(), {}, {})
    new = [step for step in plan.steps if fresh or store is None or step.key not in store]
    check_answers(session, new)
    for step in plan.steps:
        started = time.perf_counter()
        if store is not None and not fresh and (value := _stored(store, step.key)) is not None:
            performance.values[step.key] = value
            performance.cached.add(step.key)
        else:
            inputs = inputs_of(step, performance.values)
            with tracing(TRACED) if trace else nullcontext([]) as touches:
                value = PERFORM[step.operation](session, step, inputs)
            performance.touches[step.key] = [str(touch) for touch in touches]
            performance.values[step.key] = value
            if store is not None:
                store.put(step.key, value, step.label, step.operation)
                store.drop_parts(step.key)
        performance.seconds[step.key] = round(time.perf_counter() - started, 3)
    return replace(performance, devices=session.devices)


def inputs_of(step: Step, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a step's inputs by name, a list where an input is several."""
    return {
        name: values[key] if isinstance(key, str) else [values[part] for part in key]
        for name, key in step.inputs.items()
    }


def _stored(store: Store, key: str) -> Any:
    """The value of a finished step, None where there is none to be trusted."""
    try:
        return store.get(key)
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
    device: str | None = None,
    store: Store | None = None,
    fresh: bool = False,
    trace: bool = False,
    download: bool = False,
    name: str = "recipe",
) -> RunResult:
    """Run ``plan``, made from the recipe ``text``; leave everything under ``folder``.  Libraries
    that it saves into keep the recipe under ``name``."""
    started = time.perf_counter()
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before any work, not after it
    except OSError as error:
        raise MfvError(
            "MFV6102", f"cannot make the folder {folder}: {error.strerror}",
            help="name another by --out",
        ) from None  # fmt: skip
    performance = perform(plan, listener or Silence(), device, store, fresh, trace, download)
    values = performance.values
    results = Results(
        result_rows(plan, values), choices(plan, values), blend_weights(plan, values),
        tuning_rows(plan, values), notes(plan, values),
    )  # fmt: skip
    write_run(folder, text, plan, performance, results)
    if trace:
        write_trace(folder, plan, performance)
    saved = [
        path
        for item in plan.saves
        for path in write_library(item, plan, values, results, name, text)
    ]
    return RunResult(
        plan, results, folder, saved, time.perf_counter() - started, values, len(performance.cached)
    )
