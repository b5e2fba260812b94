"""Blocks: attributes against the registry, and what holds between attributes."""

from __future__ import annotations

from dataclasses import replace

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.suggest import suggest
from mfv_dsl.lang import calls, evals, expressions, operators, tunes
from mfv_dsl.lang.asking import check_answer
from mfv_dsl.lang.checked import CheckedBlock, Setting
from mfv_dsl.lang.defaults import settings_of
from mfv_dsl.lang.entries import ITEM, VECTOR_WRITES, off_task_metrics, takers
from mfv_dsl.lang.eval_attributes import check_eval, not_on_test
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.saves import check_folder
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Attribute, Block, ListExpr, Name, Node, Text
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.lang.writing import (
    check_position,
    check_site_of_start,
    check_sites_saved,
    check_where,
)


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
        check_eval(scope, attributes, suggestions, settings, context, subject)
        evals.check_expressions(scope, attributes, settings, context, subject)
        check_answer(scope, attributes, settings, context, subject)
        check_where(scope, attributes, settings, context)
    if entry.lines:
        label = entry.name
        settings["numbers"] = _numbers(scope, block, context, subject)
    if entry.name == "save":
        check_folder(scope, block.label, label)
        check_sites_saved(scope, evals.each_of(settings["vectors"].value))
    if entry.name == "tune":
        not_on_test(scope, settings["select_on"], "epoch")
        models = scope.model_facts(context)
        tunes.check_tune(scope, settings, scope.dataset_facts(context), models, subject)
        check_position(scope, settings["position"], context)
        check_site_of_start(scope, settings, subject)
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
