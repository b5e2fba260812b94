"""Sites: named places in a model where activations are read and written.

A model is a table of sites, one line each.  The engine knows nothing else of a model's inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.families import Family


@dataclass(frozen=True)
class Site:
    """One kind of place.

    ``path`` is the module's path with ``{layer}``; ``point`` says whether its input or its output
    is meant.  A site with ``heads`` holds ``heads`` parts of ``width`` side by side in the last
    dimension; without, the last dimension is one part of ``width``.
    """

    path: str
    point: Literal["input", "output"]
    layers: tuple[int, ...]
    width: int
    heads: int | None = None


SiteTable: TypeAlias = Mapping[str, Site]


def flamingo_sites(
    family: Family, facts: ModelFacts, cross_attention: Sequence[tuple[int, int, int]] = ()
) -> SiteTable:
    """The site table of a Flamingo over a language model of ``family``.

    ``cross_attention`` lists (layer, heads, head_dim) of the gated cross-attention blocks.
    """
    layers = tuple(range(facts.n_layers))
    block = f"lang_encoder.{family.layers}.{{layer}}"
    projection = f"{block}.decoder_layer.{family.projection}"
    mlp = f"{block}.decoder_layer.{family.mlp}"
    table = {
        "lm.attn": Site(projection, "input", layers, facts.head_dim, facts.n_heads),
        "lm.attn.out": Site(projection, "output", layers, facts.d_model),
        "lm.mlp": Site(mlp, "output", layers, facts.d_model),
        "lm.resid": Site(block, "output", layers, facts.d_model),
    }
    if cross_attention:
        _, heads, head_dim = cross_attention[0]
        table["xattn"] = Site(
            f"{block}.gated_cross_attn_layer.attn.to_out",
            "input",
            tuple(layer for layer, _, _ in cross_attention),
            head_dim,
            heads,
        )
    return table
