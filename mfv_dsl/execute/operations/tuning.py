"""The training of a vector."""

from __future__ import annotations

from dataclasses import fields
from functools import partial

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_in_turn
from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session
from mfv_dsl.lang.tunes import TRAINING_SPLIT
from mfv_dsl.methods import tuning
from mfv_dsl.methods.tuning import Settings, Tuned
from mfv_dsl.plan.descriptions import OFF_TASK_SHOTS
from mfv_dsl.plan.steps import Step


@performs("tune")
def tune(session: Session, step: Step, inputs: Values) -> Tuned:
    """Train the vector of one relation; every finished epoch is kept as a part of the step."""
    p = step.parameters
    train = session.prompts(step, p["items"], TRAINING_SPLIT, p["shots"])
    validation = session.prompts(step, p["select_items"], p["select_on"], p["shots"])
    off_task = _off_task(session, step) if p["kl"] else []
    batches = list(session.batches(step, train, p["batch"]))  # all of them, in every epoch
    return tuning.tune(
        session.backend(step),
        batches,
        list(session.batches(step, validation)),
        inputs["start"] if "start" in inputs else p["start"],
        Settings(**{field.name: p[field.name] for field in fields(Settings)}),
        list(session.batches(step, off_task, p["batch"])),
        keep=partial(session.part, step),
        progress=session.listener.begin(step.label, p["epochs"] * len(batches)),
    )


def _off_task(session: Session, step: Step) -> list[Prompt]:
    """As many few-shot prompts of other relations as there are training prompts, relation by
    relation in turn, from the same split."""
    p = step.parameters
    return draw_in_turn(
        session.dataset(step), p["off_task"], TRAINING_SPLIT, p["items"], OFF_TASK_SHOTS, p["seed"]
    )
