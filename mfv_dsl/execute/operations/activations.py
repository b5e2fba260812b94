"""Mean head outputs."""

from __future__ import annotations

from dataclasses import replace

import torch

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt
from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session
from mfv_dsl.methods.activations import (
    Progress,
    Sums,
    TaskMean,
    head_sums,
    mean_of_sums,
    row_per_layer,
)
from mfv_dsl.methods.head_outputs import HeadOutputs, concatenate_outputs, head_outputs
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
    backend, site = session.backend(step), session.site_of_heads(step)
    correct_only = p["correct_only"]

    def summed(chunk: list[Prompt]) -> Sums:
        batches = session.batches(step, chunk)
        return head_sums(backend, batches, p["relation"], correct_only, progress, site)

    parts = session.over_prompts(step, prompts, summed, had=progress)
    mean = mean_of_sums(parts, p["relation"], correct_only)
    return replace(mean, mean=row_per_layer(backend, site, mean.mean))


@performs("head_outputs")
def outputs_of_heads(session: Session, step: Step, inputs: Values) -> HeadOutputs:
    """The outputs of every head on each of a relation's prompts."""
    p = step.parameters
    prompts = session.prompts(step, p["trials"], p["split"], p["shots"])
    progress = session.listener.begin(step.label, len(prompts))
    return outputs_on(session, step, prompts, progress)


def outputs_on(
    session: Session, step: Step, prompts: list[Prompt], progress: Progress,
    site: str | None = None, name: str = "",
) -> HeadOutputs:  # fmt: skip
    """The outputs of every head of a site on ``prompts``, with a row for every decoder layer; the
    names of the step's parts begin with ``name``."""
    backend, site = session.backend(step), site or session.site_of_heads(step)

    def measured(chunk: list[Prompt]) -> HeadOutputs:
        batches = session.batches(step, chunk)
        return head_outputs(backend, batches, step.parameters["relation"], progress, site)

    known = concatenate_outputs(session.over_prompts(step, prompts, measured, name, progress))
    return replace(known, outputs=row_per_layer(backend, site, known.outputs, 1))


@performs("overall_mean")
def overall_mean(session: Session, step: Step, inputs: Values) -> torch.Tensor:
    """Mean head outputs over several relations, (layers, heads, head_dim)."""
    return torch.stack([mean.mean for mean in inputs["means"]]).mean(0)
