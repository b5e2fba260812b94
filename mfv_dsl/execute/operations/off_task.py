"""What is written in an evaluation, measured on prompts that it is not for."""

from __future__ import annotations

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.off_task import draw_off_task
from mfv_dsl.execute.conditions import Evaluation
from mfv_dsl.execute.edits import edits_of
from mfv_dsl.execute.off_task import OffTaskMeasurement
from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session, batched, prefix_of
from mfv_dsl.methods.adapter_training import adapter_cost
from mfv_dsl.methods.off_task import OffTaskCost, concatenate_costs, off_task_costs
from mfv_dsl.plan.steps import Step


@performs("off_task")
def off_task(session: Session, step: Step, inputs: Values) -> OffTaskMeasurement:
    """What every condition that an evaluation measured writes, or its adapter, on prompts of other
    relations."""
    p, evaluation = step.parameters, inputs["evaluation"]
    assert isinstance(evaluation, Evaluation)
    (key,) = step.input_keys
    measured, backend = session.plan[key], session.backend(step)
    prompts = draw_off_task(
        session.dataset(step), p["kind"], p["off_task"], p["split"], p["items"], p["seed"]
    )
    points = tuple(condition.at for condition in evaluation.conditions)
    progress = session.listener.begin(step.label, len(prompts))
    is_adapter = measured.parameters["mode"] == "adapter"
    edits = [] if is_adapter else [
        edits_of(measured.parameters, inputs, point, backend.sites, backend.facts.head_dim)
        for point in points
    ]  # fmt: skip

    def cost(chunk: list[Prompt]) -> tuple[OffTaskCost, ...]:
        if is_adapter:
            dataset = session.dataset(step)
            return (
                adapter_cost(
                    backend, inputs["real"], lambda model: batched(model, dataset, chunk), progress
                ),
            )
        batches = session.batches(step, chunk)
        return tuple(off_task_costs(backend, batches, edits, progress, prefix_of(measured)))

    costs = concatenate_costs(session.over_prompts(step, prompts, cost, had=progress))
    images = tuple(prompt.query.image for prompt in prompts)
    return OffTaskMeasurement(p["kind"], points, tuple(costs), images, evaluation.failures)
