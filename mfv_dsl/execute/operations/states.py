"""Rows of states, and what is made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt
from mfv_dsl.engine.edits import IMAGES, Span
from mfv_dsl.engine.positions import ALL, DEMONSTRATIONS, Told
from mfv_dsl.execute.operations.registry import Values, performs, performs_together
from mfv_dsl.execute.session import Session
from mfv_dsl.methods import states as methods
from mfv_dsl.methods.states import States
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.plan.steps import Step


@performs_together("states")
def states(
    session: Session, steps: Sequence[Step], inputs: Sequence[Values]
) -> list[States | MfvError]:
    """What the model holds at the places of several steps, in the same passes over the prompts."""
    first = steps[0]
    p, dataset = first.parameters, session.dataset(first)
    every = sorted({place for step in steps for place in _places(step)}, key=lambda at: at[::-1])
    try:
        prompts = session.prompts(first, p["trials"], p["split"], p["shots"])
        if p["corrupt"]:
            relations = None if p["pool"] is None else tuple(p["pool"])
            prompts = [
                corrupt(prompt, p["corrupt"], dataset, p["split"], p["seed"], relations)
                for prompt in prompts
            ]
        progress = session.listener.begin(", ".join(step.label for step in steps), len(prompts))

        def rows(chunk: list[Prompt]) -> methods.Rows:
            return methods.read_rows(
                session.backend(first), session.batches(first, chunk), every, _told(p["position"]),
                progress,
            )  # fmt: skip

        name = hashlib.sha256(" ".join(step.key for step in steps).encode()).hexdigest()
        parts = session.over_prompts(first, prompts, rows, f"{name} ", progress)
        read = methods.states_of(
            session.backend(first), parts, methods.queries_of(prompts), every, p["correct_only"]
        )
    except MfvError as error:
        return [error] * len(steps)
    if len(steps) == 1:
        return [read]
    return [methods.at_places(read, every, _places(step)) for step in steps]


def _places(step: Step) -> list[tuple[str, int]]:
    return [(site, layer) for site, layer in step.parameters["places"]]


def _told(position: str) -> Told | None:
    """The tokens that a position means, None for the last."""
    if position == "last":
        return None
    words: dict[str, Told] = {"all": ALL, "images": IMAGES, "demonstrations": DEMONSTRATIONS}
    return words.get(position) or Span(position)


@performs("mean_states")
def mean_states(session: Session, step: Step, inputs: Values) -> Vector:
    """The mean of the rows."""
    return methods.mean_of(inputs["states"], step.label)


@performs("pca")
def pca(session: Session, step: Step, inputs: Values) -> Vector:
    """A principal direction of the rows."""
    component = step.parameters["component"]
    return methods.principal_component(inputs["states"], component, step.label)


@performs("probe")
def probe(session: Session, step: Step, inputs: Values) -> Vector:
    """The direction that tells the rows of two states apart."""
    return methods.probe_direction(inputs["states"], inputs["others"], step.label)
