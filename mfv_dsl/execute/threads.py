"""How many threads a processor computes with: sums in another number may have other last bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.plan.steps import Plan

#: Parameters of a model below which more threads than one bring little.
_SMALL = 50_000_000


def threads_asked() -> int | None:
    """The threads that ``OMP_NUM_THREADS`` asks for; None where it asks for none."""
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(named) if named.isascii() and named.isdecimal() and int(named) else None


def threads_for(plan: Plan) -> int | None:
    """How many threads ``plan`` is run with where nobody asks for a number: one if all of its
    models are small, as the bundled ones are, so that results are the same whoever runs it beside
    whatever else; None, as many as torch takes, if one is larger."""
    models = [model.facts for model in plan.models.values()]
    is_small = all(isinstance(one, ModelFacts) and 0 < one.parameters < _SMALL for one in models)
    return 1 if is_small else None


@contextmanager
def threads_of(plan: Plan) -> Iterator[None]:
    """Within, torch computes with the threads of ``plan``: as many as are asked for, else those of
    :func:`threads_for`."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_asked() or threads_for(plan) or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
