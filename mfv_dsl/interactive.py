"""Plans and results as the Python interface gives them: plans bind to models, and both show
themselves in a notebook."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.places import finished
from mfv_dsl.execute.run_result import RunResult
from mfv_dsl.plan.explain import explain_plan
from mfv_dsl.plan.steps import Plan

if TYPE_CHECKING:
    from mfv_dsl.engine.attach import HookPlan
    from mfv_dsl.engine.hooks import Hooks


class InteractivePlan(Plan):
    """A plan whose evals can be bound to the user's own model."""

    @classmethod
    def of(cls, plan: Plan) -> InteractivePlan:
        """``plan`` with the methods of this class."""
        return cls(**{item.name: getattr(plan, item.name) for item in fields(Plan)})

    def bind(self, model: Any, *names: Any, **options: Any) -> HookPlan:
        """The edits of one eval bound to the user's own model: ``bind(model, "raw", "left",
        layer=1)``; see :func:`mfv_dsl.execute.bind.bind`."""
        from mfv_dsl.execute.bind import bind

        return bind(self, model, *names, **options)

    def attach(self, model: Any, *names: Any, **options: Any) -> Hooks:
        """``with plan.attach(model, "raw", "left", layer=1): model(...)``"""
        return self.bind(model, *names, **options).attach()

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html import plan_html

        return plan_html(self, explain_plan(self, finished(step.key for step in self.steps)))


class InteractiveResult(RunResult):
    """What a run gave; its plan binds."""

    @classmethod
    def of(cls, result: RunResult) -> InteractiveResult:
        """``result`` with the methods of this class."""
        return cls(**{**vars(result), "plan": InteractivePlan.of(result.plan)})

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html import results_html

        return results_html(self.rows, self.plan.metrics, self.notes)
