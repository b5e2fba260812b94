"""Mean head outputs."""

from __future__ import annotations

import torch

from mfv_dsl.data.prompts import corrupt
from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session
from mfv_dsl.methods.activations import TaskMean, task_mean
from mfv_dsl.methods.head_outputs import HeadOutputs, head_outputs
from mfv_dsl.plan.steps import Step


@performs("activations")
def activations(session: Session, step: Step, inputs: Values) -> TaskMean:
    """Mean head outputs over the prompts of a relation."""
    p = step.parameters
    prompts = session.prompts(step, p["trials"], p["split"], p["shots"])
    if p["corrupt"]:
        dataset = session.dataset(step)
        prompts = [
            corrupt(prompt, p["corrupt"], dataset, p["split"], p["seed"]) for prompt in prompts
        ]
    progress = session.listener.begin(step.label, len(prompts))
    return task_mean(
        session.backend(step),
        session.batches(step, prompts),
        p["relation"],
        p["correct_only"],
        progress,
    )


@performs("head_outputs")
def outputs_of_heads(session: Session, step: Step, inputs: Values) -> HeadOutputs:
    """The outputs of every head on each of a relation's prompts."""
    p = step.parameters
    prompts = session.prompts(step, p["trials"], p["split"], p["shots"])
    progress = session.listener.begin(step.label, len(prompts))
    batches = session.batches(step, prompts)
    return head_outputs(session.backend(step), batches, p["relation"], progress)


@performs("overall_mean")
def overall_mean(session: Session, step: Step, inputs: Values) -> torch.Tensor:
    """Mean head outputs over several relations, (layers, heads, head_dim)."""
    return torch.stack([mean.mean for mean in inputs["means"]]).mean(0)
