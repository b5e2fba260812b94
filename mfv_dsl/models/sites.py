"""Sites: named places in a model where activations are read and written.

A model is a table of sites, one line each.  The engine knows nothing else of a model's inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.families import FAMILIES, Family, ModulePaths, family_of

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Site:
    """One kind of place.

    ``path`` is the module's path with ``{layer}``; ``point`` says whether its input or its output
    is meant.  A site with ``heads`` holds ``heads`` parts of ``width`` side by side in the last
    dimension; without, the last dimension is one part of ``width``.  ``every``: of modules that
    stand before each so many layers, whose numbers are ``layer // every``.  ``of_pictures``: what
    passes are the places of a picture that is being encoded, (..., places, width), and not the
    tokens of prompts.
    """

    path: str
    point: Literal["input", "output"]
    layers: tuple[int, ...]
    width: int
    heads: int | None = None
    every: int = 1
    of_pictures: bool = False

    def module_path(self, layer: int) -> str:
        """The path of the module that is meant in ``layer``."""
        return self.path.format(layer=layer // self.every)


SiteTable: TypeAlias = Mapping[str, Site]
#: How a user tells the sites of a model of a family that is not in the table.
SiteSource: TypeAlias = "ModulePaths | Callable[[nn.Module], SiteTable]"


def flamingo_sites(
    family: Family, facts: ModelFacts, cross_attention: Sequence[tuple[int, int, int]] = ()
) -> SiteTable:
    """The site table of a Flamingo over a language model of ``family``.

    ``cross_attention`` lists (layer, heads, head_dim) of the gated cross-attention blocks.
    """
    block = f"lang_encoder.{family.layers}.{{layer}}"
    table = _decoder_sites(
        family, block, f"{block}.decoder_layer", facts.n_layers, facts.d_model, facts.n_heads,
        facts.head_dim,
    )  # fmt: skip
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


def flamingo_paths(model_type: str) -> dict[str, str]:
    """The path of each site's module in a Flamingo over a language model of this kind."""
    facts = ModelFacts(1, 1, 1, 1, "")
    return {name: site.path for name, site in flamingo_sites(family_of(model_type), facts).items()}


def find_sites(model: nn.Module, source: SiteSource | None = None) -> SiteTable:
    """The site table of a user's own model: a transformers model or an ``open_flamingo.Flamingo``.

    Without ``source`` its parts are looked for where the families of
    :data:`~mfv_dsl.models.families.FAMILIES` have them.  Any model whose decoder layers are there
    has ``lm.resid``; with a known projection it has ``lm.attn`` and ``lm.attn.out`` too, and
    ``lm.mlp`` where its family is known by name.  For another model ``source`` is the paths of its
    modules, ``layers`` from the model and the others from a decoder layer, or a function that makes
    the table from the model::

        find_sites(model, ModulePaths(layers="model.blocks", projection="attn.proj"))

    Raises MfvError (MFV5108) where the layers are not found, where there is no module at a given
    path, and where the configuration does not give the sizes.
    """
    if isinstance(source, ModulePaths):
        for path in (source.projection, source.mlp):
            first = f"{source.layers}.0" + ("" if path is None else f".{path}")
            if not _has(model, first):
                raise _unknown(model, f"a {type(model).__name__} has no module {first}")
        return _sites(model, source, source.layers, "")
    if source is not None:
        return source(model)
    part = ".decoder_layer" if hasattr(model, "lang_encoder") else ""
    places = [(row, path) for row in _rows(model) for path in _places(row) if _has(model, path)]
    if not places:
        raise _unknown(
            model,
            f"the decoder layers of a {type(model).__name__} are not where any known architecture "
            "has them",
        )
    for row, path in places:
        if _has(model, f"{path}.0{part}.{row.projection}"):
            return _sites(model, row, path, part)
    return _sites(model, ModulePaths(places[0][1]), places[0][1], part)


def unknown_projection(model: nn.Module) -> MfvError:
    """MFV5108: heads are to be edited in a model whose attention's projection is not known."""
    return _unknown(
        model,
        f"the attention's output projection of a {type(model).__name__} is not where any known "
        "architecture has it, so its heads cannot be edited",
    )


def _unknown(model: nn.Module, problem: str) -> MfvError:
    places = dict.fromkeys(row.layers for row in FAMILIES.values())
    return MfvError(
        "MFV5108",
        problem,
        help="say where they are by `sites=ModulePaths(layers=..., projection=...)` of "
        "mfv_dsl.models.families:\nthe decoder layers' path in the model, the attention's output "
        "projection's in a layer;\nor by `sites=` a function that makes the site table from the "
        f"model\nknown places of decoder layers: {', '.join(places)}",
    )


def _rows(model: Any) -> list[Family]:
    """The rows that may be the model's: its own by name, then all others.  What lies behind an
    unknown model's MLP is not known, so its output may not be what the residual stream gets."""
    own = FAMILIES.get(getattr(_text_config(model), "model_type", ""))
    others = [replace(row, mlp=None) for row in dict.fromkeys(FAMILIES.values())]
    return others if own is None else [own, *others]


def _places(row: Family) -> list[str]:
    """Where a model, or a larger one around it, keeps the decoder layers of a family."""
    without_head = row.layers.removeprefix(f"{row.core}.")
    around = ("", "lang_encoder.", "language_model.")
    return [*(f"{holder}{row.layers}" for holder in around), f"model.language_model.{without_head}"]


def _has(model: nn.Module, path: str) -> bool:
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True


def _sites(model: nn.Module, paths: ModulePaths, layers: str, part: str) -> SiteTable:
    """The table of ``model``, whose decoder layers are at ``layers``, in each under ``part``."""
    config = _text_config(model)
    d_model = _size(config, "hidden_size", "d_model")
    heads = _size(config, "num_attention_heads", "n_heads")
    if d_model is None or heads is None:
        raise _unknown(
            model,
            f"the configuration of a {type(model).__name__} does not give hidden_size and "
            "num_attention_heads",
        )
    width = d_model // heads
    if paths.projection is not None:
        projection: Any = model.get_submodule(f"{layers}.0{part}.{paths.projection}")
        inputs = getattr(projection, "in_features", None) or projection.weight.shape[0]
        width = int(inputs) // heads
    count = sum(1 for _ in model.get_submodule(layers).children())
    block = f"{layers}.{{layer}}"
    return _decoder_sites(paths, block, f"{block}{part}", count, d_model, heads, width)


def _text_config(model: Any) -> Any:
    """The language model's configuration, None where there is none."""
    config = getattr(getattr(model, "lang_encoder", model), "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _size(config: Any, *names: str) -> int | None:
    sizes = (getattr(config, name, None) for name in names)
    return next((int(size) for size in sizes if size is not None), None)


def _decoder_sites(
    paths: ModulePaths, block: str, decoder: str, n_layers: int, d_model: int, heads: int,
    head_dim: int,
) -> dict[str, Site]:  # fmt: skip
    """Sites of ``n_layers`` decoder layers; ``block`` is the path of a whole one, ``decoder`` of
    what ``paths`` count from."""
    layers = tuple(range(n_layers))
    table = {}
    if paths.projection is not None:
        projection = f"{decoder}.{paths.projection}"
        table["lm.attn"] = Site(projection, "input", layers, head_dim, heads)
        table["lm.attn.out"] = Site(projection, "output", layers, d_model)
    if paths.mlp is not None:
        table["lm.mlp"] = Site(f"{decoder}.{paths.mlp}", "output", layers, d_model)
    table["lm.resid"] = Site(block, "output", layers, d_model)
    return table
