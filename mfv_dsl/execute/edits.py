"""The edits that a condition of an eval makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.layers import together
from mfv_dsl.engine.edits import IMAGES, LAST, Change, Edit, Gate, Positions, Span
from mfv_dsl.execute.conditions import Point
from mfv_dsl.lang.entries import PLACED
from mfv_dsl.lang.writing import SITES, is_text
from mfv_dsl.methods.evaluation import ablating, adding, at_own_places, patching
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.models.sites import SiteTable

#: The words of `position`.
_POSITIONS: Mapping[str, Positions] = {"last": LAST, "all": None, "images": IMAGES}


def edits_of(
    parameters: Mapping[str, Any], inputs: Mapping[str, Any], point: Point, sites: SiteTable,
    head_dim: int,
) -> list[Edit]:  # fmt: skip
    """The edits of the condition ``point`` of an evaluation with these parameters and values of
    inputs, none where it writes nothing; ``sites`` and ``head_dim`` are the model's.

    Raises MfvError: MFV5109 for a blend or an adapter, MFV5307 where there are no heads to ablate,
    MFV5500 and MFV5521 for vectors that cannot be written or looked for as is asked, and what
    stands in the place of an input that failed.
    """
    edits = _written(parameters, inputs, point, sites, head_dim)
    if "when" not in inputs:
        return edits
    gate = _gate(parameters, inputs["when"])
    return [replace(edit, when=gate) for edit in edits]


def _gate(parameters: Mapping[str, Any], vector: Vector | MfvError) -> Gate:
    if isinstance(vector, MfvError):
        raise vector
    if vector.space.places:
        raise at_own_places(vector, "the state that `when` looks at")
    if not bool(vector.residual.any()):
        raise MfvError(
            "MFV5521", f"`{vector.expression or 'this vector'}` is zero, so that `when` has no "
            "direction to look along",
            help="look at how the vector is made",
        )  # fmt: skip
    return Gate(vector.residual, parameters["when_layer"], float(parameters["above"]))


def _written(
    parameters: Mapping[str, Any], inputs: Mapping[str, Any], point: Point, sites: SiteTable,
    head_dim: int,
) -> list[Edit]:  # fmt: skip
    """The edits without the gate."""
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
    if mode in PLACED:
        added = added_at(parameters, treatment, point, sites)
        if not parameters.get("ablates"):
            return added
        ablated = _ablating(inputs, point.treatment.ablated, head_dim)
        return [*at_position(parameters, ablated), *added]
    if mode == "patch":
        return at_position(parameters, patching(treatment))
    return at_position(parameters, _ablating(inputs, point.treatment.name, head_dim))


def added_at(
    parameters: Mapping[str, Any], vector: Vector, point: Point, sites: SiteTable
) -> list[Edit]:
    """The edits that write a vector where and as an evaluation with these parameters does."""
    mode = parameters.get("mode", "add")
    assert point.layer is not None and isinstance(point.scale, int | float | None)
    site = SITES[parameters.get("site", "residual")]
    layer = point.layer
    if layer == "all":  # a site that is not known is refused where the edits are bound
        layer = together((sites.get(site) or sites["lm.resid"]).layers)
    change = Change(
        "add" if mode == "blend" else mode, float(parameters.get("keep", 1)),
        parameters.get("length", "free"), parameters.get("scale_by", "vector"),
    )  # fmt: skip
    scale = 1.0 if point.scale is None else point.scale
    return at_position(parameters, adding(vector, layer, scale, site, change))


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
    return ablating(heads.chosen, head_dim, inputs.get("overall_mean"), heads.site)
