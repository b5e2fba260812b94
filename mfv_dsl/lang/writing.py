"""Where an `eval` writes: its `site` and its `position`, against its layers and the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.layers import numbers_of
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.entries import ITEM, PLACED, WRITERS
from mfv_dsl.lang.evals import each_of
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Attribute, Call, Node

#: The words of `site`, and what they are called in a model's table of sites.
SITES: Mapping[str, str] = {"residual": "lm.resid", "attention": "lm.attn.out", "mlp": "lm.mlp"}
_POSITION = ITEM["eval"].parameter("position")


def is_text(position: str) -> bool:
    """Whether a `position` is the text of the tokens that are meant, and none of the words.

    >>> is_text("all"), is_text("Q:")
    (False, True)
    """
    assert _POSITION is not None
    return position not in _POSITION.choices


def check_where(
    scope: Scope, attributes: Mapping[str, Attribute], settings: Mapping[str, Setting],
    context: TypingContext,
) -> None:  # fmt: skip
    """Check `site` and `position` of an eval that writes something."""
    if not attributes.keys().isdisjoint(PLACED):
        _check_site(scope, settings, context)
    if not attributes.keys().isdisjoint(WRITERS):
        check_position(scope, settings["position"], context)


def _check_site(scope: Scope, settings: Mapping[str, Setting], context: TypingContext) -> None:
    site, layers = settings["site"], each_of(settings["layer"].value)
    if site.span is None or site.value is None:
        return
    place = settings["layer"].span
    places = [Label(place, "here")] if place else []
    vectors = [
        scope.node_types.get(vector.span) for name in PLACED for vector in
        each_of(settings[name].value)
    ]  # fmt: skip
    if "native" in layers and any(vector is not None and vector.places for vector in vectors):
        if site.origin == "written" or site.value != "residual":
            scope.error(
                "MFV3043", site.span,
                "`layer = native` writes each part of a vector at its own site", "",
                "leave `site` out: it was said where the parts were read", secondary=places,
            )  # fmt: skip
        return
    if "native" in layers and site.value != "attention":
        if site.origin == "written" or site.value != "residual":
            scope.error(
                "MFV3043", site.span,
                f"`layer = native` adds to what attention puts out, not to `{site.value}`",
                "each head's part goes where the head writes",
                "leave `site` out, or give a layer's number", secondary=places,
            )  # fmt: skip
        return
    if site.value != "attention":
        return
    numbers = {n for layer in layers for n in numbers_of(layer)}
    for facts in scope.model_facts(context):
        without = sorted(numbers & {*facts.layers_without_heads})
        if without:
            has = ", ".join(map(str, facts.head_layers))
            scope.error(
                "MFV4001", site.span, f"layer {without[0]} of the model has no self-attention",
                f"these have: {has}", "add to `residual` or `mlp` there", secondary=places,
            )  # fmt: skip
            return


def check_position(scope: Scope, position: Setting, context: TypingContext) -> None:
    """MFV4012: a text that the query of a prompt has only by chance, in the names in it."""
    text = position.value
    if position.span is None or not isinstance(text, str) or not is_text(text):
        return
    for facts in scope.model_facts(context):
        if facts.query and text not in facts.query:
            scope.error(
                "MFV4012", position.span,
                f"the query is written `{facts.query}`, which has no `{text}` in it",
                "prompts without it are refused",
                "write a part of it: `\"Q:\"`, or `\"{query}\"` for the name asked about",
                severity="warning",
            )  # fmt: skip
            return


# -- where vectors were made ----------------------------------------------------------------------
def quoted(sites: Iterable[str]) -> str:
    """Sites for people.

    >>> quoted(["mlp", "residual"])
    '`mlp` and `residual`'
    """
    return " and ".join(f"`{site}`" for site in sites)


def check_site_read(
    scope: Scope, write: Attribute, settings: dict[str, Setting], subject: str
) -> None:
    """Where nothing says a site, that at which all vectors of a ``write`` were read or trained; a
    warning (MFV3084) where one is written at another, or was made at several.  Of trained ones
    themselves :mod:`mfv_dsl.lang.destinations` says it."""
    setting, vectors = settings["site"], each_of(settings[write.name.text].value)
    sites = {*chain.from_iterable(_made_at(scope, vector) for vector in vectors)}
    if setting.origin == "registry" and len(sites) <= 1:
        if sites and sites != {"residual"}:
            settings["site"] = Setting(sites.pop(), "vector", vectors[0].span)
        return
    for vector in vectors:
        trained = isinstance(vector, Call) and scope.kind(vector.function.text) == "tune"
        if not trained and _another_site(
            scope, vector, setting, f"{subject} writes it to `{setting.value}`"
        ):
            return


def check_site_of_start(scope: Scope, settings: Mapping[str, Setting], subject: str) -> None:
    """MFV3084: a `tune` that trains at another site than its start was read at."""
    start, site = settings["start"].value, settings["site"]
    native = settings["layer"].value == "native"
    if isinstance(start, Node) and isinstance(site.value, str) and not native:
        _another_site(scope, start, site, f"{subject} trains it at `{site.value}`")


def check_sites_saved(scope: Scope, vectors: Sequence[Node]) -> None:
    """MFV3084: vectors to be saved that were made at several sites, of which a file holds one."""
    stream = Setting("residual", "registry", None)
    for vector in vectors:
        if len(_made_at(scope, vector)) > 1:
            _another_site(scope, vector, stream, "it is saved as one of the residual stream", "")


def _made_at(scope: Scope, vector: Node) -> tuple[str, ...]:
    """The sites at which a vector of one place was read or trained; of several each part has its
    own, and belongs nowhere else."""
    of = scope.node_types.get(vector.span)
    if of is None or of.name != "Vector" or of.places:
        return ("residual",)
    return of.sites


def _another_site(
    scope: Scope, vector: Node, setting: Setting, used: str, help: str | None = None
) -> bool:
    """Whether a vector is used at another site than it was made at, which is a warning (MFV3084);
    of one that was made at several, where nothing says which is meant."""
    own = _made_at(scope, vector)
    named = setting.value in own and (len(own) == 1 or setting.origin != "registry")
    if not own or own == ("residual",) or named or setting.value is None:
        return False
    meant = "say where it is meant: " + " or ".join(f"`site = {site}`" for site in own)
    scope.error(
        "MFV3084", vector, f"this vector was read at {quoted(own)}, and {used}", "",
        meant if help is None else help or None, severity="warning",
    )  # fmt: skip
    return True
