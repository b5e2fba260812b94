"""Calls: which parameter an argument belongs to, and what the call yields."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import Any

from mfv_dsl.base.diagnostics import Fix, Label
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.lang import expressions, leaves, loads, operators, states, values
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import FUNCTION, TRAINING_SPLIT
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.scope import UNKNOWN, Scope, Type, TypingContext
from mfv_dsl.lang.syntax import Binary, Call, Expr, Name, SetExpr, Unary


def call(scope: Scope, node: Call, context: TypingContext) -> Type:
    """The type of a call; its options are kept by its span."""
    word = node.function.text
    if word in FUNCTION:
        return _function(scope, node, FUNCTION[word], context)
    kind = scope.kind(word)
    if kind is not None:
        scope.use(node.function, "name")
    if scope.is_family(word):
        return _member(scope, node, context)
    if kind is not None:
        inspect(scope, node, context)
        if word in scope.doubtful or kind not in ("vector", "heads", "model", "dataset"):
            return UNKNOWN
        descriptions = {"vector": "one vector, not a family", "heads": "a set of heads"}
        description = descriptions.get(kind, f"a {kind}")
        return scope.error(
            "MFV3010", node, f"`{word}` is {description}", "it takes no relation",
            f"write `{word}`" if kind in ("vector", "heads") else None,
            fixes=[Fix(f"write `{word}`", node.span, word)],
        )  # fmt: skip
    inspect(scope, node, context)
    for makes, entries in CONSTRUCTOR.items():
        if word in entries:
            return scope.error(
                "MFV2003", node.function, f"`{word}` makes a {makes}, not a value", "",
                f"declare it: `{makes} name = {word}(...)`",
            )  # fmt: skip
    families = [name for name in scope.names if scope.is_family(name)]
    return scope.unknown(
        "MFV2003", "function", node.function, [*FUNCTION, *families], "",
        "`mfv reference` lists the functions",
    )  # fmt: skip


def inspect(scope: Scope, node: Call, context: TypingContext) -> None:
    """Look into the arguments of a call that is itself in doubt, for mistakes of their own."""
    for argument in (*node.arguments, *(keyword.value for keyword in node.keywords)):
        if isinstance(argument, Call | Binary | Unary | SetExpr):
            expressions.infer(scope, argument, context)


def _member(scope: Scope, node: Call, context: TypingContext) -> Type:
    """``tuned(left)``: one vector of a family."""
    word = node.function.text
    takes = scope.parameters(word)
    if len(node.arguments) != takes or node.keywords:
        many = "one relation" if takes == 1 else f"{takes} relations"
        example = ", ".join(("left", "above")[:takes])
        return scope.error(
            "MFV2015", node, f"`{word}` takes {many}", "", f"for example `{word}({example})`"
        )
    for place, argument in enumerate(node.arguments):
        relation = values.relation(scope, argument, context, f"`{word}`")
        if relation is not None and place == 0:
            options = {"relation": Setting(relation, "written", argument.span)}
            scope.options[node.span] = options
    return UNKNOWN if word in scope.doubtful else scope.vector_types.get(word, Type("Vector"))


# -- functions of the registry --------------------------------------------------------------------
def _function(scope: Scope, node: Call, entry: Entry, context: TypingContext) -> Type:
    arguments, complete = bind(scope, node, entry)
    settings, given_ones = left_out(entry), given(scope, entry, arguments)
    words = {parameter.name for parameter in given_ones}
    for name in ("model", "dataset"):
        parameter = entry.parameter(name)
        if parameter is not None and name in words:
            setting = option(scope, entry, parameter, arguments.get(name), context)
            settings[name] = setting
            if setting.value is not None:
                context = replace(context, **{name: setting.value})
        elif parameter is not None:  # the block that uses it will say
            settings[name] = scope.of_home(name)
    vectors: dict[str, Type] = {}
    for parameter in given_ones:
        if parameter.name in ("model", "dataset"):
            continue
        nodes = arguments.get(parameter.name)
        if nodes is not None and {*parameter.types} <= {"Vector", "States"}:
            vectors[parameter.name] = _vectors(scope, parameter, nodes, entry, context)
            value: Any = nodes if parameter.variadic else nodes[0]
            settings[parameter.name] = Setting(value, "written", nodes[0].span)
        else:
            settings[parameter.name] = option(scope, entry, parameter, nodes, context)
    for parameter in entry.required:
        if parameter.name not in arguments:
            settings.pop(parameter.name, None)
    _against_model(scope, node, entry, settings, context)
    if entry.name == "top":
        _one_set(scope, settings)
    if entry.result == "Adapter":
        _choosing_split(scope, settings["select_on"])
    if complete:
        scope.options[node.span] = settings
    return _result(scope, node, entry, settings, arguments, vectors, context)


def _vectors(
    scope: Scope,
    parameter: Parameter,
    nodes: tuple[Expr, ...],
    entry: Entry,
    context: TypingContext,
) -> Type:
    subject = f"`{entry.name}`"
    if "Vector" not in parameter.types:
        return expressions.expect(scope, nodes[0], context, "States", subject)
    types = [expressions.infer(scope, node, context, "Vector") for node in nodes]
    if "States" in parameter.types and any(of.name == "States" for of in types):
        return _rows(scope, nodes, types, subject)
    fitting = [
        (node, expressions.fitting(scope, node, of, context, "Vector", subject))
        for node, of in zip(nodes, types, strict=True)
    ]
    return operators.join(scope, [(n, t) for n, t in fitting if t != UNKNOWN])


def _rows(scope: Scope, nodes: tuple[Expr, ...], types: list[Type], subject: str) -> Type:
    """The type of the states that a parameter takes which takes vectors, too."""
    for node, of in zip(nodes, types, strict=True):
        if of.name == "States" and len(nodes) > 1:
            return scope.error(
                "MFV3083", node, f"{subject} takes the rows of one `states`, or vectors",
                "rows of states", "take the mean of the rows first, which is a vector",
                fixes=[_as_mean(scope, node)],
            )  # fmt: skip
    return types[0]


def _as_mean(scope: Scope, node: Expr) -> Fix:
    text = f"mean({scope.source.text[node.span.start : node.span.end]})"
    return Fix(f"write `{text}`" if len(text) < 60 else "write `mean(...)`", node.span, text)


def _result(
    scope: Scope, node: Call, entry: Entry, settings: dict[str, Setting],
    arguments: dict[str, tuple[Expr, ...]], vectors: dict[str, Type], context: TypingContext,
) -> Type:  # fmt: skip
    if entry.name == "fv":
        bound = context.each or settings["model"].origin == "written"
        model, bias = context.model if bound else None, settings["bias"].value
        return Type("Vector", model=model, bias=bias)
    if entry.result == "Adapter":
        bound = context.each or settings["model"].origin == "written"
        return Type("Adapter", model=context.model if bound else None)
    if entry.name == "states" and "layer" in settings:
        return states.type_of(scope, node, settings, context)
    if entry.name == "load":
        return loads.load(scope, node, settings, context)
    if entry.name == "blend" and "vectors" in settings:
        return _blend(scope, settings["vectors"].value)
    if not vectors:
        if entry.name == "zeros":  # of any place
            return Type(entry.result, parts=False, places=None, sites=())
        return Type(entry.result, parts=entry.parts != "none")
    parts = [(arguments[name][0], vectors[name]) for name in vectors]
    if any(of.name == "States" for of in vectors.values()):
        known = all(of != UNKNOWN for of in vectors.values())
        rows = states.joined(scope, parts) if known else UNKNOWN
        return states.vector_of(rows) if rows != UNKNOWN else UNKNOWN
    joined = operators.join(scope, parts)
    if entry.result != "Vector":
        return Type(entry.result)
    if entry.parts == "none":
        return replace(joined, parts=False)
    origin = vectors.get(entry.parts)
    return replace(joined, parts=origin.parts) if origin else joined


def _blend(scope: Scope, candidates: tuple[Expr, ...] | None) -> Type:
    if not candidates:
        return UNKNOWN
    listed = [(candidate, scope.node_types[candidate.span]) for candidate in candidates]
    return replace(operators.join(scope, listed), blend=True)


def _against_model(
    scope: Scope, node: Call, entry: Entry, settings: dict[str, Setting], context: TypingContext
) -> None:
    """The number of heads asked for is one the model has, and so are the layers."""
    if entry.result != "Heads":
        return
    facts = scope.model_facts(context)
    if "which" in settings and facts:
        _some_heads(scope, settings["which"], facts)
    setting = settings.get("k")
    if setting is None or not isinstance(setting.value, int) or setting.span is None or not facts:
        return
    most = max(fact.head_count for fact in facts)
    if setting.value > most:
        scope.error(
            "MFV4004", setting.span, f"the model has no {setting.value} heads",
            f"it has {most} in all",
        )  # fmt: skip


def _choosing_split(scope: Scope, setting: Setting) -> None:
    """The epoch is chosen on prompts that neither train nor measure."""
    if setting.span is None or setting.value not in ("test", TRAINING_SPLIT):
        return
    test = setting.value == "test"
    scope.error(
        "MFV4005" if test else "MFV5312", setting.span,
        f"the epoch is never chosen on `{setting.value}`",
        "`test` is for measuring" if test else "these are the prompts it is trained on",
        "write `select_on=validation`",
    )  # fmt: skip


def _one_set(scope: Scope, settings: dict[str, Setting]) -> None:
    """`top` has one set for some relations, or each relation's own."""
    per, on = settings["per"], settings["on"]
    if per.value == "relation" and on.value is not None and per.span and on.span:
        scope.error(
            "MFV3060", per.span, "with `per = relation` the heads are those of one relation, and "
            "`on` names others", "", "leave `on` out, or `per`",
            secondary=[Label(on.span, "these")],
        )  # fmt: skip


def _some_heads(scope: Scope, setting: Setting, facts: Sequence[ModelFacts]) -> None:
    """The layers that are asked for have heads, some of them at least."""
    asked = setting.value if isinstance(setting.value, tuple) else (setting.value,)
    layers = {int(layer) for layer in asked if isinstance(layer, int | float)}
    if layers and setting.span and not any(layers & {*fact.head_layers} for fact in facts):
        named = ", ".join(map(str, sorted(layers)))
        scope.error(
            "MFV4002", setting.span, f"the model has no heads in layer {named}",
            leaves.without_heads(facts[0]).removeprefix("; "),
        )  # fmt: skip


def option(
    scope: Scope,
    entry: Entry,
    parameter: Parameter,
    nodes: tuple[Expr, ...] | None,
    context: TypingContext,
    subject: str = "",
) -> Setting:
    """A call's or block's value: written, else from `defaults`, else the registry's."""
    subject = subject or f"`{entry.name}`"
    if nodes is not None:
        value = values.value(scope, parameter, nodes[0], context, subject)
        return Setting(value, "written", nodes[0].span)
    key = scope.default_of(entry.name, parameter)
    if key is None:
        return _registered(parameter)
    return values.from_defaults(scope, key, parameter, context, subject)


def given(scope: Scope, entry: Entry, arguments: Container[str]) -> list[Parameter]:
    """The parameters that are written or take a value from `defaults`, in their order: few of all
    that there are."""
    from_defaults = scope.defaulted(entry)
    return [p for p in entry.parameters if p.name in arguments or p.name in from_defaults]


def left_out(entry: Entry) -> dict[str, Setting]:
    """What the parameters of an entry are where nothing says otherwise, the model and the dataset
    first."""
    kept = _LEFT_OUT.get(id(entry))
    if kept is None or kept[0] is not entry:
        first = sorted(entry.parameters, key=lambda p: p.name not in ("model", "dataset"))
        kept = _LEFT_OUT[id(entry)] = (entry, {p.name: _registered(p) for p in first})
    return dict(kept[1])


#: By identity, as entries are long to compare.
_LEFT_OUT: dict[int, tuple[Entry, dict[str, Setting]]] = {}


def _registered(parameter: Parameter) -> Setting:
    return Setting(None if parameter.required else parameter.default, "registry", None)


def bind(scope: Scope, node: Call, entry: Entry) -> tuple[dict[str, tuple[Expr, ...]], bool]:
    """Arguments by parameter name, and whether all is as declared."""
    before = len(scope.findings)
    positional = entry.positional
    bound: dict[str, tuple[Expr, ...]] = {}
    for index, argument in enumerate(node.arguments):
        if positional and positional[-1].variadic and index >= len(positional) - 1:
            name = positional[-1].name
            bound[name] = (*bound.get(name, ()), argument)
        elif index < len(positional):
            bound[positional[index].name] = (argument,)
        else:
            _too_many(scope, argument, entry, len(positional))
            break
    for keyword in node.keywords:
        parameter = entry.parameter(keyword.name.text)
        if parameter is not None and parameter.positional:
            text = scope.source.text[keyword.value.span.start : keyword.value.span.end]
            scope.error(
                "MFV2007", keyword.name, f"`{parameter.name}` is given without its name",
                "", f"for example `{entry.example}`",
                fixes=[Fix("drop the name", keyword.span, text)],
            )  # fmt: skip
            bound[parameter.name] = (keyword.value,)
        elif parameter is None:
            options = [p.name for p in entry.parameters if not p.positional]
            scope.unknown(
                "MFV2007", f"option of `{entry.name}`:", keyword.name, options,
                f"it takes: {', '.join(options)}" if options else "it takes none",
            )  # fmt: skip
        elif parameter.name in bound:
            scope.error(
                "MFV2013", keyword.name, f"`{parameter.name}` is given twice", "and again",
                secondary=[Label(bound[parameter.name][0].span, "given here")],
            )  # fmt: skip
        else:
            bound[parameter.name] = (keyword.value,)
    missing = [p.name for p in entry.required if p.name not in bound]
    if missing and len(scope.findings) == before:
        scope.error(
            "MFV2015", node, f"`{entry.name}` needs {_list(missing)}", "",
            f"for example `{entry.example}`",
        )  # fmt: skip
    return bound, len(scope.findings) == before


def _too_many(scope: Scope, argument: Expr, entry: Entry, takes: int) -> None:
    named = [p.name for p in entry.parameters if not p.positional]
    help = None
    if named:
        text = scope.source.text[argument.span.start : argument.span.end]
        shown = text if len(text) < 30 else "..."
        help = f"the others are named: `{named[0]}={shown}`"
    count = {0: "no argument", 1: "one argument"}.get(takes, f"{takes} arguments")
    unnamed = " without a name" if named else ""
    scope.error("MFV2016", argument, f"`{entry.name}` takes {count}{unnamed}", "one too many", help)


def _list(names: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


__all__ = ["Name", "bind", "call", "option"]
