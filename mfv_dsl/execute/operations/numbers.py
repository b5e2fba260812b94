"""Numbers that are measured on vectors or calculated of such."""

from __future__ import annotations

from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session
from mfv_dsl.methods import algebra
from mfv_dsl.plan.arithmetic import calculate
from mfv_dsl.plan.steps import Step


@performs("norm")
def norm(session: Session, step: Step, inputs: Values) -> float:
    """A vector's Euclidean length."""
    length: float = inputs["v"].norm()
    return length


@performs("dot")
def dot(session: Session, step: Step, inputs: Values) -> float:
    """The inner product of two vectors."""
    return algebra.dot(inputs["v"], inputs["w"])


@performs("cosine")
def cosine(session: Session, step: Step, inputs: Values) -> float:
    """The cosine of the angle between two vectors."""
    return algebra.cosine(inputs["v"], inputs["w"])


@performs("arithmetic")
def arithmetic(session: Session, step: Step, inputs: Values) -> float:
    """Arithmetic on numbers, each known to the plan or computed by a step."""
    sides = {**step.parameters, **inputs}
    return calculate(sides["operator"], sides["left"], sides["right"])
