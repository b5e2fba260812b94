"""What the Python interface gives: plans that bind to models, results that show themselves in a
notebook, and vectors that are saved and bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.arguments import known_options, truth, whole
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import short
from mfv_dsl.execute.run_files import PLAN, json_of
from mfv_dsl.execute.run_result import RunResult, StoredValues
from mfv_dsl.execute.run_tables import RunTables
from mfv_dsl.execute.storage import finished
from mfv_dsl.plan.explain import explain_plan
from mfv_dsl.plan.steps import Plan
from mfv_dsl.plots import RunViews

if TYPE_CHECKING:
    from pathlib import Path

    from mfv_dsl.engine.attach import HookPlan
    from mfv_dsl.engine.hooks import Hooks
    from mfv_dsl.launch.forecast import Forecast
    from mfv_dsl.plan.estimate import Estimate


@dataclass(frozen=True, repr=False)
class InteractivePlan(Plan):
    """A plan whose evals can be bound to the user's own model."""

    #: Models and datasets that are loaded already, by the plan's names.
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, plan: Plan, given: Mapping[str, Any] | None = None) -> InteractivePlan:
        """``plan`` with the methods of this class."""
        values = {item.name: getattr(plan, item.name) for item in fields(Plan)}
        return cls(**values, given=given or getattr(plan, "given", {}))

    def bind(
        self,
        model: Any,
        eval: str | None = None,
        relation: str | None = None,
        **options: Any,
    ) -> HookPlan:
        """The edits of one eval bound to the user's own model: ``bind(model, "raw", "left",
        layer=1)``; see :func:`mfv_dsl.execute.bind.bind`."""
        from mfv_dsl.execute.bind import OPTIONS, bind

        known_options(options, OPTIONS, "bind()")
        return bind(self, model, eval, relation, given=self.given, **options)

    def attach(
        self,
        model: Any,
        eval: str | None = None,
        relation: str | None = None,
        **options: Any,
    ) -> Hooks:
        """``with plan.attach(model, "raw", "left", layer=1): model(...)``"""
        return self.bind(model, eval, relation, **options).attach()

    def estimate(
        self, device: str | None = None, rate: str | None = None, measure: bool = False
    ) -> Estimate | None:
        """How long the steps that are not finished will take: ``plan.estimate("a100").total``
        seconds; see :func:`mfv_dsl.estimates.estimate_of`."""
        from mfv_dsl.estimates import estimate_of

        done = finished(step.key for step in self.steps)
        return estimate_of(self, done, device, rate, truth(measure, "measure"))

    def forecast(
        self, workers: int, device: str | None = None, rate: str | None = None,
        measure: bool = False,
    ) -> Forecast:  # fmt: skip
        """What it will take on several workers: ``plan.forecast(8).seconds``; the time is told as
        by :meth:`estimate`, see :func:`mfv_dsl.launch.forecast.forecast`."""
        from mfv_dsl.launch.forecast import forecast
        from mfv_dsl.plan.machine import kept_machine

        workers = whole(workers, "workers", least=1)
        done = finished(step.key for step in self.steps)
        estimate = self.estimate(device, rate, measure)
        return forecast([self], done, workers, estimate, kept_machine())

    def __getstate__(self) -> dict[str, Any]:
        """Without the objects that it was given, which stay in their process."""
        return {**self.__dict__, "given": {}}

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html.plans import plan_html

        return plan_html(self, explain_plan(self, finished(step.key for step in self.steps)))


@dataclass(frozen=True, repr=False)
class InteractiveResult(RunResult, RunViews):
    """What a run gave; its plan binds, and its vectors are saved and bound."""

    @classmethod
    def of(cls, result: RunResult, given: Mapping[str, Any] | None = None) -> InteractiveResult:
        """``result`` with the methods of this class."""
        values: Mapping[str, Any]
        if isinstance(result.values, StoredValues):
            values = result.values.shown_as(_interactive)
        else:
            values = {key: _interactive(value) for key, value in result.values.items()}
        plan = InteractivePlan.of(result.plan, given)
        own = {item.name: getattr(result, item.name) for item in fields(RunResult)}
        return cls(**{**own, "plan": plan, "values": values})

    def _tables(self) -> RunTables:
        """Those of its folder.  Raises MfvError (MFV6113) where that holds another run by now."""
        tables = RunTables(self.folder)
        there = json_of(self.folder, PLAN)
        if {step["key"] for step in there["steps"]} != {step.key for step in self.plan.steps}:
            raise MfvError(
                "MFV6113", f"{short(self.folder)} holds the results of another run by now",
                help="run it again, each time into a folder of its own (`out=`)",
            )  # fmt: skip
        return tables

    def report(self, path: str | Path | None = None, *, items: int | None = 400) -> Path:
        """Make the page of this run, as ``mfv report`` does: one file for a browser.

        Args:
            path: The file; ``report.html`` in the run's folder if left out.
            items: How many items are shown with their pictures, None for all.

        Returns:
            The file.

        Raises:
            MfvError: MFV5391 where what it needs is not installed, MFV6115 for a file that is no
                report; see :func:`mfv_dsl.run_report.report`.
        """
        from mfv_dsl.run_report import report

        return report([self.folder], path, items)

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html.results import result_html

        return result_html(self)


def _interactive(value: Any) -> Any:
    """A step's value; a vector that is saved and bound, heads that show themselves."""
    from mfv_dsl.vector_objects import interactive

    return interactive(value)
