"""What holds between the attributes of one `eval`: what it writes, where, and what it chooses."""

from __future__ import annotations

from collections.abc import Sequence

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.lang import evals
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.entries import ITEM, PLACED, VECTOR_WRITES, WRITES
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Attribute, Gap, Node
from mfv_dsl.lang.writing import check_site_read

#: what an eval may write beside one another
_TOGETHER = {"add", "ablate"}
#: attributes that say how a vector is written, and mean nothing without one
_HOW = tuple(
    p.name for p in ITEM["eval"].parameters if p.acts_in and {*p.acts_in} <= {*VECTOR_WRITES}
)
#: by what an eval writes, what it does
_DOES = {"add": "adds a vector", "replace": "replaces states", "project_out": "projects states"}


def check_eval(
    scope: Scope, attributes: dict[str, Attribute], suggestions: set[str | None],
    settings: dict[str, Setting], context: TypingContext, subject: str,
) -> None:  # fmt: skip
    """Check what an eval writes, where, and what it chooses."""
    writes = [attributes[name] for name in (*WRITES, "adapter") if name in attributes]
    writes.sort(key=lambda attribute: attribute.span.start)
    names = {attribute.name.text for attribute in writes}
    for other in writes[1:] if names != _TOGETHER else ():
        scope.error(
            "MFV2017", other.name,
            f"{subject} has both `{writes[0].name.text}` and `{other.name.text}`", "and this",
            "one block measures one intervention; make two", secondary=[
                Label(writes[0].name.span, "this")
            ],
        )  # fmt: skip
    for name in PLACED:
        if name in names and "layer" not in suggestions:
            _check_layer(scope, attributes[name], settings, context, subject)
            check_site_read(scope, attributes[name], settings, subject)
    if "patch" in names and settings["layer"].origin == "registry":
        settings["layer"] = Setting("native", "registry", None)
    own = {name: attribute for name, attribute in attributes.items() if not attribute.given}
    if not (names | suggestions) & {*VECTOR_WRITES}:
        for name in _HOW:
            if name in own and not isinstance(own[name].value, Gap):
                scope.error(
                    "MFV2022", own[name].name, f"`{name}` has no effect in {subject}",
                    "it writes no vector", severity="warning",
                )  # fmt: skip
    _check_parts(scope, attributes, settings)
    _check_gate(scope, attributes, settings, subject)
    _check_places(scope, settings)
    _check_choice(scope, attributes, settings)


def _check_layer(
    scope: Scope, write: Attribute, settings: dict[str, Setting], context: TypingContext,
    subject: str,
) -> None:  # fmt: skip
    """Where nothing says a layer, that of vectors that were all made for one; a warning where one
    is written at another layer than it was made for."""
    setting, mode = settings["layer"], write.name.text
    vectors = evals.each_of(settings[mode].value)
    if not vectors or (setting.origin == "registry" and _may_be_of_places(scope, vectors, context)):
        return  # something of it is wrong, and reported, or it is not known
    if setting.origin == "registry" and vectors and all(_of_places(scope, v) for v in vectors):
        settings["layer"] = Setting("native", "vector", vectors[0].span)
        return
    layers = [scope.node_types[vector.span].layer for vector in vectors]
    known = sorted({layer for layer in layers if layer is not None})
    if setting.origin == "written" and isinstance(setting.value, int) and setting.span is not None:
        for vector, layer in zip(vectors, layers, strict=True):
            if layer not in (None, setting.value):
                scope.error(
                    "MFV3041", setting.span,
                    f"this vector was made for layer {layer}, and {subject} "
                    f"{'adds' if mode == 'add' else 'writes'} it at layer {setting.value}", "",
                    f"leave `layer` out to {'add' if mode == 'add' else 'write'} it where it was "
                    "made for",
                    secondary=[Label(vector.span, f"made for layer {layer}")], severity="warning",
                )  # fmt: skip
                return
    if setting.origin != "registry":
        return
    facts = scope.model_facts(context)
    if len(known) == 1 and None not in layers and all(known[0] < f.n_layers for f in facts):
        settings["layer"] = Setting(known[0], "vector", vectors[0].span)
        return
    made_for = f"they were made for layers {', '.join(map(str, known))}" if len(known) > 1 else ""
    scope.error(
        "MFV2015", write.name, f"{subject} {_DOES[mode]} but has no `layer`", made_for,
        "say where: `layer = 4`, a sweep `layer = 0..5`"
        + (", or `layer = native`" if mode == "add" else ", or `layer = all` at once"),
    )  # fmt: skip


def _check_parts(
    scope: Scope, attributes: dict[str, Attribute], settings: dict[str, Setting]
) -> None:
    """Head space needs a vector that still has its per-head parts."""
    layer = settings["layer"].value
    for name in ("add", "patch"):
        if name not in attributes or not (name == "patch" or "native" in evals.each_of(layer)):
            continue
        reason = "`patch`" if name == "patch" else "`layer = native`"
        for vector in evals.each_of(settings[name].value):
            vector_type = scope.node_types[vector.span]
            if name == "add" and vector_type.places:
                continue
            if vector_type.name == "Vector" and not vector_type.parts:
                scope.error(
                    "MFV3005", vector,
                    f"{reason} needs per-head parts, and this vector has none",
                    "it has only its sum",
                    "write it at a layer with `add`",
                )  # fmt: skip
    for name in ("replace", "project_out") if "native" in evals.each_of(layer) else ():
        for vector in evals.each_of(settings[name].value):
            if not _of_places(scope, vector):
                scope.error(
                    "MFV3085", vector,
                    f"`{name}` does not write heads' parts, each at its own layer", "",
                    "give `layer` a number, or replace the heads' outputs by `patch`",
                    secondary=[Label(place, "here")] if (place := settings["layer"].span) else [],
                )  # fmt: skip
                break


def _check_gate(
    scope: Scope, attributes: dict[str, Attribute], settings: dict[str, Setting], subject: str
) -> None:
    """A gate needs one direction, a layer to look behind, and a cosine to exceed."""
    if "when" not in attributes or settings["when"].value is None:
        return
    if _of_places(scope, settings["when"].value):
        scope.error(
            "MFV3086", settings["when"].value,
            "`when` looks along one vector, and this one has a part for each of several places", "",
            "read one layer at one site",
        )  # fmt: skip
    missing = [name for name in ("when_layer", "above") if name not in attributes]
    if missing:
        scope.error(
            "MFV2015", attributes["when"].name,
            f"{subject} writes `when` but has no {' and no '.join(f'`{n}`' for n in missing)}", "",
            "say behind which layer the prompt is looked at, and which cosine it has to exceed: "
            "`when_layer = 3, above = 0.2`",
        )  # fmt: skip


def _may_be_of_places(scope: Scope, vectors: Sequence[Node], context: TypingContext) -> bool:
    """Whether it takes the model's shape, which is not known, to say where vectors are written."""
    types = [scope.node_types[vector.span] for vector in vectors]
    return not scope.model_facts(context) and any(of.places is None for of in types)


def _of_places(scope: Scope, vector: Node) -> bool:
    """Whether a vector has a part for each of several places."""
    return bool(scope.node_types[vector.span].places)


def _check_places(scope: Scope, settings: dict[str, Setting]) -> None:
    """A vector of several places is written where it was read."""
    layer = settings["layer"]
    if layer.value is None or {*evals.each_of(layer.value)} == {"native"}:
        return
    for vector in [v for name in PLACED for v in evals.each_of(settings[name].value)]:
        if _of_places(scope, vector):
            scope.error(
                "MFV3081", vector,
                "this vector has a part for each of several places, and `layer` names another",
                "each part goes where it was read",
                "write `layer = native`, or leave `layer` out; or read one layer",
                secondary=[Label(layer.span, "here")] if layer.span else (),
            )  # fmt: skip
            return


def _check_choice(
    scope: Scope, attributes: dict[str, Attribute], settings: dict[str, Setting]
) -> None:
    chosen = settings["choose"].value or ()
    if "choose" not in attributes or not isinstance(chosen, tuple):
        idle = settings["select_on"].origin == "written" and "choose" not in attributes
        if idle and any(settings[name].value for name in PLACED):
            scope.error(
                "MFV2022", attributes["select_on"].name,
                "`select_on` has no effect without `choose`", severity="warning",
            )  # fmt: skip
        return
    for name in dict.fromkeys(chosen):
        setting = settings[name]
        missing = name in ("k", *PLACED) and setting.origin == "registry"
        if missing or (setting.value is not None and not isinstance(setting.value, tuple)):
            places = [Label(setting.span, "one value")] if setting.span else []
            scope.error(
                "MFV3011", attributes["choose"].value,
                f"`choose` names `{name}`, which is not swept", "",
                f"give `{name}` a list {'or a range' if name not in PLACED else 'of vectors'}",
                secondary=places,
            )  # fmt: skip
    select, split = settings["select_on"], settings["split"]
    if not_on_test(scope, select, "value") and select.value == split.value:
        place = select.span or attributes["choose"].span
        places = [Label(split.span, "measured here")] if split.span else []
        scope.error(
            "MFV4005", place, f"`select_on` and `split` are both `{split.value}`",
            "what is chosen on a split cannot be measured on it", secondary=places,
        )  # fmt: skip


def not_on_test(scope: Scope, setting: Setting, chosen: str) -> bool:
    """Whether a ``chosen`` thing is settled on another split than that which measures; reported
    (MFV4005) where it is not."""
    if setting.value == "test" and setting.span is not None:
        scope.error(
            "MFV4005", setting.span, f"the {chosen} is never chosen on `test`",
            "`test` is for measuring", "write `select_on = validation`",
        )  # fmt: skip
        return False
    return True
