"""What each operation of a plan does.  One function an operation; no science of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt
from mfv_dsl.execute.evaluation import evaluate
from mfv_dsl.execute.session import Session
from mfv_dsl.execute.tuning import tune
from mfv_dsl.library.sources import file_of
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods import vectors as algebra
from mfv_dsl.methods.activations import TaskMean, task_mean
from mfv_dsl.methods.attribution import attribute
from mfv_dsl.methods.mediation import Mediation, concatenate_effects, mediate
from mfv_dsl.methods.selection import Head, output_norms, top_heads
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.plan.arithmetic import calculate
from mfv_dsl.plan.explain import BATCH
from mfv_dsl.plan.steps import Step


@dataclass(frozen=True)
class Heads:
    """A set of heads, best first where ranked, and then with ``scores`` (layers, heads)."""

    chosen: tuple[Head, ...]
    scores: torch.Tensor | None = None


Inputs = tuple[Any, ...]
NOTHING = np.empty(0)


def activations(session: Session, step: Step, inputs: Inputs) -> TaskMean:
    p = step.parameters
    prompts = session.prompts(step, p["trials"], p["split"], p["shots"])
    if p.get("corrupt"):
        dataset = session.dataset(step)
        prompts = [corrupt(one, p["corrupt"], dataset, p["split"], p["seed"]) for one in prompts]
    done = session.listener.begin(step.label, len(prompts))
    return task_mean(
        session.backend(step),
        session.batches(step, prompts),
        p["relation"],
        p["correct_only"],
        done,
    )


def mediation(session: Session, step: Step, inputs: Inputs) -> Mediation:
    (mean,) = inputs
    p, dataset, backend = step.parameters, session.dataset(step), session.backend(step)
    intact = session.prompts(step, p["trials"], p["split"], p["shots"])
    twins = [
        corrupt(prompt, p["corrupt"], dataset, p["split"], p["seed"])
        for prompt, right in zip(intact, mean.correct, strict=True)
        if right or not p["correct_only"]
    ]
    chunks = [twins[start : start + BATCH] for start in range(0, len(twins), BATCH)]
    heads = backend.facts.n_layers * backend.facts.n_heads
    done = session.listener.begin(step.label, len(chunks) * heads)
    effects = attribute if p["by"] == "gradient" else mediate

    def measured(chunk: list[Prompt]) -> Mediation:
        nonlocal told
        told = True
        return effects(backend, [backend.batch(chunk, dataset)], p["relation"], mean.mean, done)

    parts = []
    for number, chunk in enumerate(chunks):
        told = False
        parts.append(session.part(step, f"{number}/{BATCH}", partial(measured, chunk)))
        if not told:  # kept from an earlier run
            done(heads)
    return concatenate_effects(parts, p["relation"])


def head_norms(session: Session, step: Step, inputs: Inputs) -> Mediation:
    """The length of what each head writes on average, as scores like effects (one row)."""
    (mean,) = inputs
    return Mediation(mean.relation, output_norms(session.backend(step), mean.mean)[None], NOTHING)


def top(session: Session, step: Step, inputs: Inputs) -> Heads:
    effects = [effect.aie for effect in inputs]
    scores = torch.from_numpy(sum(effects[1:], effects[0]) / len(effects))
    return Heads(top_heads(effects, step.parameters["k"]), scores)


def other_heads(session: Session, step: Step, inputs: Inputs) -> Heads:
    (best,), p = inputs, step.parameters
    every = product(range(p["layers"]), range(p["heads"]))
    others = [head for head in every if head not in best.chosen]
    return Heads(tuple(sorted(random.Random(p["seed"]).sample(others, p["k"]))))


def head_set(session: Session, step: Step, inputs: Inputs) -> Heads:
    return Heads(tuple((layer, head) for layer, head in step.parameters["heads"]))


def head_union(session: Session, step: Step, inputs: Inputs) -> Heads:
    first, second = inputs
    return Heads(tuple(dict.fromkeys(first.chosen + second.chosen)))


def head_intersection(session: Session, step: Step, inputs: Inputs) -> Heads:
    first, second = inputs
    return Heads(tuple(head for head in first.chosen if head in second.chosen))


def head_difference(session: Session, step: Step, inputs: Inputs) -> Heads:
    first, second = inputs
    return Heads(tuple(head for head in first.chosen if head not in second.chosen))


def extract(session: Session, step: Step, inputs: Inputs) -> Vector:
    mean, heads = inputs
    return algebra.function_vector(
        session.backend(step), mean.mean, heads.chosen, step.parameters["bias"],
        expression=step.label, scores=heads.scores,
    )  # fmt: skip


def load(session: Session, step: Step, inputs: Inputs) -> Vector:
    """A stored vector.  One that may mismatch counts as made with this model, if of its size."""
    p, facts = step.parameters, session.backend(step).facts
    file = file_of(p["path"], p["name"], p["revision"], download=False)
    vector = load_vector(file).vector
    if p["allow_mismatch"]:
        same = algebra.Space(facts.fingerprint, vector.space.d_model)
        vector = replace(vector, space=same)
    return algebra.require_model(session.backend(step), vector)


def linear(session: Session, step: Step, inputs: Inputs) -> Vector:
    if not inputs:
        facts = session.backend(step).facts
        space = algebra.Space(facts.fingerprint, facts.d_model)
        return Vector(torch.zeros(facts.d_model), space, "zeros()")
    pairs = list(zip(step.parameters["coefficients"], inputs, strict=True))
    return algebra.combine(pairs, step.label)


def times(session: Session, step: Step, inputs: Inputs) -> Vector:
    number, vector = inputs
    return algebra.combine([(number, vector)], step.label)


def arithmetic(session: Session, step: Step, inputs: Inputs) -> float:
    p, rest = step.parameters, list(inputs)
    left = p["left"] if "left" in p else rest.pop(0)
    right = p["right"] if "right" in p else rest.pop(0)
    return calculate(p["operator"], left, right)


def overall_mean(session: Session, step: Step, inputs: Inputs) -> torch.Tensor:
    return torch.stack([mean.mean for mean in inputs]).mean(0)


PERFORM: Mapping[str, Callable[[Session, Step, Inputs], Any]] = {
    "activations": activations,
    "mediation": mediation,
    "head_norms": head_norms,
    "top": top,
    "other_heads": other_heads,
    "head_set": head_set,
    "head_union": head_union,
    "head_intersection": head_intersection,
    "head_difference": head_difference,
    "extract": extract,
    "load": load,
    "linear": linear,
    "times": times,
    "normalize": lambda session, step, inputs: algebra.normalize(*inputs),
    "project": lambda session, step, inputs: algebra.project(*inputs),
    "reject": lambda session, step, inputs: algebra.reject(*inputs),
    "random_like": lambda session, step, inputs: algebra.random_like(
        *inputs, seed=step.parameters["seed"]
    ),
    "norm": lambda session, step, inputs: inputs[0].norm(),
    "dot": lambda session, step, inputs: algebra.dot(*inputs),
    "cosine": lambda session, step, inputs: algebra.cosine(*inputs),
    "arithmetic": arithmetic,
    "overall_mean": overall_mean,
    "tune": tune,
    "evaluate": evaluate,
}
