"""Relations in trees: bare names, and texts for those that are no plain names.

A text stands for a relation wherever a name does, so that data may call its relations as it likes,
and it never stands for anything else: not for what a family is asked for, nor for ``each``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from mfv_dsl.base.names import is_plain, meant_relation
from mfv_dsl.base.source import Span
from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.syntax import (
    AnyNode,
    Call,
    Declaration,
    Expr,
    Item,
    ListExpr,
    Match,
    Name,
    Node,
    RecipeTree,
    Text,
    rewritten,
)
from mfv_dsl.lang.values_in import parameters_of, values_in


class Quoted(str):
    """The name of a relation that was written in quotes, so that nothing else is meant by it."""

    __slots__ = ()


def relation_text(node: Expr) -> str | None:
    """What a node calls a relation by; None of what calls none."""
    if isinstance(node, Text):
        return Quoted(node.value)
    return node.text if isinstance(node, Name) else None


def relation_node(relation: str, span: Span) -> Name | Text:
    """A relation as it is written."""
    return Name(relation, span=span) if is_plain(relation) else Text(relation, span=span)


def bound(relation: str, names: Mapping[str, str]) -> str:
    """The relation that a name stands for where ``names`` stand for others: its own, unless it is
    one of them."""
    return str(relation if isinstance(relation, Quoted) else names.get(relation, relation))


def substituted(node: AnyNode, names: Mapping[str, str]) -> AnyNode:
    """``node`` with bound relation names (``each``, a family's parameter) written out, and of a
    ``match`` on one of them the value of its case.

    >>> substituted(Name("each"), {"each": "left"}).text
    'left'
    """

    def written_out(part: Node) -> Node | None:
        if isinstance(part, Match) and part.subject.text in names:
            value = part.value_for(names[part.subject.text])
            return None if value is None else substituted(value, names)
        if isinstance(part, Name) and part.text in names:
            return relation_node(names[part.text], part.span)
        return None

    changed: AnyNode = rewritten(node, written_out)
    return changed


# -- spellings ------------------------------------------------------------------------------------
def with_relations(
    recipe: RecipeTree, relations: Collection[str], declared: Collection[str]
) -> RecipeTree:
    """The recipe with its relations as the datasets call them, where it spells them otherwise:
    ``sitting_on``, or ``"sitting  on"``.  The same tree where there is nothing to change.

    Args:
        recipe: A recipe written out.
        relations: Those of all datasets.
        declared: Names of the recipe, which are no relations.
    """
    changes: dict[int, Name | Text] = {}
    for item in recipe.items:
        own = {"each", *declared, *parameters_of(item)}
        for node in _places(item):
            text = relation_text(node)
            if text is None or (isinstance(node, Name) and (text in own or text in relations)):
                continue
            meant = meant_relation(text, relations)
            if meant is None:
                continue
            wanted: Name | Text = Text(meant, span=node.span)
            if meant not in own:
                wanted = relation_node(meant, node.span)
            if wanted != node:
                changes[id(node)] = wanted
    if not changes:
        return recipe

    def spelled(part: Node) -> Node | None:
        return changes.get(id(part))

    def as_it_is(part: Node) -> Node:
        return part

    changed: RecipeTree = rewritten(recipe, spelled, as_it_is)
    return replace(changed, source=recipe.source)


def _places(item: Item) -> Iterator[Expr]:
    """What stands in an item where a relation may."""
    if isinstance(item, Declaration) and item.kind.text in ("model", "dataset"):
        return
    for value, parameter in values_in(item):
        if parameter is not None and _takes_relations(parameter):
            parts = value.items if isinstance(value, ListExpr) else (value,)
            words = parameter.choices
            yield from (p for p in parts if not (isinstance(p, Name) and p.text in words))
    for part in item.walk():
        if isinstance(part, Call):
            yield from _of_family(part)
        elif isinstance(part, Match):
            yield from (case.relation for case in part.cases if not case.is_else)


def _of_family(call: Call) -> Iterable[Expr]:
    return () if call.function.text in FUNCTION else call.arguments


def _takes_relations(parameter: Parameter) -> bool:
    return not {"Relation", "List[Relation]"}.isdisjoint(parameter.types)
