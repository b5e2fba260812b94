"""Evaluations of which some conditions failed: the store keeps none, so that the next run measures
them again, and a worker hands them to the run that it belongs to as a part of their step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.conditions import Failure
from mfv_dsl.execute.store import StoredParts
from mfv_dsl.plan.steps import Step


def is_partial(value: Any) -> bool:
    """Whether some conditions of a step's value failed."""
    return bool(getattr(value, "failures", ()))


def keep_partial(parts: StoredParts, job: str, step: Step, value: Any) -> None:
    """Keep a value of which some conditions failed for the run ``job``."""
    failures = tuple(
        (one.at, one.is_trial, one.error.code, one.error.message, one.error.help,
         tuple(one.error.notes))
        for one in value.failures
    )  # fmt: skip
    parts.put(step, _name(job), (replace(value, failures=()), failures))


def kept_partial(parts: StoredParts, job: str, step: Step) -> Any:
    """The value that :func:`keep_partial` kept.  Raises KeyError where there is none."""
    value, failures = parts.get(step, _name(job))
    return replace(
        value,
        failures=tuple(
            Failure(at, MfvError(code, message, help, notes), is_trial)
            for at, is_trial, code, message, help, notes in failures
        ),
    )


def _name(job: str) -> str:
    return f"partial in {job}"
