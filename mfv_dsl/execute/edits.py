"""The edits that a condition of an eval makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import IMAGES, LAST, Edit, Positions, Span
from mfv_dsl.execute.conditions import Point
from mfv_dsl.lang.writing import SITES, is_text
from mfv_dsl.methods.evaluation import ablating, adding, patching
from mfv_dsl.methods.vectors import Vector

#: The words of `position`.
_POSITIONS: Mapping[str, Positions] = {"last": LAST, "all": None, "images": IMAGES}


def edits_of(
    parameters: Mapping[str, Any], inputs: Mapping[str, Any], point: Point, head_dim: int
) -> list[Edit]:
    """The edits of the condition ``point`` of an evaluation with these parameters and values of
    inputs, none where it writes nothing.

    Raises MfvError: MFV5109 for a blend or an adapter, MFV5307 where there are no heads to ablate,
    and what stands in the place of an input that failed.
    """
    mode = parameters.get("mode", "none")
    if mode == "none":
        return []
    if mode == "blend":
        raise MfvError(
            "MFV5109", "a blend is another vector for every item, so there is none to attach"
        )
    if mode == "classify":
        raise MfvError(
            "MFV5109", "heads that classify are read and nothing is written, so there is nothing "
            "to attach",
        )  # fmt: skip
    if mode == "adapter":
        raise MfvError("MFV5109", "an adapter is no edit, so there is none to attach")
    treatment = inputs[point.treatment.name]
    if isinstance(treatment, MfvError):
        raise treatment
    if mode == "add":
        added = added_at(parameters, treatment, point)
        if not parameters.get("ablates"):
            return added
        ablated = _ablating(inputs, point.treatment.ablated, head_dim)
        return [*at_position(parameters, ablated), *added]
    if mode == "patch":
        return at_position(parameters, patching(treatment))
    return at_position(parameters, _ablating(inputs, point.treatment.name, head_dim))


def added_at(parameters: Mapping[str, Any], vector: Vector, point: Point) -> list[Edit]:
    """The edits that add a vector where an evaluation with these parameters does."""
    assert point.layer is not None and point.scale is not None
    site = SITES[parameters.get("site", "residual")]
    return at_position(parameters, adding(vector, point.layer, point.scale, site))


def at_position(parameters: Mapping[str, Any], edits: Sequence[Edit]) -> list[Edit]:
    """``edits`` at the tokens that an evaluation with these parameters writes to."""
    positions = positions_of(parameters)
    return [replace(edit, positions=positions) for edit in edits]


def positions_of(parameters: Mapping[str, Any]) -> Positions:
    """The tokens that a step with these parameters writes to."""
    position = parameters.get("position", "last")
    return Span(position) if is_text(position) else _POSITIONS[position]


def _ablating(inputs: Mapping[str, Any], name: str, head_dim: int) -> list[Edit]:
    heads = inputs[name]
    if isinstance(heads, MfvError):
        raise heads
    if not heads.chosen:
        raise MfvError("MFV5307", "there are no heads to ablate: the set came out empty")
    return ablating(heads.chosen, head_dim, inputs.get("overall_mean"))
