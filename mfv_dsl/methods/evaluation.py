"""Measuring a model on prompts, with and without a vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mfv_dsl.base.arguments import layer_of, number
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.layers import numbers_of
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.edits import Change, Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.prefix import PrefixOf, encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.finite import failure
from mfv_dsl.methods.outcomes import Outcomes, concatenate_outcomes, outcomes
from mfv_dsl.methods.selection import Head
from mfv_dsl.methods.vectors import Vector, places_text
from mfv_dsl.models.base import Backend, PromptBatch


def measure(
    backend: Backend, batches: Sequence[PromptBatch], edits: Sequence[Edit] = ()
) -> Outcomes:
    """Outcomes on all prompts of ``batches``, in their order, under ``edits``, by full passes.
    Raises MfvError (MFV5370) where the model computes no numbers."""

    def measured(rows: Rows) -> Outcomes:
        with torch.no_grad():
            logits = full_pass(backend, rows.batch, rows.edits(edits)).logits
        return outcomes(logits, rows.batch.answers)

    result = concatenate_outcomes([part for _, part in in_parts(backend, batches, measured)])
    error = failure(backend, batches, edits, result.p_answer)
    if error is not None:
        raise error
    return result


def measure_many(
    backend: Backend,
    batches: Sequence[PromptBatch],
    variants: Sequence[Sequence[Edit]],
    prefix_of: PrefixOf = encode_prefix,
) -> list[Outcomes]:
    """For each variant, a list of edits, what :func:`measure` gives; every prompt's earlier tokens
    are run once for all variants, by ``prefix_of``, unless that is
    :func:`~mfv_dsl.engine.prefix.full_passes`, which takes edits at other tokens than the last,
    too.  ``p_answer`` is NaN,
    in place of an error, where the model computes no numbers: other variants are none the worse for
    it."""

    def measured(rows: Rows) -> list[Outcomes]:
        own = [rows.edits(edits) for edits in variants]
        with torch.no_grad():
            scores = prefix_of(backend, rows.batch).scores(own)
        correct = scores.likeliest == rows.batch.answers[:, None]
        parts = brought(scores.p.double(), correct, scores.likeliest)
        p_answer, correct, likeliest = (part.numpy() for part in parts)
        return [Outcomes(*part) for part in zip(p_answer.T, correct.T, likeliest.T, strict=True)]

    if not variants:
        return []
    parts = [part for _, part in in_parts(backend, batches, measured)]
    return [concatenate_outcomes(list(part)) for part in zip(*parts, strict=True)]


#: A vector is added to a state, and nothing more.
ADD = Change("add")


def adding(
    vector: Vector, layer: int | str, scale: float, site: str | None = None, change: Change = ADD
) -> list[Edit]:
    """Edits that add ``scale`` · ``vector`` at the last token: to what ``site`` puts out in decoder
    layer ``layer``, or in each of several (``{3, 5}``); without one to the vector's own site, which
    is the residual stream behind the layer unless it was read or trained elsewhere.  For ``native``
    each head's part is added at its own layer's attention output, and each part of a vector of
    several places at its own site and layer.

    ``change`` says what else is made of a state with ``scale`` · ``vector``, such as
    ``Change("replace")``; ``project_out`` leaves the scale aside, and scaled by the states' length
    the vector is taken at length 1, of several places each part.  Raises MfvError: MFV5119 for a
    layer or scale that is none, MFV5305 where ``native`` asks for parts that the vector lacks,
    MFV5500 for a vector of several places at other layers than its own, MFV5521 for a vector or a
    part without a direction where that is what counts, MFV5522 for heads' parts that are not added.
    """
    layer, scale = layer_of(layer), number(scale, "scale")
    return [
        Edit(own, each, change.operation, _value(part, scale, change, vector, f"{own}[{each}]"),
             keep=change.keep, length=change.length, scaled_by=change.scaled_by)
        for own, each, part in _placed(vector, layer, site, change)
    ]  # fmt: skip


def _placed(
    vector: Vector, layer: int | str, site: str | None, change: Change
) -> list[tuple[str, int, torch.Tensor]]:
    """What is written where: sites and layers, each with its part of the vector, (d_model,)."""
    if parts := vector.parts_by_place():
        if layer != "native":
            raise at_own_places(vector, f"layer {layer}")
        return [(own, each, part) for (own, each), part in parts.items()]
    if layers := numbers_of(layer):
        return [(site or vector.space.site, each, vector.residual) for each in layers]
    heads, outputs = _parts(vector, "layer = native"), vector.head_projected
    assert outputs is not None
    if change.operation != "add":
        raise MfvError(
            "MFV5522", f"heads' parts, each at its own layer, are added, and this is a "
            f"{change.operation}",
            help="give a layer's number, or replace the heads' outputs by `patch`",
        )  # fmt: skip
    return [
        ("lm.attn.out", each, sum_rows(outputs, [head[0] == each for head in heads]))
        for each in sorted({head[0] for head in heads})
    ]


def _value(
    part: torch.Tensor, scale: float, change: Change, vector: Vector, where: str
) -> torch.Tensor:
    """What an edit of this change is given to write ``scale`` · ``part`` of a vector."""
    if change.operation != "project_out" and change.scaled_by == "vector":
        return scale * part
    length = float(torch.linalg.vector_norm(part.double()))
    if length == 0:
        what = "projected out" if change.operation == "project_out" else "scaled by a length"
        raise MfvError(
            "MFV5521", f"`{vector.expression or 'this vector'}` is zero at {where}, so it has no "
            f"direction to be {what}",
            help="look at how the vector is made",
        )  # fmt: skip
    return part if change.operation == "project_out" else scale / length * part


def patching(vector: Vector) -> list[Edit]:
    """Edits that replace the heads' outputs at the last token by the vector's per-head parts.
    Raises MfvError (MFV5305) for a vector without."""
    heads, means = _parts(vector, "patch"), vector.head_means
    assert means is not None
    return _replacing(heads, means)


def ablating(
    heads: Sequence[Head], head_dim: int, overall: torch.Tensor | None = None,
    site: str = "lm.attn",
) -> list[Edit]:  # fmt: skip
    """Edits that set ``heads`` of ``site`` at the last token to zero, or to ``overall``
    (layers, heads, head_dim).  ``head_dim`` is that of self-attention."""
    if overall is not None:
        values = torch.stack([overall[layer, head] for layer, head in heads])
        return _replacing(heads, values, site)
    if site == "lm.attn":
        return _replacing(heads, torch.zeros(len(heads), head_dim))
    by_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        by_layer.setdefault(layer, []).append(head)
    nothing = torch.tensor(0.0)
    return [
        Edit(site, layer, "scale", nothing, tuple(own)) for layer, own in sorted(by_layer.items())
    ]


def at_own_places(vector: Vector, wanted: str) -> MfvError:
    """MFV5500: a vector with a part for each of several places is written at these alone."""
    return MfvError(
        "MFV5500",
        f"`{vector.expression or 'this vector'}` has a part for each of several places "
        f"({places_text(vector.space.places)}), and cannot be written at {wanted}",
        help="write each part where it was read: `layer = native`; or read one layer",
    )


def sum_rows(rows: torch.Tensor, mask: Sequence[bool]) -> torch.Tensor:
    """The sum of those of ``rows`` (n, width) that ``mask`` (n,) names, (width,)."""
    return rows[torch.tensor(np.asarray(mask))].sum(0)


def _replacing(heads: Sequence[Head], values: torch.Tensor, site: str = "lm.attn") -> list[Edit]:
    edits = []
    for layer in sorted({head[0] for head in heads}):
        rows = [i for i, head in enumerate(heads) if head[0] == layer]
        numbers = tuple(heads[i][1] for i in rows)
        edits.append(Edit(site, layer, "replace", values[rows], numbers))
    return edits


def _parts(vector: Vector, wanted_by: str) -> tuple[Head, ...]:
    if vector.heads is None:
        raise MfvError(
            "MFV5305",
            f"`{vector.expression or 'this vector'}` has no per-head parts; {wanted_by} needs them",
            help="add it at a layer instead",
        )
    return vector.heads
