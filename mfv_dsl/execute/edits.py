"""The edits that a condition of an eval makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import Edit
from mfv_dsl.execute.conditions import Point
from mfv_dsl.methods.evaluation import ablating, adding, patching


def edits_of(
    parameters: Mapping[str, Any], inputs: Mapping[str, Any], point: Point, head_dim: int
) -> list[Edit]:
    """The edits of the condition ``point`` of an evaluation with these parameters and values of
    inputs, none where it writes nothing.

    Raises MfvError: MFV5109 for a blend, MFV5307 where there are no heads to ablate, and what
    stands in the place of an input that failed.
    """
    mode = parameters.get("mode", "none")
    if mode == "none":
        return []
    if mode == "blend":
        raise MfvError(
            "MFV5109", "a blend is another vector for every item, so there is none to attach"
        )
    treatment = inputs[point.treatment.name]
    if isinstance(treatment, MfvError):
        raise treatment
    if mode == "add":
        assert point.layer is not None and point.scale is not None
        added = adding(treatment, point.layer, point.scale)
        if not parameters.get("ablates"):
            return added
        return [*_ablating(inputs, point.treatment.ablated, head_dim), *added]
    if mode == "patch":
        return patching(treatment)
    return _ablating(inputs, point.treatment.name, head_dim)


def _ablating(inputs: Mapping[str, Any], name: str, head_dim: int) -> list[Edit]:
    heads = inputs[name]
    if isinstance(heads, MfvError):
        raise heads
    if not heads.chosen:
        raise MfvError("MFV5307", "there are no heads to ablate: the set came out empty")
    return ablating(heads.chosen, head_dim, inputs.get("overall_mean"))
