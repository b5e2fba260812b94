"""Where activations of a vision-language model are read and written."""

from __future__ import annotations

from typing import Any

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.sites import Site, SiteTable
from mfv_dsl.models.vlm.architectures import Architecture

#: Where, in a vision tower, its layers may be.
_VISION_LAYERS = (
    "blocks", "encoder.layers", "encoder.layer", "transformer.layers", "layers",
    "vision_model.encoder.layers",
)  # fmt: skip


def site_table(model: Any, row: Architecture, facts: ModelFacts) -> SiteTable:
    """The sites of ``model``, of the architecture ``row``: those of its language model, of its
    cross-attention where it has some, and where its pictures are encoded."""
    text = model.get_submodule(row.text)
    block = f"{row.text}.layers.{{layer}}"
    every = tuple(range(facts.n_layers))
    crossing = tuple(n for n in every if hasattr(text.layers[n], "cross_attn"))
    selfs = tuple(n for n in every if n not in crossing)
    head_dim, heads, d_model = facts.head_dim, facts.n_heads, facts.d_model
    table = {
        "lm.attn": Site(f"{block}.self_attn.o_proj", "input", selfs, head_dim, heads),
        "lm.attn.out": Site(f"{block}.{row.attention_output}", "output", selfs, d_model),
        "lm.mlp": Site(f"{block}.{row.mlp_output}", "output", every, d_model),
        "lm.resid": Site(block, "output", every, d_model),
    }
    if crossing:
        path = f"{block}.cross_attn.o_proj"
        table["xattn"] = Site(path, "input", crossing, head_dim, heads)
    if row.between is not None:  # block i stands before layer i · every
        path, step = (
            f"{row.text}.{row.between}.{{layer}}.cross_attn.o_proj",
            text.cross_layer_interval,
        )
        before = tuple(n * step for n in range(len(getattr(text, row.between))))
        table["xattn"] = Site(path, "input", before, head_dim, heads, every=step)
    return table | _picture_sites(model, row, d_model)


def _picture_sites(model: Any, row: Architecture, d_model: int) -> dict[str, Site]:
    """The layers of the vision tower and what follows it, as far as the model has them."""
    config = getattr(model.config, "vision_config", None)
    width = getattr(config, "embed_dim", None) or getattr(config, "hidden_size", None)
    table = {}
    places = (f"{row.vision}.{part}" for part in _VISION_LAYERS)
    path = next((path for path in places if _has(model, path)), None)
    if path is not None and width is not None:
        layers = tuple(range(len(model.get_submodule(path))))
        table["vision"] = Site(f"{path}.{{layer}}", "output", layers, width, of_pictures=True)
    if _has(model, row.projector):
        size = width if row.features == "perceiver" else d_model
        if size is not None:
            table["projector"] = Site(row.projector, "output", (0,), size, of_pictures=True)
    return table


def _has(model: Any, path: str) -> bool:
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True
