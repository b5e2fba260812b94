"""Evaluations of which some conditions failed: the store keeps none, so that the next run measures
them again, and a worker hands them to the run that it belongs to among the run's own files, which
no other run removes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.conditions import Failure
from mfv_dsl.execute.store import Store
from mfv_dsl.execute.stored_content import Damaged
from mfv_dsl.launch.job import Job
from mfv_dsl.plan.steps import Step


def is_partial(value: Any) -> bool:
    """Whether some conditions of a step's value failed."""
    return bool(getattr(value, "failures", ()))


def keep_partial(store: Store, job: Job, step: Step, value: Any) -> None:
    """Keep a value of which some conditions failed for the run ``job``."""
    failures = tuple(
        (one.at, one.is_trial, one.error.code, one.error.message, one.error.help,
         tuple(one.error.notes))
        for one in value.failures
    )  # fmt: skip
    store.put_at(
        job.partial(step.key), step.key, (replace(value, failures=()), failures),
        f"{step.label}, in part", step.operation,
    )  # fmt: skip


def kept_partial(store: Store, job: Job, step: Step) -> Any:
    """The value that :func:`keep_partial` kept.  Raises KeyError where there is none, or none to be
    trusted."""
    try:
        value, failures = store.get_at(job.partial(step.key), step.key)
    except Damaged:
        raise KeyError(step.key) from None
    return replace(
        value,
        failures=tuple(
            Failure(at, MfvError(code, message, help, notes), is_trial)
            for at, is_trial, code, message, help, notes in failures
        ),
    )
