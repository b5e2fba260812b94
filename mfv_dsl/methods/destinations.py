"""Where a training writes its vector: one place of the model, or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.layers import numbers_of
from mfv_dsl.engine.edits import LAST, Edit, Positions
from mfv_dsl.engine.hooks import find_site
from mfv_dsl.methods.vectors import Vector, space_at
from mfv_dsl.models.sites import SiteTable

#: A site and a layer.
Place: TypeAlias = tuple[str, int]
#: What adds to the residual stream what heads write.
HEADS_WRITE = "lm.attn.out"


@dataclass(frozen=True)
class Destination:
    """The ``places`` that a vector is added at, each getting a part of it, and the tokens there.
    ``by_head``: the part of a layer is what the vector's heads of that layer write."""

    places: tuple[Place, ...]
    positions: Positions = LAST
    by_head: bool = False

    def adding(self, parts: torch.Tensor) -> list[Edit]:
        """Edits that add ``parts`` (places, d_model), or (prompts, places, d_model)."""
        return [
            Edit(site, layer, "add", parts[..., number, :], positions=self.positions)
            for number, (site, layer) in enumerate(self.places)
        ]

    def parts_of(self, vector: Vector) -> torch.Tensor:
        """What ``vector`` adds at each place, (places, d_model)."""
        if not self.by_head:
            return vector.residual.view(len(self.places), -1)
        assert vector.heads is not None and vector.head_projected is not None
        rows = torch.tensor([self.row(layer) for layer, _ in vector.heads], dtype=torch.long)
        parts = vector.residual.new_zeros(len(self.places), len(vector.residual))
        return parts.index_add(0, rows, vector.head_projected)

    def row(self, layer: int) -> int:
        """The number of the place that the heads of ``layer`` write at."""
        return self.places.index((HEADS_WRITE, layer)) if self.by_head else 0

    def start(self, vector: Vector) -> Vector:
        """The vector that a training begins with, as one of the places that it is trained at: a
        vector of one place stands at each of several."""
        n = len(self.places)
        if self.by_head or vector.space.places:
            return vector
        space = space_at(vector.space, self.places)
        if n == 1:
            return replace(vector, space=space)
        return Vector(vector.residual.repeat(n), space, vector.expression)


def destination_of(
    sites: SiteTable, start: Vector | str, layer: int | str,
    site_names: Sequence[str], positions: Positions = LAST,
) -> Destination:  # fmt: skip
    """Where a vector that begins with ``start`` is written.

    With ``layer`` ``native`` a start of several places is written at these, and one of heads by its
    heads.  A layer, several (``{3, 5}``) or ``all`` that have the site, at each of ``site_names``,
    are the places otherwise; a start of several places fits no others than its own.

    Raises MfvError: MFV5540 where ``native`` says nothing of a start, MFV5541 for a start of other
    places, MFV5103 for a layer without the site.
    """
    own = start.space.places if isinstance(start, Vector) else ()
    if layer == "native":
        if own:
            return Destination(own, positions)
        if isinstance(start, Vector) and start.heads:
            layers = sorted({head[0] for head in start.heads})
            return Destination(
                tuple((HEADS_WRITE, number) for number in layers), positions, by_head=True
            )
        raise MfvError(
            "MFV5540", f"`layer = native` does not say where {_name(start)} is written: it belongs "
            "to no places of its own, and has no per-head parts",
            help="give layers, `{3, 5}` or `all`; or begin with states of several layers",
        )  # fmt: skip
    places = []
    for name in site_names:
        there = sites[name].layers if name in sites else ()
        for number in there if layer == "all" else numbers_of(layer):
            find_site(sites, name, number)
            places.append((name, number))
    places.sort(key=lambda place: (place[1], place[0]))
    if own and own != tuple(places):
        raise MfvError(
            "MFV5541", f"{_name(start)} has parts for other places than those that are trained",
            help="write `layer = native`, and leave `site` out",
        )  # fmt: skip
    return Destination(tuple(places), positions)


def _name(start: Vector | str) -> str:
    if isinstance(start, Vector):
        return f"`{start.expression}`" if start.expression else "the start"
    return f"a {start} start"
