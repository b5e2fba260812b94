"""The values in items, and the names and calls in values, as their shape alone tells them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import FUNCTION, ITEM
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.syntax import (
    Call,
    Case,
    Declaration,
    Expr,
    Gap,
    Item,
    Match,
    Name,
    Node,
)

#: Parameters of these types hold words of their own, never names of declared heads or vectors.
_OWN_WORDS = frozenset(
    ("Relation", "List[Relation]", "Choice", "List[Choice]", "Split", "Boolean", "Text")
)


def takes_heads(call: Call) -> bool:
    """Whether a call is an `fv` that names no heads."""
    named = {keyword.name.text for keyword in call.keywords}
    return call.function.text == "fv" and "heads" not in named


def label_of(item: Item) -> Name | None:
    """The name that an item is called by in others."""
    if isinstance(item, Declaration):
        return item.name
    return item.label if isinstance(item.label, Name) else None


def parameters_of(item: Item) -> frozenset[str]:
    """The names of the parameters of a family; none of anything else."""
    parameters = item.parameters if isinstance(item, Declaration) else ()
    return frozenset(parameter.text for parameter in parameters)


def own_words(parameter: Parameter | None) -> bool:
    """Whether a parameter holds words of its own alone, never names of heads, vectors or models."""
    return parameter is not None and _OWN_WORDS.issuperset(parameter.types)


def calls_in(node: Node) -> list[Call]:
    """The calls in a value or an item, however deep."""
    return [part for part in node.walk() if isinstance(part, Call)]


def _entry(call: Call) -> Entry | None:
    word = call.function.text
    if word in FUNCTION:
        return FUNCTION[word]
    return next((entries[word] for entries in CONSTRUCTOR.values() if word in entries), None)


def arguments_of(call: Call) -> Iterator[tuple[Expr, Parameter | None]]:
    """The values in a call, each with the parameter it is for."""
    entry = _entry(call)
    positional = entry.positional if entry else ()
    for index, argument in enumerate(call.arguments):
        yield argument, positional[min(index, len(positional) - 1)] if positional else None
    for keyword in call.keywords:
        yield keyword.value, entry.parameter(keyword.name.text) if entry else None


def names_in(node: Expr, parameter: Parameter | None) -> Iterator[tuple[Name, Parameter | None]]:
    """The names in a value, also of what is called, each with the parameter whose value it is
    part of."""
    work: list[tuple[Any, Parameter | None]] = [(node, parameter)]
    while work:
        part, of = work.pop()
        if isinstance(part, Gap):
            continue
        if isinstance(part, Name):
            yield part, of
        elif isinstance(part, Call):
            if part.function.text not in FUNCTION:
                yield part.function, None
            work += list(arguments_of(part))
        elif isinstance(part, Case):
            work.append((part.value, of))
        else:
            work += [(child, of) for child in part.children()]


def references(node: Expr) -> Iterator[Name]:
    """The names in a value that may be those of heads, vectors or tunes, in no order."""
    work: list[Node] = [node]
    while work:
        part = work.pop()
        if isinstance(part, Name):
            yield part
        elif isinstance(part, Call):
            if part.function.text in FUNCTION:
                given = arguments_of(part)
                work += [value for value, of in given if of is not None and not own_words(of)]
            else:
                yield part.function
        elif isinstance(part, Match):
            work += [case.value for case in part.cases]
        else:
            work += part.children()


def names_outside_calls(node: Expr) -> Sequence[Name]:
    """The names of a value that are in no call of their own."""
    names, work = list[Name](), list[Node]([node])
    while work:
        part = work.pop()
        if isinstance(part, Name):
            names.append(part)
        elif isinstance(part, Case):
            work.append(part.value)
        elif not isinstance(part, Call):
            work += part.children()
    return names


def values_in(item: Item) -> Iterator[tuple[Expr, Parameter | None]]:
    """The values in an item, also those in its calls, each with the parameter it is for."""
    if isinstance(item, Declaration):
        yield item.value, None
    else:
        entry = ITEM.get(item.kind.text)
        for attribute in item.attributes:
            yield attribute.value, _parameter(entry, attribute.name.text, item.kind.text)
        for value in item.values:
            yield value, None
    for call in calls_in(item):
        yield from arguments_of(call)


def _parameter(entry: Entry | None, name: str, kind: str) -> Parameter | None:
    if entry is None:
        return None
    if kind == "defaults":
        found = [e.parameter(name) for e in (*ITEM.values(), *FUNCTION.values())]
        return next((p for p in found if p is not None), None)
    return entry.parameter(name)
