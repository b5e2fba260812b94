"""``--set raw.layer=0..3``: attributes given from outside, checked like source text.

The options' texts are appended to the recipe's source, so that every span stays in one text; what
is found in them is shown at the option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.source import Source, Span
from mfv_dsl.base.suggest import suggest
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.syntax import (
    Attribute,
    Block,
    Call,
    Declaration,
    Expr,
    Item,
    Keyword,
    Name,
    RecipeTree,
)


class Overrides:
    """Options of the form ``NAME.ATTRIBUTE=VALUE`` or ``NAME=VALUE``.

    With an attribute, ``NAME`` is ``defaults``, the label of an ``eval``, ``tune`` or ``save``, or
    the name of a model or dataset, whose constructor's argument is then set.  Without one, it is a
    declared model, dataset, set of heads or vector, whose whole value is replaced.
    """

    def __init__(self, source: Source, options: Sequence[str]) -> None:
        self.original = source
        self.options = tuple(options)
        self.starts: list[int] = []
        text = source.text if source.text.endswith("\n") else source.text + "\n"
        for option in options:
            self.starts.append(len(text))
            text += option + "\n"
        self.source = Source(text, source.name)

    def apply(self, recipe: RecipeTree) -> tuple[RecipeTree, list[Diagnostic]]:
        """``recipe`` with every option set, and what is wrong with options that set nothing."""
        items = list(recipe.items)
        findings: list[Diagnostic] = []
        for option, start in zip(self.options, self.starts, strict=True):
            try:
                self._set(items, option, start)
            except RecipeError as error:
                findings += error.diagnostics
        return replace(recipe, items=tuple(items), source=self.source), findings

    def in_option(self, diagnostic: Diagnostic) -> Diagnostic:
        """The diagnostic with its place in the option, if that is where it points."""
        if diagnostic.span is None:
            return diagnostic
        if diagnostic.span.start < len(self.original.text):
            labels = [label for label in diagnostic.secondary if self._number(label.span) is None]
            return replace(
                diagnostic, source=self.original, secondary=tuple(labels), fixes=diagnostic.fixes
            )
        number = self._number(diagnostic.span) or 0
        start = self.starts[number]

        def shift(span: Span) -> Span:
            return Span(span.start - start, span.end - start)

        return replace(
            diagnostic,
            source=Source(self.options[number], "--set"),
            span=shift(diagnostic.span),
            secondary=tuple(
                Label(shift(label.span), label.text)
                for label in diagnostic.secondary
                if self._number(label.span) == number
            ),
            fixes=tuple(
                Fix(fix.title, shift(fix.span), fix.replacement)
                for fix in diagnostic.fixes
                if self._number(fix.span) == number
            ),
        )

    def _number(self, span: Span) -> int | None:
        """Which option a span lies in."""
        numbers = [i for i, start in enumerate(self.starts) if span.start >= start]
        return numbers[-1] if numbers else None

    def _set(self, items: list[Item], option: str, start: int) -> None:
        path, equals, text = option.partition("=")
        name, dot, attribute = (part.strip() for part in path.partition("."))
        whole = Span(start, start + len(option))
        if not (equals and name and bool(dot) == bool(attribute) and text.strip()):
            raise self._error(
                whole,
                "this sets nothing",
                "write --set NAME.ATTRIBUTE=VALUE, as in raw.layer=0..3, or --set NAME=VALUE",
            )
        padding = " " * (start + len(path) + 1)
        value = parse_expression(Source(padding + text, self.source.name))
        place = Span(start, start + len(path.partition(".")[0]))
        if not dot:
            self._declare(items, name, value, place)
            return
        at = start + option.index(attribute, option.index("."))
        attribute_name = Name(attribute, span=Span(at, at + len(attribute)))
        number = next((i for i, item in enumerate(items) if _label(item) == name), None)
        if number is not None:
            items[number] = _with(items[number], attribute_name, value, whole)
        elif name == "defaults":
            kind = Name("defaults", span=Span(start, start + len("defaults")))
            attributes = (Attribute(attribute_name, value, span=whole),)
            items.append(Block(kind, None, attributes, span=whole))
        else:
            candidates = [label for label in map(_label, items) if label]
            raise self._unknown(place, "block, model or dataset", name, [*candidates, "defaults"])

    def _declare(self, items: list[Item], name: str, value: Expr, place: Span) -> None:
        """Give the declaration ``name`` another value."""
        places = {
            item.name.text: i for i, item in enumerate(items) if isinstance(item, Declaration)
        }
        if name not in places:
            raise self._unknown(place, "declaration", name, list(places))
        item = items[places[name]]
        assert isinstance(item, Declaration)
        items[places[name]] = replace(item, value=value)

    def _unknown(self, place: Span, kind: str, name: str, candidates: list[str]) -> RecipeError:
        near = suggest(name, candidates)
        return self._error(
            place,
            f"the recipe has no {kind} `{name}`",
            f"did you mean `{near}`?" if near else f"it has {', '.join(candidates)}",
        )

    def _error(self, span: Span, message: str, help: str) -> RecipeError:
        return RecipeError([Diagnostic("MFV2023", message, self.source, span, help=help)])


def _label(item: Item) -> str | None:
    if isinstance(item, Declaration):
        return item.name.text if isinstance(item.value, Call) else None
    if item.kind.text == "defaults":
        return "defaults"
    if item.label is None:
        return None
    return item.label.text if isinstance(item.label, Name) else item.label.value


def _with(item: Item, name: Name, value: Expr, span: Span) -> Item:
    """``item`` with an attribute, or its constructor with an argument, replaced or added."""
    if isinstance(item, Declaration):
        assert isinstance(item.value, Call)
        entry = CONSTRUCTOR.get(item.kind.text, {}).get(item.value.function.text)
        positional = [p.name for p in entry.parameters if p.positional] if entry else []
        if name.text in positional[: len(item.value.arguments)]:
            arguments = list(item.value.arguments)
            arguments[positional.index(name.text)] = value
            return replace(item, value=replace(item.value, arguments=tuple(arguments)))
        others = [word for word in item.value.keywords if word.name.text != name.text]
        keywords = (*others, Keyword(name, value, span=span))
        return replace(item, value=replace(item.value, keywords=keywords))
    attributes = [attribute for attribute in item.attributes if attribute.name.text != name.text]
    return replace(item, attributes=(*attributes, Attribute(name, value, span=span)))
