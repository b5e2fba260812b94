"""One value in place of another: what an option ``--set`` and a line of a profile do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mfv_dsl.base.source import Span
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.syntax import (
    Attribute,
    Block,
    Call,
    Declaration,
    Expr,
    Item,
    Keyword,
    Name,
    Text,
)


@dataclass(frozen=True)
class Change:
    """``target = value``, or with an attribute ``target.attribute = value``.

    With an attribute, ``target`` is ``defaults``, ``defaults.tune``, the label of an ``eval``,
    ``tune`` or ``save``, or the name of a model or dataset, whose constructor's argument is then
    set.  Without one, it is a declared model, dataset, set of heads or vector, whose whole value is
    replaced.
    """

    target: Name | Text
    attribute: Name | None
    value: Expr
    span: Span

    @property
    def name(self) -> str:
        """What the recipe calls the target."""
        return label_text(self.target)


class Unchangeable(Exception):
    """The recipe has nothing that a change could change; ``span`` is its target's place."""

    def __init__(self, span: Span, message: str, help: str) -> None:
        super().__init__(message)
        self.span, self.message, self.help = span, message, help


def label_text(label: Name | Text) -> str:
    """A label as text."""
    return label.text if isinstance(label, Name) else label.value


def with_change(items: Sequence[Item], change: Change) -> list[Item]:
    """The items once ``change`` is made; raises Unchangeable where there is nothing to change."""
    changed, change = list(items), _meant(items, change)
    if change.attribute is None:
        number, declaration = _declaration(changed, change)
        changed[number] = replace(declaration, value=change.value)
        return changed
    number = next((i for i, item in enumerate(items) if _label(item) == change.name), -1)
    if number >= 0:
        changed[number] = _with(changed[number], change.attribute, change.value, change.span)
    elif change.name.partition(".")[0] == "defaults":
        kind, reach = Name("defaults", span=change.target.span), change.name.partition(".")[2]
        attributes = (Attribute(change.attribute, change.value, span=change.span),)
        reached = Name(reach, span=change.target.span) if reach else None
        changed.append(Block(kind, None, attributes, (), reached, span=change.span))
    else:
        labels = [label for label in map(_label, items) if label]
        candidates = list(dict.fromkeys((*labels, "defaults")))
        raise _unknown(change, "block, model or dataset", candidates)
    return changed


def value_before(items: Sequence[Item], change: Change) -> Expr | None:
    """What is written where ``change`` puts its value, None where nothing is."""
    change = _meant(items, change)
    if change.attribute is None:
        named = (i for i in items if isinstance(i, Declaration) and i.name.text == change.name)
        return next((item.value for item in named), None)
    item = next((item for item in items if _label(item) == change.name), None)
    if isinstance(item, Block):
        values = {attribute.name.text: attribute.value for attribute in item.attributes}
        return values.get(change.attribute.text)
    if item is None or not isinstance(item.value, Call):
        return None
    arguments = {word.name.text: word.value for word in item.value.keywords}
    return {**arguments, **_positional(item)}.get(change.attribute.text)


def changed_models(items: Sequence[Item], changes: Sequence[Change]) -> list[Change]:
    """Those of the changes that are about a model."""
    models = {
        item.name.text
        for item in items
        if isinstance(item, Declaration) and item.kind.text == "model"
    }
    return [change for change in changes if _meant(items, change).name in models]


def _meant(items: Sequence[Item], change: Change) -> Change:
    """The change, of ``c.shapes = …`` that of what another file, used as `c`, declares."""
    if change.attribute is None:
        return change
    whole = f"{change.name}.{change.attribute.text}"
    if any(isinstance(item, Declaration) and item.name.text == whole for item in items):
        target = Name(whole, span=change.target.span.to(change.attribute.span))
        return Change(target, None, change.value, change.span)
    return change


def target_at(items: Sequence[Item], span: Span) -> str | None:
    """What a change has to name so as to replace the value that stands at a place."""
    for item in items:
        if isinstance(item, Declaration):
            if _holds(item.value.span, span):
                return item.name.text
        elif _changeable(item):
            for attribute in item.attributes:
                if _holds(attribute.value.span, span):
                    return f"{_label(item)}.{attribute.name.text}"
    return None


def _holds(outer: Span, inner: Span) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def _declaration(items: Sequence[Item], change: Change) -> tuple[int, Declaration]:
    """The declaration that a change without an attribute is about, and its number."""
    places = {
        item.name.text: (i, item) for i, item in enumerate(items) if isinstance(item, Declaration)
    }
    if change.name not in places:
        raise _unknown(change, "declaration", list(places))
    return places[change.name]


def _unknown(change: Change, kind: str, candidates: list[str]) -> Unchangeable:
    help = did_you_mean(change.name, candidates, f"it has {', '.join(candidates)}")
    return Unchangeable(change.target.span, f"the recipe has no {kind} `{change.name}`", help)


def _changeable(block: Block) -> bool:
    return block.kind.text != "profile"


def _label(item: Item) -> str | None:
    """What a change with an attribute calls an item; None where it cannot be changed so."""
    if isinstance(item, Declaration):
        return item.name.text if isinstance(item.value, Call) else None
    if item.kind.text == "defaults":
        return "defaults" if item.reach is None else f"defaults.{item.reach.text}"
    return label_text(item.label) if item.label is not None and _changeable(item) else None


def _positional(item: Declaration) -> dict[str, Expr]:
    """The arguments without names of a model's or dataset's constructor, by the names that they
    could have."""
    assert isinstance(item.value, Call)
    entry = CONSTRUCTOR.get(item.kind.text, {}).get(item.value.function.text)
    names = [parameter.name for parameter in entry.positional] if entry else []
    return dict(zip(names, item.value.arguments, strict=False))


def _with(item: Item, name: Name, value: Expr, span: Span) -> Item:
    """``item`` with an attribute, or its constructor with an argument, replaced or added."""
    if isinstance(item, Declaration):
        assert isinstance(item.value, Call)
        positional = list(_positional(item))
        if name.text in positional:
            arguments = list(item.value.arguments)
            arguments[positional.index(name.text)] = value
            return replace(item, value=replace(item.value, arguments=tuple(arguments)))
        others = [word for word in item.value.keywords if word.name.text != name.text]
        keywords = (*others, Keyword(name, value, span=span))
        return replace(item, value=replace(item.value, keywords=keywords))
    attributes = [attribute for attribute in item.attributes if attribute.name.text != name.text]
    return replace(item, attributes=(*attributes, Attribute(name, value, span=span)))
