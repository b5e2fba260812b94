"""What is shown of the word under the pointer, and of the call that is being typed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from lsprotocol import types as lsp

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.base.source import Span
from mfv_dsl.lang.checked import CheckedBlock, Constructed, Setting
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import FUNCTION, ITEM, takers
from mfv_dsl.lang.reference import entry_text, parameter_line, signature
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.syntax import (
    Attribute,
    Block,
    Call,
    Declaration,
    Gap,
    Item,
    Keyword,
    Name,
    Node,
    Text,
)
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.cursor import argument_at, place_at, word_at
from mfv_dsl.lsp.navigation import symbol_at
from mfv_dsl.lsp.positions import Lines
from mfv_dsl.plan.build import BlockPlanner
from mfv_dsl.plan.context import Context

_MOST_LINES = 12
_MOST_RELATIONS = 4


def hover(analysis: Analysis, lines: Lines, offset: int) -> lsp.Hover | None:
    """What is known of what stands at an offset; None where that is nothing."""
    path = analysis.path_to(offset)
    found = _of_node(analysis, path, offset) if path else None
    if found is None:
        found = _of_word(lines.text, offset)
    if found is None:
        return None
    span, text = found
    return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text), lines.range(span))


def _of_word(text: str, offset: int) -> tuple[Span, str] | None:
    """A word of the language in a text that does not parse there."""
    word, span = word_at(text, offset)
    place = place_at(text, span.end)
    if not word or place.where in ("comment", "text"):
        return None
    if place.where == "item" and word in ITEM:
        return span, entry_text(ITEM[word])
    if place.where == "attribute" and place.kind in ITEM:
        parameter = ITEM[place.kind].parameter(word)
        return None if parameter is None else (span, parameter_line(parameter))
    if place.where in ("value", "keyword"):
        call = None if place.call is None else place.entry(place.call)
        parameter = None if call is None else call.parameter(word)
        if place.where == "keyword" and parameter is not None:
            return span, parameter_line(parameter)
        entry = CONSTRUCTOR.get(place.kind, FUNCTION).get(word)
        if entry is not None:
            return span, entry_text(entry)
    return None


def _of_node(analysis: Analysis, path: list[Node], offset: int) -> tuple[Span, str] | None:
    item, node = path[0], path[-1]
    assert isinstance(item, Declaration | Block)
    if isinstance(node, Gap):
        return None
    if node is item.kind:
        entry = ITEM.get(item.kind.text)
        return None if entry is None else (node.span, entry_text(entry))
    if isinstance(item, Declaration) and node is item.name:
        return node.span, _declared(analysis, item)
    if isinstance(item, Block) and node is item.label:
        return node.span, _block(analysis, item)
    if len(path) < 2:
        return None
    parent = path[-2]
    if isinstance(parent, Attribute) and isinstance(node, Name) and node is parent.name:
        text = _attribute(analysis, item, parent)
        return None if text is None else (node.span, text)
    if isinstance(parent, Keyword) and node is parent.name:
        call = path[-3]
        assert isinstance(call, Call)
        text = _argument(analysis, item, call, parent.name.text)
        return None if text is None else (node.span, text)
    if isinstance(parent, Call) and node is parent.function:
        entry = _entry(item, parent)
        if entry is not None:
            facts = _facts_of(analysis, item) if entry.kind == "constructor" else ""
            return node.span, entry_text(entry) + facts + _options(analysis, parent)
    is_relation = isinstance(node, Text) and (
        (found := symbol_at(analysis, node.span.start)) is not None and found[0] == node.span
    )
    if isinstance(node, Text) and not is_relation:
        return _loaded(analysis, parent) if isinstance(parent, Call) else None
    if isinstance(node, Name | Text):
        text = _name(analysis, item, path, node)
        return None if text is None else (node.span, text)
    return None


# -- names ----------------------------------------------------------------------------------------
def _name(analysis: Analysis, item: Item, path: list[Node], node: Name | Text) -> str | None:
    scope = analysis.scope
    found = symbol_at(analysis, node.span.start)
    if scope is None:
        return None
    if found is None:
        if isinstance(node, Text):
            return None
        if node.text == "each":
            return "`each`: the relation under test"
        return _choice(analysis, item, path, node)
    symbol = found[1]
    if symbol.of == "relation":
        having = [
            name for name, declared in scope.datasets.items()
            if symbol.text in getattr(declared.facts, "relations", ())
        ]  # fmt: skip
        of = f" of the dataset {' and '.join(f'`{name}`' for name in having)}" if having else ""
        return f"`{symbol.text}`: a relation{of}"
    if symbol.of == "parameter":
        return f"`{symbol.text}`: the relation that the family is asked for"
    declared: Item | None = scope.evals.get(symbol.text) if symbol.of == "eval" else None
    declared = declared or scope.names.get(symbol.text)
    if isinstance(declared, Declaration):
        return _declared(analysis, declared)
    return None if declared is None else _block(analysis, declared)


def _choice(analysis: Analysis, item: Item, path: list[Node], node: Name) -> str | None:
    """A word that an attribute or argument takes."""
    for number in range(len(path) - 1, 0, -1):
        outer = path[number]
        parameter: Parameter | None = None
        if isinstance(outer, Keyword):
            call = path[number - 1]
            entry = _entry(item, call) if isinstance(call, Call) else None
            parameter = None if entry is None else entry.parameter(outer.name.text)
        elif isinstance(outer, Attribute):
            parameter = _parameter(item, outer)
        if parameter is not None:
            return parameter_line(parameter) if node.text in _words(parameter) else None
    return None


def _words(parameter: Parameter) -> tuple[str, ...]:
    return (*parameter.choices, *(("true", "false") if "Boolean" in parameter.types else ()),
            *((parameter.default,) if "Split" in parameter.types else ()))  # fmt: skip


# -- items ----------------------------------------------------------------------------------------
def _declared(analysis: Analysis, item: Declaration) -> str:
    parts = [item.doc, _code(analysis, item.span)]
    if item.kind.text == "vector":
        parts += _normal_forms(analysis, item)
    return "\n\n".join(part for part in (*parts, _facts_of(analysis, item).strip()) if part)


def _code(analysis: Analysis, span: Span) -> str:
    text = analysis.text_of(span).splitlines()
    more = ["…"] if len(text) > _MOST_LINES else []
    return "\n".join(["```mfv", *text[:_MOST_LINES], *more, "```"])


def _normal_forms(analysis: Analysis, item: Declaration) -> list[str]:
    """A vector as the linear combination that it is, a family's for some of the relations."""
    checked, scope = analysis.checked, analysis.scope
    if checked is None or scope is None:
        return []
    home = scope.home()
    model = home.model or next(iter(checked.models), None)
    dataset = home.dataset or next(iter(checked.datasets), None)
    if model is None or dataset is None:
        return []
    planner = BlockPlanner(checked)
    bound: list[dict[str, str]] = [{}]
    if item.parameters:
        facts = checked.datasets[dataset].facts
        relations = facts.relations if isinstance(facts, DatasetFacts) else ()
        names = [parameter.text for parameter in item.parameters]
        bound = [
            dict(zip(names, members, strict=True))
            for members in product(relations, repeat=len(names))
        ]
    rows = []
    try:
        for member in bound[:_MOST_RELATIONS]:
            form = planner.source_text(item.value, Context(model, dataset, member))
            label = f"({', '.join(member.values())})" if member else ""
            if member or form != unparse(item.value):
                rows.append(f"{item.name.text}{label} = {form}")
    except (MfvError, KeyError, RecursionError):
        return []
    more = ["…"] if len(bound) > _MOST_RELATIONS else []
    if not rows:
        return []
    head = "As sums, by relation:" if item.parameters else "As a sum:"
    return [head, "\n".join(["```mfv", *rows, *more, "```"])]


def _facts_of(analysis: Analysis, item: Item) -> str:
    """The shape of a declared model, or what a declared dataset holds."""
    scope = analysis.scope
    if scope is None or not isinstance(item, Declaration):
        return ""
    declared: Constructed | None = scope.models.get(item.name.text)
    declared = declared or scope.datasets.get(item.name.text)
    facts = None if declared is None else declared.facts
    if isinstance(facts, ModelFacts):
        return (
            f"\n\n{facts.n_layers} layers × {facts.n_heads} heads of {facts.head_dim}, "
            f"d = {facts.d_model}"
        )
    if isinstance(facts, DatasetFacts):
        relations = ", ".join(f"`{name}`" for name in facts.relations)
        return f"\n\n{facts.description + ': ' if facts.description else ''}{relations}"
    return ""


def _block(analysis: Analysis, item: Block) -> str:
    """A block, and the values that it does not write, with who sets them."""
    parts = [item.doc, _code(analysis, item.span)]
    block = analysis.blocks.get(item.span)
    if block is not None:
        parts.append(_unwritten(analysis, block.settings).strip())
    return "\n\n".join(filter(None, parts))


# -- attributes and arguments ---------------------------------------------------------------------
def _parameter(item: Item, attribute: Attribute) -> Parameter | None:
    name = attribute.name.text
    if item.kind.text == "defaults":
        return next((parameter for _, parameter in takers(name)), None)
    entry = ITEM.get(item.kind.text)
    return None if entry is None else entry.parameter(name)


def _attribute(analysis: Analysis, item: Item, attribute: Attribute) -> str | None:
    parameter = _parameter(item, attribute)
    if parameter is None:
        found = symbol_at(analysis, attribute.name.span.start)
        if found is None or analysis.scope is None:
            return None
        declared = analysis.scope.names.get(found[1].text)
        return None if declared is None else _code(analysis, declared.span)
    lines = [parameter_line(parameter)]
    if item.kind.text == "defaults":
        names = dict.fromkeys(f"`{entry.name}`" for entry, _ in takers(parameter.name))
        lines.append(f"Taken by {', '.join(names)}.")
    elif analysis.scope is not None and parameter.from_defaults:
        given = analysis.scope.defaults.get(parameter.name)
        if given is not None:
            where = f"`defaults` in line {_line(analysis, given.span)}"
            lines.append(f"In place of `{_source(analysis, given.value)}` from {where}.")
    block = analysis.blocks.get(item.span)
    if block is not None and (value := _swept(block, parameter)) is not None:
        lines.append(f"{value} values.")
    return "\n\n".join(lines)


def _swept(block: CheckedBlock, parameter: Parameter) -> int | None:
    setting = block.settings.get(parameter.name)
    value = None if setting is None else setting.value
    return len(value) if parameter.sweeps and isinstance(value, tuple) else None


def _argument(analysis: Analysis, item: Item, call: Call, name: str) -> str | None:
    entry = _entry(item, call)
    parameter = None if entry is None else entry.parameter(name)
    return None if parameter is None else parameter_line(parameter)


def _entry(item: Item, call: Call) -> Entry | None:
    if isinstance(item, Declaration) and call is item.value and item.kind.text in CONSTRUCTOR:
        return CONSTRUCTOR[item.kind.text].get(call.function.text)
    return FUNCTION.get(call.function.text)


def _options(analysis: Analysis, call: Call) -> str:
    """What a call does not write, and who sets it."""
    settings = {} if analysis.scope is None else analysis.scope.options.get(call.span, {})
    return _unwritten(analysis, settings)


def _unwritten(analysis: Analysis, settings: Mapping[str, Setting]) -> str:
    rows = [
        f"- `{name} = {_shown(setting.value)}` from {_origin(analysis, setting)}"
        for name, setting in settings.items()
        if setting.origin != "written" and setting.value not in (None, ())
    ]
    return "\n".join(["", "Not written here:", "", *rows]) if rows else ""


def _loaded(analysis: Analysis, call: Call) -> tuple[Span, str] | None:
    """What the file of a stored vector says of it."""
    scope = analysis.scope
    settings = {} if scope is None else scope.options.get(call.span, {})
    if call.function.text != "load" or scope is None or "path" not in settings:
        return None
    facts = scope.loads.get((settings["path"].value, settings["name"].value))
    if facts is None:
        return call.span, "The vector's file is not on this machine."
    parts = "with" if facts.parts else "without"
    return call.span, (
        f"A vector of {facts.d_model} numbers for {facts.site}, {parts} per-head parts, made with "
        f"{facts.model}.\n\n`{facts.file}`"
    )


def _origin(analysis: Analysis, setting: Setting) -> str:
    if setting.origin == "defaults" and setting.span is not None:
        return f"`defaults` in line {_line(analysis, setting.span)}"
    return "the language" if setting.origin == "registry" else setting.origin


def _line(analysis: Analysis, span: Span) -> int:
    return analysis.source.position(span.start)[0]


def _source(analysis: Analysis, node: Node) -> str:
    return analysis.text_of(node.span)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, Node):
        expression: Any = value
        return unparse(expression)
    return str(value).lower() if isinstance(value, bool) else str(value)


# -- signature help -------------------------------------------------------------------------------
def signature_help(lines: Lines, offset: int) -> lsp.SignatureHelp | None:
    """The arguments of the call that the cursor is in, with the one that is being typed."""
    place = place_at(lines.text, offset)
    frame = place.call
    entry = None if frame is None else place.entry(frame)
    if frame is None or entry is None:
        return None
    labels = [_labelled(parameter) for parameter in entry.parameters]
    parameters = [
        lsp.ParameterInformation(
            label, lsp.MarkupContent(lsp.MarkupKind.Markdown, parameter_line(parameter)[2:])
        )
        for label, parameter in zip(labels, entry.parameters, strict=True)
    ]
    active = argument_at(entry, frame)
    number = None if active is None else entry.parameters.index(active)
    one = lsp.SignatureInformation(
        f"{entry.name}({', '.join(labels)})",
        lsp.MarkupContent(lsp.MarkupKind.Markdown, entry.doc), parameters, number,
    )  # fmt: skip
    return lsp.SignatureHelp([one], 0, number)


def _labelled(parameter: Parameter) -> str:
    """As the signature of the reference has it."""
    one = Entry("function", "", "", (parameter,))
    return signature(one)[1:-1]
