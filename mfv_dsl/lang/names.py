"""What a declared name may not be called: as a function, a relation, or a word of its place."""

from __future__ import annotations

from collections.abc import Iterator

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.lang.entries import CONSTANTS, FUNCTION, ITEM, all_entries
from mfv_dsl.lang.scope import Scope
from mfv_dsl.lang.syntax import Block, Declaration, Name, RecipeTree

#: kinds of names that stand for any value
_VALUES = ("let", "sweep")


def check_names(scope: Scope, recipe: RecipeTree) -> None:
    """Report (MFV2019, MFV2011) names that something else has already.

    A function that came after version 1 of the language gives way to a name of the recipe.  A
    constant may be called as a function: it never has parentheses behind it.
    """
    words, said = _choices(""), {finding.span for finding in scope.findings}
    taken = dict.fromkeys(_VALUES, words | set(CONSTANTS))
    taken |= dict.fromkeys(("vector", "tune"), _choices("Vector"))
    for kind, name in _declared(recipe):
        text = name.text
        function = FUNCTION.get(text)
        if function is not None and function.since == "1" and kind not in _VALUES:
            what = "a function of the language"
        elif text in taken.get(kind, ()):
            what = "a word of the language"
        else:
            _not_a_relation(scope, kind, name)
            continue
        if name.span not in said:
            scope.error(
                "MFV2019", name, f"`{text}` is {what}", "it needs another name",
                "it would not be clear which of the two is meant",
            )  # fmt: skip


def _declared(recipe: RecipeTree) -> Iterator[tuple[str, Name]]:
    """The names that may stand where a value stands, with their kinds."""
    for item in recipe.items:
        if not isinstance(item, Declaration | Block):
            continue
        kind = item.kind.text
        if isinstance(item, Declaration) and kind in ITEM:
            yield kind, item.name
        elif isinstance(item, Block) and kind == "tune" and isinstance(item.label, Name):
            yield kind, item.label


def _choices(beside: str) -> set[str]:
    """The value words of places that take values of the type ``beside`` too; of all, if empty.
    Those that came after version 1 of the language give way to a name of the recipe."""
    return {
        choice
        for entry in all_entries()
        for parameter in entry.parameters
        if not beside or beside in parameter.types
        for choice in parameter.choices
        if choice not in parameter.later
    }


def _not_a_relation(scope: Scope, kind: str, name: Name) -> None:
    for dataset, constructed in scope.datasets.items():
        relations = getattr(constructed.facts, "relations", ())
        if name.text in relations:
            declaration = scope.names.get(dataset)
            places = []
            if isinstance(declaration, Declaration):
                places = [Label(declaration.name.span, f"`{dataset}` has the relation")]
            scope.error(
                "MFV2011", name, f"the {kind} `{name.text}` hides a relation", "",
                "call it something else", secondary=places,
            )  # fmt: skip
            return
