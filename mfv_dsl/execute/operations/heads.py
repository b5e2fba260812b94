"""Scores of heads, and sets of heads."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt
from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session, batched
from mfv_dsl.methods.activations import row_per_layer, rows_of
from mfv_dsl.methods.attribution import attribute, relevance, relevance_patching
from mfv_dsl.methods.head_outputs import probe_accuracies, vote_accuracies
from mfv_dsl.methods.learned_mask import learned_mask
from mfv_dsl.methods.mediation import Mediation, concatenate_effects, mediate
from mfv_dsl.methods.selection import Heads, output_norms, top_heads
from mfv_dsl.models.base import Backend
from mfv_dsl.plan.descriptions import BATCH, MASK_BATCH, MASK_EPOCHS
from mfv_dsl.plan.steps import Step


@performs("mediation")
def mediation(session: Session, step: Step, inputs: Values) -> Mediation:
    """Effects of all heads on corrupted twins of the prompts."""
    mean = inputs["mean"]
    p, dataset, backend = step.parameters, session.dataset(step), session.backend(step)
    twins = _twins(session, step, mean.correct)
    site = session.site_of_heads(step)
    rows, heads = list(rows_of(backend, site)), _head_count(backend, site)
    progress = session.listener.begin(step.label, -(-len(twins) // BATCH) * heads)
    effects = _EFFECTS[p["by"]]

    def measured(chunk: list[Prompt]) -> Mediation:
        batches = batched(backend, dataset, chunk)
        report = _shared_out(progress, len(batches))
        return effects(backend, batches, p["relation"], mean.mean[rows], report, site)

    parts = session.over_prompts(step, twins, measured, had=lambda prompts: progress(heads))
    return _by_layer(backend, concatenate_effects(parts, p["relation"]))


def _head_count(backend: Backend, site: str) -> int:
    """How many heads of a site the model has."""
    place = backend.sites[site]
    return len(place.layers) * (place.heads or 1)


def _by_layer(backend: Backend, scores: Mediation) -> Mediation:
    """Scores with a row for every decoder layer."""
    cie = row_per_layer(backend, scores.site, scores.cie, 1)
    correct = scores.correct
    if correct is not None and cie is not scores.cie:
        correct = np.zeros(cie.shape, dtype=bool)
        correct[:, list(scores.layers)] = scores.correct
    return replace(scores, cie=cie, correct=correct, layers=tuple(range(cie.shape[1])))


def _twins(session: Session, step: Step, correct: Sequence[bool]) -> list[Prompt]:
    """The corrupted twins of the prompts of ``step`` that were answered correctly, or of all."""
    p, dataset = step.parameters, session.dataset(step)
    intact = session.prompts(step, p["trials"], p["split"], p["shots"])
    return [
        corrupt(prompt, p["corrupt"], dataset, p["split"], p["seed"], p.get("pool"))
        for prompt, known in zip(intact, correct, strict=True)
        if known or not p["correct_only"]
    ]


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
    backend, site = session.backend(step), session.site_of_heads(step)

    def measured(chunk: list[Prompt]) -> Mediation:
        batches = session.batches(step, chunk)
        return relevance(backend, batches, p["relation"], progress, site)

    parts = session.over_prompts(step, prompts, measured, had=progress)
    return _by_layer(backend, concatenate_effects(parts, p["relation"]))


@performs("head_mask")
def head_mask(session: Session, step: Step, inputs: Values) -> Mediation:
    """The weight of every head in a mask that is learned on corrupted twins, as scores like effects
    (one row)."""
    mean, p = inputs["mean"], step.parameters
    twins = _twins(session, step, mean.correct)
    progress = session.listener.begin(step.label, MASK_EPOCHS * len(twins))
    weights = learned_mask(
        session.backend(step), session.batches(step, twins, MASK_BATCH), mean.mean,
        epochs=MASK_EPOCHS, seed=p["seed"], progress=progress,
    )  # fmt: skip
    return Mediation(mean.relation, weights[None], np.empty(0))


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
    site = "xattn" if step.parameters.get("site") == "xattn" else "lm.attn"
    k, there = step.parameters["k"], int(mean.isfinite().sum())
    if site == "xattn" and k > there:
        raise MfvError(
            "MFV4004", f"the model has no {k} heads of cross-attention",
            help=f"it has {there} in all",
        )  # fmt: skip
    return Heads(top_heads(scores, k), mean, site)


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
    chosen = dict.fromkeys(inputs["left"].chosen + inputs["right"].chosen)
    return Heads(tuple(chosen), site=inputs["left"].site)


@performs("head_intersection")
def head_intersection(session: Session, step: Step, inputs: Values) -> Heads:
    """Heads in both sets."""
    left, right = inputs["left"].chosen, inputs["right"].chosen
    return Heads(tuple(head for head in left if head in right), site=inputs["left"].site)


@performs("head_difference")
def head_difference(session: Session, step: Step, inputs: Values) -> Heads:
    """Heads in the first set only."""
    left, right = inputs["left"].chosen, inputs["right"].chosen
    return Heads(tuple(head for head in left if head not in right), site=inputs["left"].site)
