"""Scores of heads, and sets of heads."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import torch

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt
from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session, batched
from mfv_dsl.methods.attribution import attribute, relevance, relevance_patching
from mfv_dsl.methods.head_outputs import probe_accuracies, vote_accuracies
from mfv_dsl.methods.mediation import Mediation, concatenate_effects, mediate
from mfv_dsl.methods.selection import Heads, output_norms, top_heads
from mfv_dsl.plan.descriptions import BATCH
from mfv_dsl.plan.steps import Step


@performs("mediation")
def mediation(session: Session, step: Step, inputs: Values) -> Mediation:
    """Effects of all heads on corrupted twins of the prompts, in parts of one batch each."""
    mean = inputs["mean"]
    p, dataset, backend = step.parameters, session.dataset(step), session.backend(step)
    intact = session.prompts(step, p["trials"], p["split"], p["shots"])
    twins = [
        corrupt(prompt, p["corrupt"], dataset, p["split"], p["seed"], p.get("pool"))
        for prompt, correct in zip(intact, mean.correct, strict=True)
        if correct or not p["correct_only"]
    ]
    chunks = [twins[start : start + BATCH] for start in range(0, len(twins), BATCH)]
    heads = backend.facts.head_count
    progress = session.listener.begin(step.label, len(chunks) * heads)
    effects = _EFFECTS[p["by"]]

    def measured(chunk: list[Prompt]) -> Mediation:
        nonlocal is_new
        is_new = True
        batches = batched(backend, dataset, chunk)
        report = _shared_out(progress, len(batches))
        return effects(backend, batches, p["relation"], mean.mean, report)

    parts = []
    for number, chunk in enumerate(chunks):
        is_new = False
        parts.append(session.part(step, f"{number}/{BATCH}", partial(measured, chunk)))
        if not is_new:  # an earlier run measured it
            progress(heads)
    return concatenate_effects(parts, p["relation"])


#: By what `top` ranks by: what measures or estimates effects.
_EFFECTS = {"aie": mediate, "gradient": attribute, "relp": relevance_patching}


def _shared_out(progress: Callable[[int], None], batches: int) -> Callable[[int], None]:
    """Progress of ``batches`` batches, told as that of one."""
    done = told = 0

    def report(units: int) -> None:
        nonlocal done, told
        done += units
        progress(done // batches - told)
        told = done // batches

    return report


@performs("head_relevance")
def head_relevance(session: Session, step: Step, inputs: Values) -> Mediation:
    """The relevance of every head to the answers of intact prompts, as scores like effects."""
    p, mean = step.parameters, inputs["mean"]
    prompts = [
        prompt
        for prompt, correct in zip(
            session.prompts(step, p["trials"], p["split"], p["shots"]), mean.correct, strict=True
        )
        if correct or not p["correct_only"]
    ]
    progress = session.listener.begin(step.label, len(prompts))
    batches = session.batches(step, prompts)
    return relevance(session.backend(step), batches, p["relation"], progress)


@performs("head_probe")
def head_probe(session: Session, step: Step, inputs: Values) -> Mediation:
    """How well a probe on each head's output tells a relation from others, as scores like effects
    (one row)."""
    accuracies = probe_accuracies(inputs["outputs"], inputs["others"])
    return Mediation(inputs["outputs"].relation, accuracies[None], np.empty(0))


@performs("head_votes")
def head_votes(session: Session, step: Step, inputs: Values) -> Mediation:
    """How well each head classifies answers by the nearest class mean, as scores like effects (one
    row)."""
    outputs = inputs["outputs"]
    accuracies = vote_accuracies(outputs.outputs, outputs.answers)
    return Mediation(outputs.relation, accuracies[None], np.empty(0))


@performs("head_norms")
def head_norms(session: Session, step: Step, inputs: Values) -> Mediation:
    """The length of what each head writes on average, as scores like effects (one row)."""
    mean = inputs["mean"]
    norms = output_norms(session.backend(step), mean.mean, mean.norm)
    return Mediation(mean.relation, norms[None], np.empty(0))


@performs("top")
def top(session: Session, step: Step, inputs: Values) -> Heads:
    """The heads with the largest mean score."""
    scores = [score.aie for score in inputs["scores"]]
    mean = torch.from_numpy(sum(scores[1:], scores[0]) / len(scores))
    return Heads(top_heads(scores, step.parameters["k"]), mean)


@performs("other_heads")
def other_heads(session: Session, step: Step, inputs: Values) -> Heads:
    """Random heads, none of them among those that were chosen."""
    p = step.parameters
    layers = [layer for layer in range(p["layers"]) if layer not in p["without"]]
    all_heads = product(layers, range(p["heads"]))
    others = [head for head in all_heads if head not in inputs["chosen"].chosen]
    return Heads(tuple(sorted(random.Random(p["seed"]).sample(others, p["k"]))))


@performs("head_set")
def head_set(session: Session, step: Step, inputs: Values) -> Heads:
    """Heads that the recipe names."""
    return Heads(tuple((layer, head) for layer, head in step.parameters["heads"]))


@performs("head_union")
def head_union(session: Session, step: Step, inputs: Values) -> Heads:
    """Heads in either set."""
    return Heads(tuple(dict.fromkeys(inputs["left"].chosen + inputs["right"].chosen)))


@performs("head_intersection")
def head_intersection(session: Session, step: Step, inputs: Values) -> Heads:
    """Heads in both sets."""
    left, right = inputs["left"].chosen, inputs["right"].chosen
    return Heads(tuple(head for head in left if head in right))


@performs("head_difference")
def head_difference(session: Session, step: Step, inputs: Values) -> Heads:
    """Heads in the first set only."""
    left, right = inputs["left"].chosen, inputs["right"].chosen
    return Heads(tuple(head for head in left if head not in right))
