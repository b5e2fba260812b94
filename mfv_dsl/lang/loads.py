"""``load(...)``: what the file of a stored vector says, where it is at hand, against the recipe."""

from __future__ import annotations

from collections.abc import Callable

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts, VectorFacts
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.scope import UNKNOWN, Scope, Type, TypingContext
from mfv_dsl.lang.syntax import Call
from mfv_dsl.lang.writing import SITES

#: What is known of the vector at a path and name: None where its file is not here, an MfvError for
#: a path or file that cannot be.  Finders belong to the library of vectors, so callers hand one in.
VectorFinder = Callable[[str, str | None], "VectorFacts | None"]


def load(scope: Scope, node: Call, settings: dict[str, Setting], context: TypingContext) -> Type:
    """The type of a ``load``; what its file says must fit the model.

    Reports MFV6010 (another model), MFV6011 (another length), MFV6012 (another site) and, as
    warnings, MFV6001 (not there) and MFV6022 (other than locked); and whatever the finder raises.
    """
    if any(setting.value is None and setting.span for setting in settings.values()):
        return UNKNOWN  # something of it is wrong, and reported
    if "path" not in settings:
        return UNKNOWN
    path, name = settings["path"].value, settings["name"].value
    try:
        facts = scope.find(path, name)
    except MfvError as error:
        if error.code != "MFV6001":
            return scope.error(error.code, node, error.message, "", error.help, notes=error.notes)
        facts = None  # another recipe may save it before this one runs
        scope.error(error.code, node, error.message, "", error.help, severity="warning")
    scope.loads[path, name] = facts
    if facts is None:
        return Type("Vector", places=None)
    if facts.pinned not in (None, facts.content):
        scope.error(
            "MFV6022", node, f"`mfv.lock` pins another content of {facts.file}",
            f"{facts.content[:12]}, pinned is {facts.pinned[:12] if facts.pinned else ''}",
            "`mfv lock` pins it as it is now", severity="warning",
        )  # fmt: skip
    return _against_models(scope, node, facts, bool(settings["allow_mismatch"].value), context)


def _against_models(
    scope: Scope, node: Call, facts: VectorFacts, allow_mismatch: bool, context: TypingContext
) -> Type:
    word = next((word for word, site in SITES.items() if site == facts.site), None)
    if word is None:
        *sites, last = SITES.values()
        return scope.error(
            "MFV6012", node, f"this is a vector of {facts.site}, and recipes add vectors at "
            f"{', '.join(sites)} and {last}",
            f"from {facts.file}",
        )  # fmt: skip
    models = scope.model_facts(context)
    names = [context.model] if context.model else list(scope.models)
    fitting = [model for model in models if model.d_model == facts.d_model]
    matches = [
        name for name, model in zip(names, models, strict=False)
        if model.fingerprint == facts.fingerprint
    ]  # fmt: skip
    if models and not fitting:
        return scope.error(
            "MFV6011", node, f"this vector has {facts.d_model} numbers, and "
            f"{_widths(names, [str(model.d_model) for model in models])}",
            f"from {facts.file}", "load a vector that was made with the model",
        )  # fmt: skip
    if models and not matches and not allow_mismatch:
        return scope.error(
            "MFV6010", node, f"this vector was made with another model: {facts.model}, not "
            f"{_alternatives(names)}",
            f"from {facts.file}", "to use it all the same, `allow_mismatch=true`",
            notes=_prints(facts, names, models),
        )  # fmt: skip
    return Type(
        "Vector", model=matches[0] if matches else None, parts=facts.parts,
        bias="none" if allow_mismatch else facts.bias, layer=facts.layer, sites=(word,),
        places=facts.places,
    )  # fmt: skip


def _prints(facts: VectorFacts, names: list[str], models: list[ModelFacts]) -> list[str]:
    return [
        f"the fingerprint in the file is {facts.fingerprint[:12]}",
        *(
            f"that of `{name}` is {model.fingerprint[:12]}"
            for name, model in zip(names, models, strict=False)
        ),
    ]


def _widths(names: list[str], sizes: list[str]) -> str:
    pairs = zip(names, sizes, strict=False)
    return " and ".join(f"`{name}` has a residual stream of {size}" for name, size in pairs)


def _alternatives(names: list[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
