"""What each operation of a plan does.  One function an operation; no science of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt
from mfv_dsl.engine.edits import Edit
from mfv_dsl.execute.analogy import measured_blends
from mfv_dsl.execute.session import Session
from mfv_dsl.lang.diagnostics import MfvError
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods import vectors as algebra
from mfv_dsl.methods.activations import TaskMean, task_mean
from mfv_dsl.methods.attribution import attribute
from mfv_dsl.methods.evaluation import ablating, adding, measure_many, patching
from mfv_dsl.methods.mediation import Mediation, joined, mediate
from mfv_dsl.methods.outcomes import Outcomes
from mfv_dsl.methods.selection import Head, top_heads, written_norms
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.plan.arithmetic import calculate
from mfv_dsl.plan.explain import BATCH
from mfv_dsl.plan.steps import Step


@dataclass(frozen=True)
class Heads:
    """A set of heads, best first where ranked, and then with ``scores`` (layers, heads)."""

    chosen: tuple[Head, ...]
    scores: torch.Tensor | None = None


@dataclass(frozen=True)
class Condition:
    """One measured condition of an evaluation; for a blend with its ``weights``
    (prompts, candidates)."""

    layer: int | str | None
    scale: float | None
    outcomes: Outcomes
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """Conditions measured on the test split, the trials that settled ``choose`` on another, and
    the zero-shot outcomes on the same items."""

    conditions: tuple[Condition, ...]
    trials: tuple[Condition, ...]
    zero_shot: Outcomes


Inputs = tuple[Any, ...]
NOTHING = np.empty(0)


def activations(session: Session, step: Step, inputs: Inputs) -> TaskMean:
    p = step.parameters
    prompts = session.prompts(step, p["trials"], p["split"], p["shots"])
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
        if right
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
    return joined(parts, p["relation"])


def head_norms(session: Session, step: Step, inputs: Inputs) -> Mediation:
    """The length of what each head writes on average, as scores like effects (one row)."""
    (mean,) = inputs
    return Mediation(mean.relation, written_norms(session.backend(step), mean.mean)[None], NOTHING)


def top(session: Session, step: Step, inputs: Inputs) -> Heads:
    effects = [effect.aie for effect in inputs]
    scores = torch.from_numpy(sum(effects[1:], effects[0]) / len(effects))
    return Heads(top_heads(effects, step.parameters["k"]), scores)


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
    p = step.parameters
    vector = load_vector(f"{p['path']}/{p['name']}.safetensors").vector
    return algebra.fitting(session.backend(step), vector)


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


def evaluate(session: Session, step: Step, inputs: Inputs) -> Evaluation:
    p = step.parameters
    layers, scales = p.get("layers") or (None,), p.get("scales") or (None,)
    sweep = [(layer, scale) for layer in layers for scale in scales]
    trials: tuple[Condition, ...] = ()
    if p.get("choose"):
        done = session.listener.begin(f"{step.label}, choosing", len(sweep))
        trials = _conditions(session, step, inputs, sweep, p["select_on"], done)
        sweep = _winners(trials, p["choose"])
    done = session.listener.begin(step.label, len(sweep))
    conditions = _conditions(session, step, inputs, sweep, p["split"], done)
    return Evaluation(conditions, trials, session.zero_shot(step))


def _conditions(
    session: Session, step: Step, inputs: Inputs, sweep: list[tuple[Any, Any]], split: str,
    done: Callable[[int], None],
) -> tuple[Condition, ...]:  # fmt: skip
    """Measure every condition of ``sweep`` on the same prompts of ``split``."""
    backend = session.backend(step)
    prompts = session.prompts(step, step.parameters["items"], split, step.parameters["shots"])
    batches = session.batches(step, prompts)
    mode = step.parameters.get("mode", "none")
    if mode == "blend":
        blends = measured_blends(session, step, inputs, sweep, split, batches)
        done(len(sweep))
        return tuple(
            Condition(layer, scale, found.outcomes, found.weights)
            for (layer, scale), found in zip(sweep, blends, strict=True)
        )
    variants = [
        edits_of(mode, inputs, layer, scale, backend.facts.head_dim) for layer, scale in sweep
    ]
    measured = measure_many(backend, batches, variants)
    done(len(sweep))
    return tuple(
        Condition(layer, scale, found)
        for (layer, scale), found in zip(sweep, measured, strict=True)
    )


def edits_of(mode: str, inputs: Inputs, layer: Any, scale: Any, head_dim: int) -> list[Edit]:
    """The edits of one condition of an evaluation."""
    if mode == "add":
        return adding(inputs[0], layer, scale)
    if mode == "blend":
        raise MfvError(
            "MFV5109", "a blend is another vector for every item, so there is none to attach"
        )
    if mode == "patch":
        return patching(inputs[0])
    if mode == "ablate":
        if not inputs[0].chosen:
            raise MfvError("MFV5307", "there are no heads to ablate: the set came out empty")
        overall = inputs[1] if len(inputs) > 1 else None
        return ablating(inputs[0].chosen, head_dim, overall)
    return []


def _winners(trials: tuple[Condition, ...], choose: tuple[str, ...]) -> list[tuple[Any, Any]]:
    """The best condition for every value of the sweeps that are not chosen over.

    Best is by accuracy, then by the mean probability of the answer, then the first.
    """
    best: dict[Any, Condition] = {}
    for trial in trials:
        kept = tuple(
            value for name, value in (("layer", trial.layer), ("scale", trial.scale))
            if name not in choose
        )  # fmt: skip
        if kept not in best or _merit(trial) > _merit(best[kept]):
            best[kept] = trial
    return [(trial.layer, trial.scale) for trial in best.values()]


def _merit(condition: Condition) -> tuple[float, float]:
    return condition.outcomes.accuracy, float(condition.outcomes.p_answer.mean())


PERFORM: Mapping[str, Callable[[Session, Step, Inputs], Any]] = {
    "activations": activations,
    "mediation": mediation,
    "head_norms": head_norms,
    "top": top,
    "head_set": head_set,
    "head_union": head_union,
    "head_intersection": head_intersection,
    "head_difference": head_difference,
    "extract": extract,
    "load": load,
    "linear": linear,
    "times": times,
    "normalize": lambda session, step, inputs: algebra.normalized(*inputs),
    "project": lambda session, step, inputs: algebra.projected(*inputs),
    "reject": lambda session, step, inputs: algebra.rejected(*inputs),
    "random_like": lambda session, step, inputs: algebra.random_like(
        *inputs, seed=step.parameters["seed"]
    ),
    "norm": lambda session, step, inputs: inputs[0].norm(),
    "dot": lambda session, step, inputs: algebra.dot(*inputs),
    "cosine": lambda session, step, inputs: algebra.cosine(*inputs),
    "arithmetic": arithmetic,
    "overall_mean": overall_mean,
    "evaluate": evaluate,
}
