"""Evals whose answers are given by votes of heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.engine.hooks import find_site
from mfv_dsl.execute.conditions import Point
from mfv_dsl.execute.operations.activations import outputs_on
from mfv_dsl.execute.operations.registry import Values
from mfv_dsl.execute.session import Session
from mfv_dsl.methods.answers import Answers
from mfv_dsl.methods.head_outputs import HeadOutputs, Support
from mfv_dsl.methods.outcomes import Outcomes
from mfv_dsl.methods.selection import Head, Heads
from mfv_dsl.models.base import Backend
from mfv_dsl.plan.steps import Step


def classified(
    session: Session, step: Step, inputs: Values, points: Sequence[Point], prompts: list[Prompt],
    name: str = "",
) -> tuple[dict[Point, Answers], dict[Point, MfvError]]:  # fmt: skip
    """The answers of every condition, and the errors of those that have none; the names of the
    step's parts begin with ``name``.

    The classes are the answers of the examples.  Each head of a condition votes for one of them
    (:class:`~mfv_dsl.methods.head_outputs.Support`); the class with the most votes is the answer,
    of equals the one that comes first among the examples (arXiv:2412.00142).  The probability of
    an answer is its share of the votes.  An item whose answer no example has is answered wrongly.
    """
    backend, known = session.backend(step), inputs["support"]
    support = Support.of(known.outputs, known.answers)
    sites = {h.site for h in inputs.values() if isinstance(h, Heads)}  # one, as its plan sees to
    site = next(iter(sites), None)
    asked = outputs_on(session, step, prompts, _untold, site, name)
    answers: dict[Point, Answers] = {}
    errors: dict[Point, MfvError] = {}
    for point in points:
        heads = inputs[point.treatment.name]
        if isinstance(heads, MfvError):
            errors[point] = heads
            continue
        try:
            answers[point] = _voted(backend, support, asked, _there(backend, heads))
        except MfvError as error:
            errors[point] = error
    return answers, errors


def _untold(_: int) -> None:
    """Progress is told by condition."""


def _there(backend: Backend, heads: Heads) -> Sequence[Head]:
    """The heads of a set, which may have been chosen on another model.

    Raises MfvError: MFV5307 for no heads, MFV5103 and MFV5104 for heads that the model lacks.
    """
    if not heads.chosen:
        raise MfvError("MFV5307", "there are no heads to classify by: the set came out empty")
    for layer, head in heads.chosen:
        if head >= (find_site(backend.sites, heads.site, layer).heads or 0):
            raise MfvError("MFV5104", f"there is no head {head} in layer {layer}")
    return heads.chosen


def _voted(
    backend: Backend, support: Support, asked: HeadOutputs, heads: Sequence[Head]
) -> Answers:
    votes = support.votes(asked.outputs, heads).numpy()  # (prompts, classes)
    names = [support.classes[place] for place in votes.argmax(1)]
    places = {name: place for place, name in enumerate(support.classes)}
    share = [
        votes[row, places[answer]] / len(heads) if answer in places else 0.0
        for row, answer in enumerate(asked.answers)
    ]
    correct = [name == answer for name, answer in zip(names, asked.answers, strict=True)]
    said = backend.first_tokens(names)
    return Answers(Outcomes(np.array(share), np.array(correct), np.array(said)), tuple(names))
