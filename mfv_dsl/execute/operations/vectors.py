"""Vectors: extracted, loaded, combined."""

from __future__ import annotations

from dataclasses import replace

import torch

from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session
from mfv_dsl.library.sources import file_of
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods import algebra
from mfv_dsl.methods.cross_attention import cross_attention_vector
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.states import States, combine_states
from mfv_dsl.methods.vectors import Space, Vector, combine, require_model
from mfv_dsl.plan.steps import Step


@performs("extract")
def extract(session: Session, step: Step, inputs: Values) -> Vector:
    """The function vector of mean head outputs and a set of heads."""
    heads = inputs["heads"]
    if heads.site == "xattn":
        return cross_attention_vector(
            session.backend(step), inputs["mean"].mean, heads.chosen, step.parameters["bias"],
            step.label,
        )  # fmt: skip
    return function_vector(
        session.backend(step), inputs["mean"].mean, heads.chosen, step.parameters["bias"],
        expression=step.label, scores=heads.scores, norm=inputs["mean"].norm,
    )  # fmt: skip


@performs("load")
def load(session: Session, step: Step, inputs: Values) -> Vector:
    """A stored vector.  One that may mismatch counts as made with this model, if of its size."""
    p, facts = step.parameters, session.backend(step).facts
    file = file_of(p["path"], p["name"], p["revision"], download=False)
    vector = load_vector(file).vector
    if p["allow_mismatch"]:
        space = replace(vector.space, fingerprint=facts.fingerprint, bias="none")
        vector = replace(vector, space=space)
    return require_model(session.backend(step), vector)


@performs("linear")
def linear(session: Session, step: Step, inputs: Values) -> Vector | States:
    """A weighted sum of vectors, or of rows of states."""
    if not inputs["vectors"]:
        facts = session.backend(step).facts
        space = Space(facts.fingerprint, facts.d_model)
        return Vector(torch.zeros(facts.d_model), space, "zeros()")
    terms = list(zip(step.parameters["coefficients"], inputs["vectors"], strict=True))
    if isinstance(terms[0][1], States):
        return combine_states(terms, step.label)
    return combine(terms, step.label)


@performs("times")
def times(session: Session, step: Step, inputs: Values) -> Vector | States:
    """A vector, or rows of states, times a computed number."""
    if isinstance(inputs["vector"], States):
        return combine_states([(inputs["factor"], inputs["vector"])], step.label)
    return combine([(inputs["factor"], inputs["vector"])], step.label)


@performs("normalize")
def normalize(session: Session, step: Step, inputs: Values) -> Vector:
    """The vector at length 1."""
    return algebra.normalize(inputs["v"])


@performs("project")
def project(session: Session, step: Step, inputs: Values) -> Vector:
    """The part of a vector along another."""
    return algebra.project(inputs["v"], inputs["onto"])


@performs("reject")
def reject(session: Session, step: Step, inputs: Values) -> Vector:
    """A vector without its part along another."""
    return algebra.reject(inputs["v"], inputs["from"])


@performs("clip")
def clip(session: Session, step: Step, inputs: Values) -> Vector:
    """The vector, scaled to a length of ``most`` where it is longer."""
    vector, most = inputs["v"], step.parameters["most"]
    return combine([(min(1.0, most / (vector.norm() or most)), vector)])


@performs("random_like")
def random_like(session: Session, step: Step, inputs: Values) -> Vector:
    """A random vector of the same length."""
    return algebra.random_like(inputs["v"], seed=step.parameters["seed"])
