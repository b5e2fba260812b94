"""Where names are declared and used, and what can be said of that: definition, references, rename.

What a name stands for is what the checker found (``Scope.uses``).  Names that it does not read in
the recipe as it stands, such as those in the values of a profile, are of what is called so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mfv_dsl.base.names import meant_relation
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.entries import CONSTANTS, FUNCTION
from mfv_dsl.lang.inclusion import Joined
from mfv_dsl.lang.lexer import MAX_NAME
from mfv_dsl.lang.relations import relation_text
from mfv_dsl.lang.scope import Scope, Use
from mfv_dsl.lang.syntax import Attribute, Block, Declaration, Expr, Item, Name, Text
from mfv_dsl.lsp.analysis import Analysis


@dataclass(frozen=True)
class Symbol:
    """Something that has a name: ``of`` is ``name``, ``eval``, ``profile``, ``relation``, or
    ``parameter``, then ``item`` is the family that it belongs to."""

    of: str
    text: str
    item: Span | None = None


def occurrences(analysis: Analysis) -> Iterator[tuple[Span, Symbol, bool]]:
    """Every place of a name in a recipe, with what it stands for and whether it is declared there.

    Places come in no order; of two declarations of one name, which are an error, both are.
    """
    scope, recipe = analysis.scope, analysis.recipe
    if scope is None or recipe is None:
        return
    swept = {span.place: use for span, use in scope.uses.items() if span.copy}
    for item in recipe.items:
        yield from _declared(item)
        for node in item.walk():
            text = relation_text(node) if isinstance(node, Name | Text) else None
            use = None if text is None else scope.uses.get(node.span) or swept.get(node.span)
            # what is written out may have the place of something else
            if use is not None and text is not None and _is_said(use, text):
                owner = item.span if use.of == "parameter" else None
                yield node.span, Symbol(use.of, use.text, owner), False
            elif item.kind.text == "dataset" and scope.types.get(node.span) == "Relation":
                own = str(relation_text(node) if isinstance(node, Name | Text) else "")
                yield node.span, Symbol("relation", own), True
        if isinstance(item, Block) and item.kind.text == "profile":
            for attribute in item.attributes:
                yield from _changed(analysis, attribute)
        yield from _unread(scope, item)


def _unread(scope: Scope, item: Item) -> Iterator[tuple[Span, Symbol, bool]]:
    """Names in values that no check of the recipe as it stands reads: those of a profile, and of a
    sweep or a constant that nothing uses."""
    values: Iterable[Expr] = ()
    if isinstance(item, Block) and item.kind.text == "profile":
        values = [attribute.value for attribute in item.attributes]
    elif isinstance(item, Declaration) and item.kind.text in ("sweep", "let"):
        values = [item.value]
    for node in (node for value in values for node in value.walk()):
        known = isinstance(node, Name) and node.text in scope.names
        if known and isinstance(node, Name) and node.span not in scope.uses:
            yield node.span, Symbol("name", node.text), False


def _is_said(use: Use, text: str) -> bool:
    """Whether ``text`` is the name of what is used, or of a relation another spelling."""
    if use.of == "relation":
        return meant_relation(text, (use.text,)) is not None
    return use.text == text


def _declared(item: Item) -> Iterator[tuple[Span, Symbol, bool]]:
    if isinstance(item, Declaration):
        yield item.name.span, Symbol("name", item.name.text), True
        for parameter in item.parameters:
            yield parameter.span, Symbol("parameter", parameter.text, item.span), True
    elif isinstance(item.label, Name):
        of = item.kind.text if item.kind.text in ("eval", "profile") else "name"
        yield item.label.span, Symbol(of, item.label.text), True


def _changed(analysis: Analysis, attribute: Attribute) -> Iterator[tuple[Span, Symbol, bool]]:
    """What a line of a profile names."""
    target = attribute.name if attribute.of is None else attribute.of
    scope = analysis.scope
    if scope is None or isinstance(target, Text):
        return
    whole = f"{target.text}.{attribute.name.text}"  # of what another file declares
    if attribute.of is not None and whole in scope.names:
        yield target.span.to(attribute.name.span), Symbol("name", whole), False
    elif target.text in scope.names:
        yield target.span, Symbol("name", target.text), False
    elif target.text in scope.evals and attribute.of is not None:
        yield target.span, Symbol("eval", target.text), False


def symbol_at(analysis: Analysis, offset: int) -> tuple[Span, Symbol] | None:
    """What the name at an offset stands for."""
    for span, symbol, _ in occurrences(analysis):
        if span.start <= offset <= span.end:
            return span, symbol
    return None


@dataclass(frozen=True)
class Elsewhere:
    """A place in a file that the recipe uses."""

    file: Path
    source: Source
    span: Span


def definitions(analysis: Analysis, offset: int) -> list[Span | Elsewhere]:
    """Where the name at an offset is declared: of a relation where datasets name it, or else where
    the datasets are declared that have it; of a `use` the file."""
    scope = analysis.scope
    found = symbol_at(analysis, offset)
    if found is None:
        return _used_file(analysis, offset)
    _, symbol = found
    places: list[Span | Elsewhere] = [
        span for span, other, declares in occurrences(analysis) if other == symbol and declares
    ]
    if places or scope is None:
        return places
    names = [symbol.text] if symbol.of == "name" else []
    if symbol.of == "relation":
        having = scope.datasets.items()
        names = [name for name, d in having if symbol.text in getattr(d.facts, "relations", ())]
    for item in (scope.names[name] for name in names if name in scope.names):
        name = item.name if isinstance(item, Declaration) else item.label or item.kind
        places.append(_place(analysis, name.span))
    return places


def _place(analysis: Analysis, span: Span) -> Span | Elsewhere:
    """A place that the checker knows, in the recipe or in a file that it uses."""
    source = analysis.source if analysis.scope is None else analysis.scope.source
    part = source.part(span.start) if isinstance(source, Joined) else None
    if part is None or part.use is None:
        return span
    start, end = span.start - part.start, span.end - part.start
    return Elsewhere(Path(part.place or part.source.name), part.source, Span(start, end))


def _used_file(analysis: Analysis, offset: int) -> list[Span | Elsewhere]:
    """The file of the `use` that an offset is in."""
    source = None if analysis.scope is None else analysis.scope.source
    for inclusion in () if analysis.recipe is None else analysis.recipe.inclusions:
        if inclusion.span.start <= offset <= inclusion.span.end and isinstance(source, Joined):
            for part in source.parts:
                if part.use == inclusion.span and part.place is not None:
                    return [Elsewhere(Path(part.place), part.source, Span(0, 0))]
    return []


def references(analysis: Analysis, offset: int, declaration: bool = True) -> list[Span]:
    """Every place of what the name at an offset stands for, in source order."""
    found = symbol_at(analysis, offset)
    if found is None:
        return []
    places = {
        span for span, symbol, is_declaration in occurrences(analysis)
        if symbol == found[1] and (declaration or not is_declaration)
    }  # fmt: skip
    return sorted(places, key=lambda span: span.start)


class CannotRename(Exception):
    """Why a name cannot be changed, or not into the one that is wanted."""


def check_new_name(analysis: Analysis, symbol: Symbol, new: str) -> None:
    """Raise CannotRename for a name that a symbol of a recipe cannot have."""
    scope, recipe = analysis.scope, analysis.recipe
    assert scope is not None and recipe is not None
    if not (new.isascii() and new.isidentifier()) or len(new) > MAX_NAME:
        raise CannotRename(f"`{new}` is not a name: letters, digits and `_`, no digit first")
    if new == "each":
        raise CannotRename("`each` is the relation under test")
    if new in CONSTANTS:
        raise CannotRename(f"`{new}` is a word of the language")
    family = symbol.of == "parameter" or scope.is_family(symbol.text)
    if family and new in FUNCTION:
        raise CannotRename(f"`{new}` is a function of the language")
    relations = {name for declared in scope.datasets.values()
                 for name in getattr(declared.facts, "relations", ())}  # fmt: skip
    if symbol.of in ("parameter", "name") and new in relations:
        raise CannotRename(f"`{new}` is a relation of the data")
    taken = {other.text for _, other, declares in occurrences(analysis)
             if declares and _clash(symbol, other)}  # fmt: skip
    if new in taken:
        raise CannotRename(f"`{new}` is taken")
    if symbol.of == "parameter":
        owner = next(item for item in recipe.items if item.span == symbol.item)
        if any(isinstance(node, Name) and node.text == new for node in owner.walk()):
            raise CannotRename(f"`{new}` stands in this family already")


def meaning(analysis: Analysis) -> list[tuple[object, ...]]:
    """What is found in a recipe and which names are the same, whatever they are: two recipes that
    differ in their names alone have the same."""
    numbers: dict[Symbol, int] = {}
    found = sorted(occurrences(analysis), key=lambda place: (place[0].start, place[2]))
    codes: list[tuple[object, ...]] = [(d.code,) for d in analysis.diagnostics]
    return codes + [
        (s.of, numbers.setdefault(Symbol(s.of, s.text), len(numbers)), declares)
        for _, s, declares in found
    ]


def _clash(symbol: Symbol, other: Symbol) -> bool:
    """Whether two symbols may not have one name.  Names of evals are apart from others in the
    language, but ``--only`` and profiles name both."""
    if "parameter" in (symbol.of, other.of):
        return {symbol.of, other.of} == {"parameter", "name"}
    if "relation" in (symbol.of, other.of):
        return False
    return (symbol.of == "profile") == (other.of == "profile")


def item_at(analysis: Analysis, offset: int) -> Item | None:
    """The item that an offset is in."""
    for item in () if analysis.recipe is None else analysis.recipe.items:
        if item.span.start <= offset <= item.span.end:
            return item
    return None
