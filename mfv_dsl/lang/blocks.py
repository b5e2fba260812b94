"""Blocks: attributes against the registry, and what holds between attributes."""

from __future__ import annotations

from dataclasses import replace

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.suggest import suggest
from mfv_dsl.lang import calls, evals, expressions, operators, tunes
from mfv_dsl.lang.asking import check_answer
from mfv_dsl.lang.checked import CheckedBlock, Setting
from mfv_dsl.lang.defaults import settings_of
from mfv_dsl.lang.entries import (
    ITEM,
    PLACED,
    VECTOR_WRITES,
    WRITES,
    off_task_metrics,
    takers,
)
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.saves import check_folder
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Attribute, Block, Gap, ListExpr, Name, Node, Text
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.lang.writing import check_position, check_where

#: what an eval may write beside one another
_TOGETHER = {"add", "ablate"}
#: attributes that say how a vector is written, and mean nothing without one
_HOW = tuple(
    p.name for p in ITEM["eval"].parameters if p.acts_in and {*p.acts_in} <= {*VECTOR_WRITES}
)
#: by what an eval writes, what it does
_DOES = {"add": "adds a vector", "replace": "replaces states", "project_out": "projects states"}


def attributes_of(scope: Scope, block: Block) -> dict[str, Attribute]:
    """A block's attributes by name; a second one of a name is reported."""
    by_name: dict[str, Attribute] = {}
    for attribute in block.attributes:
        if attribute.of is not None:
            scope.error(
                "MFV2032", attribute.of.span.to(attribute.name.span),
                "an attribute of another item can be set in a `profile` only", "",
                f"here it is `{attribute.name.text}` of the block itself",
            )  # fmt: skip
            continue
        first = by_name.setdefault(attribute.name.text, attribute)
        if first is not attribute:
            scope.error(
                "MFV2013", attribute.name, f"`{attribute.name.text}` is given twice", "and again",
                secondary=[Label(first.name.span, "given here")],
            )  # fmt: skip
    return by_name


# -- tune, eval, save -----------------------------------------------------------------------------
def context_of(scope: Scope, block: Block) -> TypingContext:
    """The model and dataset of a block, as far as they are known, without any report."""
    context = replace(scope.home(), each=True)
    attributes = {attribute.name.text: attribute for attribute in reversed(block.attributes)}
    for kind in ("model", "dataset"):
        attribute = attributes.get(kind) or scope.defaults.get(kind)
        if attribute is not None:
            name = attribute.value.text if isinstance(attribute.value, Name) else ""
            context = replace(
                context,
                **{kind: name if scope.kind(name) == kind else None},  # type: ignore[arg-type]
            )
    return context


def check_block(scope: Scope, block: Block) -> CheckedBlock:
    """Check one block and fill in what it does not say."""
    entry = ITEM[block.kind.text]
    label = block.label.value if isinstance(block.label, Text) else ""
    label = block.label.text if isinstance(block.label, Name) else label
    subject = f"`{entry.name} {label}`" if entry.label == "name" else f"`{entry.name}`"
    attributes = attributes_of(scope, block)
    context = context_of(scope, block)
    words = [parameter.name for parameter in entry.parameters]
    suggestions = {suggest(name, words) for name in attributes if name not in words}
    suggestions |= {suggest(name, words) for name in scope.defaults if not takers(name)}
    for name, attribute in attributes.items():
        if entry.parameter(name) is None:
            scope.unknown(
                "MFV2004", f"attribute of `{entry.name}`:", attribute.name,
                words, f"it takes: {', '.join(words)}", _owners(name),
            )  # fmt: skip
            if not isinstance(attribute.value, Name):
                expressions.infer(scope, attribute.value, context)
    settings = calls.left_out(entry)
    for parameter in calls.given(scope, entry, attributes):
        settings[parameter.name] = _setting(scope, entry, parameter, attributes, context, subject)
    _need_facts(scope, block, entry, context, settings)
    _complete(scope, block, entry, suggestions, settings, subject)
    _check_models(scope, settings, context, subject)
    _check_blends(scope, settings)
    if entry.name == "eval":
        _check_eval(scope, attributes, suggestions, settings, context, subject)
        evals.check_expressions(scope, attributes, settings, context, subject)
        check_answer(scope, attributes, settings, context, subject)
        check_where(scope, attributes, settings, context)
    if entry.lines:
        label = entry.name
        settings["numbers"] = _numbers(scope, block, context, subject)
    if entry.name == "save":
        check_folder(scope, block.label, label)
    if entry.name == "tune":
        _not_on_test(scope, settings["select_on"], "epoch")
        models = scope.model_facts(context)
        tunes.check_tune(scope, settings, scope.dataset_facts(context), models, subject)
        check_position(scope, settings["position"], context)
    for kind in ("model", "dataset"):
        if settings[kind].value != getattr(context, kind):
            settings[kind] = replace(settings[kind], value=getattr(context, kind))
    facts = scope.dataset_facts(context)
    if facts and context.dataset and settings["on"].origin == "registry":
        settings["on"] = Setting(facts[0].relations, "registry", None)
    settled = settings_of(scope, {a.name.text: a for a in block.settled}, context)
    return CheckedBlock(
        entry.name, label, settings, context.model, context.dataset, block.span, block.axes,
        settled, _listed(block.written or block),
    )  # fmt: skip


def _listed(block: Block) -> tuple[str, ...]:
    """The vectors of a list of several that an eval writes, and the numbers of a `report`, as they
    are written."""
    if block.values:
        return tuple(map(unparse, block.values))
    for attribute in block.attributes:
        value = attribute.value
        if attribute.name.text in VECTOR_WRITES and isinstance(value, ListExpr):
            return tuple(map(unparse, value.items)) if len(value.items) > 1 else ()
    return ()


def _numbers(scope: Scope, block: Block, context: TypingContext, subject: str) -> Setting:
    """The lines of a `report`."""
    if not block.values:
        scope.error(
            "MFV2015", block.kind, f"{subject} has no numbers", "",
            f"each line is one, for example:\n{ITEM[block.kind.text].example}",
        )  # fmt: skip
    for value in block.values:
        expressions.expect(scope, value, context, "Number", subject)
    return Setting(block.values, "written", block.kind.span)


def _setting(
    scope: Scope,
    entry: Entry,
    parameter: Parameter,
    attributes: dict[str, Attribute],
    context: TypingContext,
    subject: str,
) -> Setting:
    attribute = attributes.get(parameter.name)
    nodes = None if attribute is None else (attribute.value,)
    if parameter.name == "on":  # it says what `each` will be
        context = replace(context, each=False)
    setting = calls.option(scope, entry, parameter, nodes, context, subject)
    given = attribute is not None and attribute.given
    return replace(setting, origin="defaults") if given else setting


def _need_facts(
    scope: Scope, block: Block, entry: Entry, context: TypingContext, settings: dict[str, Setting]
) -> None:
    """A block works on one model and one dataset."""
    for kind in ("model", "dataset"):
        if getattr(context, kind) is not None or settings[kind].origin != "registry":
            continue
        declared = scope.of_kind(kind)
        if declared:
            scope.error(
                "MFV2012", block.kind, f"this `{entry.name}` does not say which {kind} it is for",
                f"declared: {', '.join(declared)}",
                f"add `{kind} = {declared[0]}` here or in `defaults`",
            )  # fmt: skip
        elif scope.once(f"no {kind}"):
            example = {"model": "model flamingo = tiny()", "dataset": "dataset shapes = scenes()"}
            scope.error(
                "MFV2012", block.kind, f"this `{entry.name}` needs a {kind}, and none is declared",
                "", f"for example `{example[kind]}`",
            )  # fmt: skip


def _check_models(
    scope: Scope, settings: dict[str, Setting], context: TypingContext, subject: str
) -> None:
    """Vectors that are bound to a model are used with that model."""
    for name in (*VECTOR_WRITES, "adapter", "when", "start", "vectors"):
        value = settings[name].value if name in settings else None
        for node in value if isinstance(value, tuple) else (value,):
            vector_type = scope.node_types.get(node.span) if isinstance(node, Node) else None
            place = settings["model"].span
            model = vector_type.model if vector_type else None
            noun = "adapter" if name == "adapter" else "vector"
            if model and context.model and model != context.model:
                scope.error(
                    "MFV3004", node, f"this {noun} belongs to `{model}`, and {subject} runs "
                    f"`{context.model}`", f"from `{model}`",
                    f"a{'n' if noun == 'adapter' else ''} {noun} can be used only with the model "
                    "it was made with",
                    secondary=[Label(place, f"`{context.model}`")] if place else (),
                )  # fmt: skip


def _check_blends(scope: Scope, settings: dict[str, Setting]) -> None:
    """Only what an `eval` adds may differ from item to item."""
    for name in ("replace", "project_out", "patch", "when", "start", "vectors"):
        value = settings[name].value if name in settings else None
        for node in value if isinstance(value, tuple) else (value,):
            node_type = scope.node_types.get(node.span) if isinstance(node, Node) else None
            if node_type is not None:
                operators.no_blend(scope, node, node_type, f"`{name}`")
    vectors = evals.each_of(settings["add"].value) if "add" in settings else ()
    blends = [node for node in vectors if isinstance(node, Node) and _is_blend(scope, node)]
    clashes = {
        "k": settings["k"].value is not None, "controls": bool(settings["controls"].value),
        "answer": settings["answer"].value not in ("first", "first_token"), "add": len(vectors) > 1,
        "ablate": settings["ablate"].value is not None, "when": settings["when"].value is not None,
        "scale_by": settings["scale_by"].value not in (None, "vector"),
        "metrics": off_task_metrics(settings["metrics"].value),
    } if blends else {}  # fmt: skip
    for name, clash in clashes.items():
        if clash:
            place = settings[name].span if name != "add" else None
            neighbour = {
                "add": "another vector beside it", "metrics": "off-task metrics",
            }.get(name, f"`{name}`")  # fmt: skip
            scope.error(
                "MFV5353", blends[0] if place is None else place,
                f"a blend does not go with {neighbour}", "", "give it an eval of its own",
            )  # fmt: skip
            return


def _is_blend(scope: Scope, node: Node) -> bool:
    node_type = scope.node_types.get(node.span)
    return node_type is not None and node_type.blend


def _owners(attribute: str) -> str | None:
    """Which other kinds of blocks have an attribute that one lacks; None where none has."""
    kinds = [f"`{kind}`" for kind, entry in ITEM.items() if entry.parameter(attribute) is not None]
    return f"`{attribute}` is an attribute of {' and '.join(kinds)}" if kinds else None


def _complete(
    scope: Scope, block: Block, entry: Entry, suggestions: set[str | None],
    settings: dict[str, Setting], subject: str,
) -> None:  # fmt: skip
    missing = [
        p.name
        for p in entry.required
        if settings[p.name].origin == "registry" and p.name not in suggestions
    ]
    if missing:
        names = " and ".join(f"`{name}`" for name in missing)
        parameter = entry.parameter(missing[0])
        doc = parameter.doc if parameter else ""
        scope.error("MFV2015", block.kind, f"{subject} needs {names}", "", f"`{missing[0]}`: {doc}")


def _check_eval(
    scope: Scope, attributes: dict[str, Attribute], suggestions: set[str | None],
    settings: dict[str, Setting], context: TypingContext, subject: str,
) -> None:  # fmt: skip
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
            _check_site_read(scope, attributes[name], settings, subject)
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


def _check_site_read(
    scope: Scope, write: Attribute, settings: dict[str, Setting], subject: str
) -> None:
    """Where nothing says a site, that at which all vectors were read; a warning where one is
    written at another than it was read."""
    setting, vectors = settings["site"], evals.each_of(settings[write.name.text].value)
    types = [scope.node_types[vector.span] for vector in vectors]
    sites = ["residual" if of.places else of.site for of in types]
    if setting.origin == "registry" and len(set(sites)) == 1:
        if sites[0] != "residual":
            settings["site"] = Setting(sites[0], "vector", vectors[0].span)
        return
    for vector, site in zip(vectors, sites, strict=True):
        if site not in ("residual", setting.value):
            scope.error(
                "MFV3084", vector,
                f"this vector was read at `{site}`, and {subject} writes it to `{setting.value}`",
                "", f"say where it is meant: `site = {site}`", severity="warning",
            )  # fmt: skip
            return


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
    if _not_on_test(scope, select, "value") and select.value == split.value:
        place = select.span or attributes["choose"].span
        places = [Label(split.span, "measured here")] if split.span else []
        scope.error(
            "MFV4005", place, f"`select_on` and `split` are both `{split.value}`",
            "what is chosen on a split cannot be measured on it", secondary=places,
        )  # fmt: skip


def _not_on_test(scope: Scope, setting: Setting, chosen: str) -> bool:
    if setting.value == "test" and setting.span is not None:
        scope.error(
            "MFV4005", setting.span, f"the {chosen} is never chosen on `test`",
            "`test` is for measuring", "write `select_on = validation`",
        )  # fmt: skip
        return False
    return True
