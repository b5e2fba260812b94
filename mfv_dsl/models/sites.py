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
from mfv_dsl.models.module_search import (
    D_MODEL,
    N_HEADS,
    config_of,
    find_layers,
    find_projection,
    has_module,
    heads_of,
    is_softmax_attention,
    linear_sizes,
    module_lists,
    named_projections,
    size_of,
    used_once,
)

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


#: Models in which states are (tokens, rows, width).
_TOKENS_FIRST = ("xlnet",)
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
        family, block, f"{block}.decoder_layer", tuple(range(facts.n_layers)), facts.d_model,
        facts.n_heads, facts.head_dim,
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
        table["xattn.mlp"] = Site(
            f"{block}.gated_cross_attn_layer.ff", "output", table["xattn"].layers, facts.d_model
        )
    return table


def flamingo_paths(model_type: str) -> dict[str, str]:
    """The path of each site's module in a Flamingo over a language model of this kind."""
    facts = ModelFacts(1, 1, 1, 1, "")
    return {name: site.path for name, site in flamingo_sites(family_of(model_type), facts).items()}


def find_sites(
    model: nn.Module, source: SiteSource | None = None, attention_output: str | None = None
) -> SiteTable:
    """The site table of a user's own model: a transformers model or an ``open_flamingo.Flamingo``.

    Without ``source`` its parts are looked for where the families of
    :data:`~mfv_dsl.models.families.FAMILIES` have them, then for a list of as many modules as the
    configuration has layers, and in them for a linear map from all heads to the residual stream
    with the usual name.  What is found has ``lm.resid``; with a projection also ``lm.attn`` and
    ``lm.attn.out``, and ``lm.mlp`` where the family is known by name.  ``attention_output`` says
    which module of a decoder layer is the projection: its path there, or the end of it.  For
    another model ``source`` is the paths of its modules, ``layers`` from the model and the others
    from a decoder layer, or a function that makes the table from the model::

        find_sites(model, ModulePaths(layers="model.blocks", projection="attn.proj"))

    Raises MfvError (MFV5108) where the layers are not found, where there is no module at a given
    path or it is no linear map from heads to the residual stream, for a model of an encoder and a
    decoder, and where the configuration does not give the sizes.
    """
    if source is not None and not isinstance(source, ModulePaths):
        return source(model)
    part = ".decoder_layer" if hasattr(model, "lang_encoder") else ""
    paths, layers = (source, source.layers) if source is not None else _paths_of(model, part)
    if attention_output is not None:
        paths = replace(paths, projection=_named(model, f"{layers}.0{part}", attention_output))
    if source is not None:
        part = ""
        for path in (paths.projection, paths.mlp):
            first = f"{layers}.0" + ("" if path is None else f".{path}")
            if not has_module(model, first):
                raise _unknown(model, f"a {type(model).__name__} has no module {first}")
    given = source is not None or attention_output is not None
    return _sites(model, paths, layers, part, given)


def unknown_projection(model: nn.Module, sites: SiteTable) -> MfvError:
    """MFV5108: heads are to be edited in a model whose attention's projection is not known;
    ``sites`` are those that are."""
    return _unknown(
        model,
        f"the attention's output projection of a {type(model).__name__} is not where any known "
        "architecture has it, so its heads cannot be edited",
        (f"sites that can be edited: {', '.join(sites)}",),
    )


def _unknown(model: nn.Module, problem: str, notes: Sequence[str] = ()) -> MfvError:
    lists = [
        f"{path} ({len(modules)} of {type(modules[0]).__name__})"
        for path, modules in module_lists(model).items()
    ]
    listed = ", ".join(lists[:8]) + (" and more" if len(lists) > 8 else "")
    return MfvError(
        "MFV5108",
        problem,
        help="say where they are by `sites=ModulePaths(layers=..., projection=...)` of "
        "mfv_dsl.models.families:\nthe decoder layers' path in the model, the attention's output "
        'projection\'s in a layer;\nwhere the layers are found, `attention_output="out_proj"` '
        "names the projection alone;\nor by `sites=` a function that makes the site table from "
        f"the model\nlists of modules that it has: {listed or 'none'}",
        notes=notes,
    )


def _paths_of(model: nn.Module, part: str) -> tuple[ModulePaths, str]:
    """Where a model keeps its parts, and the path of its decoder layers."""
    kind, config = type(model).__name__, config_of(model)
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise _unknown(
            model, f"a {kind} has an encoder and a decoder, and which of them is meant is not known"
        )
    if getattr(config, "model_type", "") in _TOKENS_FIRST:
        raise _unknown(model, f"the states of a {kind} are (tokens, rows, width), not rows first")
    own = FAMILIES.get(getattr(config, "model_type", ""))
    for path in _places(own) if own is not None else ():
        if own is not None and has_module(model, f"{path}.0{part}.{own.projection}"):
            return own, path
    places = [path for row in dict.fromkeys(FAMILIES.values()) for path in _places(row)]
    layers = next((path for path in places if has_module(model, f"{path}.0")), None)
    if layers is None and _is_headless(model):
        raise _unknown(model, f"a {kind} has no output head, so it is a part of a model")
    layers = layers or find_layers(model, config)
    if layers is None:
        raise _unknown(
            model,
            f"the decoder layers of a {kind} are not where any known architecture has them",
        )
    return ModulePaths(layers), layers


def _is_headless(model: Any) -> bool:
    """Whether a model of transformers is one without an output head."""
    try:
        return hasattr(model, "get_output_embeddings") and model.get_output_embeddings() is None
    except NotImplementedError:  # transformers' own, where there can be none
        return True


def _places(row: Family) -> list[str]:
    """Where a model, or a larger one around it, keeps the decoder layers of a family."""
    without_head = row.layers.removeprefix(f"{row.core}.")
    around = ("", "lang_encoder.", "language_model.")
    return [*(f"{holder}{row.layers}" for holder in around), f"model.language_model.{without_head}"]


def _named(model: nn.Module, layer: str, name: str) -> str:
    """The path in a decoder layer of the module that a user calls ``name``."""
    if not has_module(model, layer):
        raise _unknown(model, f"a {type(model).__name__} has no module {layer}")
    places = named_projections(model.get_submodule(layer), name)
    if len(places) != 1:
        several = f": {', '.join(places)}" if places else ""
        raise _unknown(
            model, f"{len(places) or 'no'} modules of {layer} are called {name!r}{several}"
        )
    return places[0]


def _sites(model: nn.Module, paths: ModulePaths, layers: str, part: str, given: bool) -> SiteTable:
    """The table of ``model``, whose decoder layers are at ``layers``, in each under ``part``;
    ``given``: by the user, so that a projection that is none is an error."""
    config = config_of(model)
    d_model, heads = size_of(config, D_MODEL), size_of(config, N_HEADS)
    wanted = paths.projection is not None and given
    if d_model is None or (heads is None and wanted):
        raise _unknown(
            model,
            f"the configuration of a {type(model).__name__} does not give hidden_size and "
            "num_attention_heads",
        )
    modules = model.get_submodule(layers)
    block = f"{layers}.{{layer}}"
    numbers = tuple(number for number, _ in used_once(modules, ""))
    projection = _projection(modules, paths, part, d_model, heads)
    if projection is None and wanted:
        raise _unknown(
            model,
            f"{layers}.0.{paths.projection} of a {type(model).__name__} is no linear map from "
            f"{heads} heads to {d_model} numbers",
        )
    table = _decoder_sites(
        replace(paths, projection=None), block, f"{block}{part}", numbers, d_model, 1, d_model
    )
    if projection is None:
        return table
    attention = _decoder_sites(
        ModulePaths(layers, projection.path), block, f"{block}{part}", projection.layers, d_model,
        projection.heads, projection.head_dim,
    )  # fmt: skip
    return {name: site for name, site in attention.items() if name != "lm.resid"} | table


@dataclass(frozen=True)
class _Projection:
    """The attention's output projection: its path in a decoder layer, the layers that have one of
    the same sizes there, and the heads."""

    path: str
    layers: tuple[int, ...]
    heads: int
    head_dim: int


def _projection(
    layers: Any, paths: ModulePaths, part: str, d_model: int, heads: int | None
) -> _Projection | None:
    """The attention's output projection, None where it is not known.  An attention's own number of
    heads comes before ``heads`` of the configuration, which some have for their encoder alone."""
    part = part.removeprefix(".")
    found: dict[tuple[str, int, int], list[int]] = {}
    for number, layer in enumerate(layers):
        inner = layer.get_submodule(part)
        path = paths.projection or find_projection(inner, d_model)
        if path is None or not has_module(inner, path):
            continue
        own = heads_of(inner, path) or heads
        sizes = linear_sizes(inner.get_submodule(path))
        if (
            own is not None
            and sizes is not None
            and sizes[1] == d_model
            and sizes[0] % own == 0
            and is_softmax_attention(inner, path)
        ):
            found.setdefault((path, own, sizes[0] // own), []).append(number)
    for (path, own, width), numbers in found.items():
        place = f"{part}.{path}" if part else path
        alone = {number for number, _ in used_once(layers, place)}
        if kept := tuple(number for number in numbers if number in alone):
            return _Projection(path, kept, own, width)
    return None


def _decoder_sites(
    paths: ModulePaths, block: str, decoder: str, layers: tuple[int, ...], d_model: int,
    heads: int, head_dim: int,
) -> dict[str, Site]:  # fmt: skip
    """Sites of the decoder layers of these numbers; ``block`` is the path of a whole one,
    ``decoder`` of what ``paths`` count from."""
    table = {}
    if paths.projection is not None:
        projection = f"{decoder}.{paths.projection}"
        table["lm.attn"] = Site(projection, "input", layers, head_dim, heads)
        table["lm.attn.out"] = Site(projection, "output", layers, d_model)
    if paths.mlp is not None:
        table["lm.mlp"] = Site(f"{decoder}.{paths.mlp}", "output", layers, d_model)
    table["lm.resid"] = Site(block, "output", layers, d_model)
    return table
