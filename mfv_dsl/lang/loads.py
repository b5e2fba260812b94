"""``load(...)``: what the file of a stored vector says, where it is at hand, against the recipe."""

from __future__ import annotations

from collections.abc import Callable

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts, VectorFacts
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.scope import UNKNOWN, Context, Scope, Type
from mfv_dsl.lang.syntax import Call

#: What is known of the vector at a path and name: None where its file is not here, an MfvError for
#: a path or file that cannot be.
Find = Callable[[str, str | None], "VectorFacts | None"]

SITE = "lm.resid"  # where vectors of a recipe are added


def load(scope: Scope, node: Call, settings: dict[str, Setting], context: Context) -> Type:
    """The type of a ``load``; what its file says must fit the model."""
    if any(setting.value is None and setting.span for setting in settings.values()):
        return UNKNOWN  # something of it is wrong, and reported
    if "path" not in settings:
        return UNKNOWN
    path, name = settings["path"].value, settings["name"].value
    try:
        facts = scope.find(path, name)
    except MfvError as error:
        return scope.error(error.code, node, error.message, "", error.help, notes=error.notes)
    scope.loads[path, name] = facts
    if facts is None:
        return Type("Vector")
    if facts.pinned not in (None, facts.content):
        scope.error(
            "MFV6022", node, f"`mfv.lock` pins another content of {facts.file}",
            f"{facts.content[:12]}, pinned is {facts.pinned[:12] if facts.pinned else ''}",
            "`mfv lock` pins it as it is now", severity="warning",
        )  # fmt: skip
    return _against_models(scope, node, facts, bool(settings["allow_mismatch"].value), context)


def _against_models(
    scope: Scope, node: Call, facts: VectorFacts, allowed: bool, context: Context
) -> Type:
    if facts.site != SITE:
        return scope.error(
            "MFV6012", node, f"this is a vector of {facts.site}, and recipes add vectors at {SITE}",
            f"from {facts.file}",
        )  # fmt: skip
    models = scope.model_facts(context)
    known = [context.model] if context.model else list(scope.models)
    sized = [model for model in models if model.d_model == facts.d_model]
    same = [
        name for name, model in zip(known, models, strict=False)
        if model.fingerprint == facts.fingerprint
    ]  # fmt: skip
    found = Type("Vector", parts=facts.parts, bias="none" if allowed else facts.bias)
    if models and not sized:
        return scope.error(
            "MFV6011", node, f"this vector has {facts.d_model} numbers, and "
            f"{_those(known, [str(model.d_model) for model in models])}",
            f"from {facts.file}", "load a vector that was made with the model",
        )  # fmt: skip
    if models and not same and not allowed:
        return scope.error(
            "MFV6010", node, f"this vector was made with another model: {facts.model}, not "
            f"{_listed(known)}",
            f"from {facts.file}", "to use it all the same, `allow_mismatch=true`",
            notes=_prints(facts, known, models),
        )  # fmt: skip
    return Type("Vector", model=same[0], parts=found.parts, bias=found.bias) if same else found


def _prints(facts: VectorFacts, names: list[str], models: list[ModelFacts]) -> list[str]:
    return [
        f"the fingerprint in the file is {facts.fingerprint[:12]}",
        *(
            f"that of `{name}` is {model.fingerprint[:12]}"
            for name, model in zip(names, models, strict=False)
        ),
    ]


def _those(names: list[str], sizes: list[str]) -> str:
    shown = zip(names, sizes, strict=False)
    return " and ".join(f"`{name}` has a residual stream of {size}" for name, size in shown)


def _listed(names: list[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
