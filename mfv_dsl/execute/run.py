"""Runs a plan, step by step, and writes its folder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mfv_dsl.execute.folder import Performance, write_library, write_run
from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.execute.results import ResultRow, choices, result_rows
from mfv_dsl.execute.session import Listener, Session
from mfv_dsl.execute.store import Damaged, Store
from mfv_dsl.plan.steps import Plan


class Silence:
    """A listener that tells nobody."""

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        return lambda units: None


@dataclass(frozen=True)
class RunResult:
    """What a run gave: result rows, the choices behind them, its folder, the files that ``save``
    wrote, every step's value by key, and how many steps were found in the store."""

    rows: list[ResultRow]
    choices: list[dict[str, Any]]
    folder: Path
    saved: list[Path]
    seconds: float
    values: dict[str, Any]
    cached: int = 0  # steps that were found in the store

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html import results_html

        return results_html(self.rows)

    def to_json(self) -> dict[str, Any]:
        """Rows, choices and places as plain data."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "choices": self.choices,
            "folder": str(self.folder),
            "saved": [str(path) for path in self.saved],
            "seconds": round(self.seconds, 2),
        }


def perform(
    plan: Plan,
    listener: Listener,
    device: str | None = None,
    store: Store | None = None,
    fresh: bool = False,
) -> Performance:
    """Every step's value.  A step whose key is in ``store`` is taken from there unless ``fresh``;
    every step that is run is kept there as soon as it is done."""
    session = Session(plan, listener, device)
    done = Performance({}, {}, set())
    for step in plan.steps:
        started = time.perf_counter()
        try:
            if store is None or fresh:
                raise KeyError(step.key)
            done.values[step.key] = store.get(step.key)
            done.cached.add(step.key)
        except (KeyError, Damaged) as error:
            if isinstance(error, Damaged):
                warnings.warn(f"{error}; the step is run again", stacklevel=2)
            inputs = tuple(done.values[key] for key in step.inputs)
            value = PERFORM[step.operation](session, step, inputs)
            done.values[step.key] = value
            if store is not None:
                store.put(step.key, value, step.label, step.operation)
        done.seconds[step.key] = round(time.perf_counter() - started, 3)
    return done


def run_plan(
    plan: Plan,
    text: str,
    folder: Path,
    listener: Listener | None = None,
    device: str | None = None,
    store: Store | None = None,
    fresh: bool = False,
) -> RunResult:
    """Run ``plan``, made from the recipe ``text``; leave everything under ``folder``."""
    started = time.perf_counter()
    done = perform(plan, listener or Silence(), device, store, fresh)
    write_run(folder, text, plan, done, device or "cpu")
    saved = [path for item in plan.saves for path in write_library(item, plan, done.values)]
    return RunResult(
        result_rows(plan, done.values), choices(plan, done.values), folder, saved,
        time.perf_counter() - started, done.values, len(done.cached),
    )  # fmt: skip
