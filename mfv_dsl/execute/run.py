"""Runs a plan, step by step, and writes its folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mfv_dsl.execute.folder import write_library, write_run
from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.execute.results import ResultRow, choices, result_rows
from mfv_dsl.execute.session import Listener, Session
from mfv_dsl.plan.steps import Plan


class Silence:
    """A listener that tells nobody."""

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        return lambda units: None


@dataclass(frozen=True)
class RunResult:
    """What a run gave: result rows, the choices behind them, its folder, the files that ``save``
    wrote, and every step's value by key."""

    rows: list[ResultRow]
    choices: list[dict[str, Any]]
    folder: Path
    saved: list[Path]
    seconds: float
    values: dict[str, Any]

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
    plan: Plan, listener: Listener, device: str | None = None
) -> tuple[dict[str, Any], dict[str, float]]:
    """Every step's value and seconds, by key."""
    session = Session(plan, listener, device)
    values: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for step in plan.steps:
        started = time.perf_counter()
        inputs = tuple(values[key] for key in step.inputs)
        values[step.key] = PERFORM[step.operation](session, step, inputs)
        seconds[step.key] = round(time.perf_counter() - started, 3)
    return values, seconds


def run_plan(
    plan: Plan,
    text: str,
    folder: Path,
    listener: Listener | None = None,
    device: str | None = None,
) -> RunResult:
    """Run ``plan``, made from the recipe ``text``; leave everything under ``folder``."""
    started = time.perf_counter()
    values, seconds = perform(plan, listener or Silence(), device)
    write_run(folder, text, plan, values, seconds, device or "cpu")
    saved = [path for item in plan.saves for path in write_library(item, plan, values)]
    return RunResult(
        result_rows(plan, values), choices(plan, values), folder, saved,
        time.perf_counter() - started, values,
    )  # fmt: skip
