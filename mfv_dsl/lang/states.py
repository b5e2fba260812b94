"""``states(...)`` and what is made of it: the places that are read, the types of their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.layers import numbers_of
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.functions import POOLED
from mfv_dsl.lang.scope import UNKNOWN, Scope, Type, TypingContext
from mfv_dsl.lang.syntax import Call, Expr
from mfv_dsl.lang.writing import SITES, check_position, quoted

#: Where a model is read or written: sites and layers, sorted by layer, then by site.
Places: TypeAlias = "tuple[tuple[str, int], ...]"


def places_read(layer: object, site: object, facts: ModelFacts) -> Places:
    """The places that ``states`` reads in a model, for what it says of its layers and sites.

    ``all`` layers of attention are those that have heads of it.

    >>> facts = ModelFacts(2, 4, 8, 32, "m")
    >>> places_read("all", ("mlp", "attention"), facts)
    (('lm.attn.out', 0), ('lm.mlp', 0), ('lm.attn.out', 1), ('lm.mlp', 1))
    """
    words = site if isinstance(site, tuple) else (site,)
    places = []
    for word in words:
        has = facts.head_layers if word == "attention" else range(facts.n_layers)
        layers = has if layer == "all" else numbers_of(layer)
        places += [(SITES[word], number) for number in layers]
    return tuple(sorted(places, key=lambda place: place[::-1]))


def several(places: Places) -> Places:
    """The places of a vector with a part for each: none where there is one alone."""
    return places if len(places) > 1 else ()


def type_of(
    scope: Scope, node: Call, settings: Mapping[str, Setting], context: TypingContext
) -> Type:
    """The type of a call of ``states``; reports what it cannot read."""
    layer, site = settings["layer"], settings["site"]
    if layer.value is None or site.value is None:
        return UNKNOWN
    _check_demonstrations(scope, settings)
    if settings["position"].value != "demonstrations":
        check_position(scope, settings["position"], context)
    _check_pool(scope, settings)
    all_facts = scope.model_facts(context)
    if not _has_attention(scope, layer, site, all_facts):
        return UNKNOWN
    found = {places_read(layer.value, site.value, facts) for facts in all_facts}
    places = found.pop() if len(found) == 1 else None
    bound = context.each or settings["model"].origin == "written"
    return Type(
        "States", model=context.model if bound else None, parts=False,
        layer=places[0][1] if places is not None and len(places) == 1 else None,
        sites=(site.value,) if isinstance(site.value, str) else ("residual",),
        places=None if places is None else several(places),
    )  # fmt: skip


def _check_demonstrations(scope: Scope, settings: Mapping[str, Setting]) -> None:
    position, corrupt = settings["position"], settings["corrupt"]
    if position.value != "demonstrations" or position.span is None:
        return
    shots = settings["shots"]
    if shots.value == 0 or corrupt.value == "none":
        without = corrupt if corrupt.value == "none" else shots
        scope.error(
            "MFV3082", position.span, "there are no demonstrations to read at", "",
            "read prompts with some: `shots = 4`, or another `position`",
            secondary=[Label(without.span, "none")] if without.span else (),
        )  # fmt: skip


def _check_pool(scope: Scope, settings: Mapping[str, Setting]) -> None:
    pool, corrupt = settings["pool"], settings["corrupt"].value
    if pool.origin == "written" and pool.span is not None and corrupt not in POOLED:
        scope.error(
            "MFV2022", pool.span, "`pool` has no effect in `states`",
            f"the prompts are corrupted by {' or '.join(POOLED)} where it has", severity="warning",
        )  # fmt: skip


def _has_attention(
    scope: Scope, layer: Setting, site: Setting, all_facts: Sequence[ModelFacts]
) -> bool:
    words = site.value if isinstance(site.value, tuple) else (site.value,)
    for facts in all_facts if "attention" in words else ():
        without = sorted({*numbers_of(layer.value)} & {*facts.layers_without_heads})
        if without and layer.span is not None:
            has = ", ".join(map(str, facts.head_layers))
            scope.error(
                "MFV4001", layer.span, f"layer {without[0]} of the model has no self-attention",
                f"these have: {has}", "read the `residual` stream or the `mlp` there",
            )  # fmt: skip
            return False
    return True


def joined(scope: Scope, rows: Sequence[tuple[Expr, Type]]) -> Type:
    """The type of rows that are combined, or compared: of one model and the same places."""
    (first, type_first), *others = rows
    model = type_first.model
    for node, of in others:
        if None not in (model, of.model) and of.model != model:
            return scope.error(
                "MFV3004", node, f"these states belong to two models: `{model}` and `{of.model}`",
                f"from `{of.model}`", "rows can be combined only within one model",
                secondary=[Label(first.span, f"from `{model}`")],
            )  # fmt: skip
        model = model or of.model
        if not same_places(type_first, of):
            return other_places(scope, node, of, first, type_first)
    places = next((of.places for _, of in rows if of.places is not None), None)
    layers = {of.layer for _, of in rows}
    layer = layers.pop() if len(layers) == 1 else None
    return replace(type_first, model=model, places=places, layer=layer, sites=sites_of(rows))


def sites_of(parts: Sequence[tuple[Expr, Type]]) -> tuple[str, ...]:
    """Where these were read, each site once, in their order."""
    return tuple(dict.fromkeys(site for _, of in parts for site in of.sites))


def same_places(left: Type, right: Type) -> bool:
    """Whether two values can be of the same places, as far as is known.  Rows of one place each
    must be of one layer; a vector of one place has none that matters."""
    if None in (left.places, right.places):
        return True
    rows = left.name == right.name == "States" and None not in (left.layer, right.layer)
    elsewhere = (left.layer, left.sites) != (right.layer, right.sites)
    return left.places == right.places and not (rows and elsewhere)


def other_places(scope: Scope, node: Expr, of: Type, first: Expr, type_first: Type) -> Type:
    """Report (MFV3080) two values that are combined and are not of the same places."""
    return scope.error(
        "MFV3080", node, "these are not of the same places, and so do not belong together",
        _described(of), "read both at the same layers and sites",
        secondary=[Label(first.span, _described(type_first))],
    )  # fmt: skip


def _described(of: Type) -> str:
    if of.places:
        shown = ", ".join(f"{site}[{layer}]" for site, layer in of.places[:3])
        return f"of {shown}{', …' if len(of.places) > 3 else ''}"
    if of.layer is None:
        return "of one place"
    at = "" if of.sites == ("residual",) else f", {quoted(of.sites)}"
    return f"of layer {of.layer}{at}"


def vector_of(rows: Type) -> Type:
    """The type of a vector that rows are reduced to."""
    return replace(rows, name="Vector", bias="none")
