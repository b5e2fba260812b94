"""Where an `eval` writes: its `site` and its `position`, against its layers and the model."""

from __future__ import annotations

from collections.abc import Mapping

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.layers import numbers_of
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.entries import ITEM, PLACED, WRITERS
from mfv_dsl.lang.evals import each_of
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Attribute

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
