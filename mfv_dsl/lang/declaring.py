"""The items of a recipe entered by name, those whose kind and shape are right."""

from __future__ import annotations

from typing import Any

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.lang import blocks
from mfv_dsl.lang.defaults import KINDS, enter_defaults
from mfv_dsl.lang.entries import FUNCTION, ITEM
from mfv_dsl.lang.scope import Scope
from mfv_dsl.lang.syntax import Block, Declaration, Gap, Item, Name, RecipeTree, Text

#: relations that a family of vectors takes
MOST_PARAMETERS = 2


def declare(scope: Scope, recipe: RecipeTree) -> list[Item]:
    """Enter every name; the items whose kind and shape are right."""
    right: list[Item] = []
    for item in recipe.items:
        usable = _shape(scope, item)
        _not_each(scope, item)
        if isinstance(item, Declaration):
            _enter(scope, scope.names, item.name, item)
            if not usable or isinstance(item.value, Gap):
                scope.doubtful.add(item.name.text)
        elif isinstance(item.label, Name) and item.kind.text != "profile":
            names = scope.evals if item.kind.text == "eval" else scope.names
            _enter(scope, names, item.label, item)
            if not usable:
                scope.doubtful.add(item.label.text)
        if usable:
            right.append(item)
        if usable and isinstance(item, Block) and item.kind.text == "defaults":
            enter_defaults(scope, item, blocks.attributes_of(scope, item))
        elif usable and isinstance(item, Block):
            scope.kinds_of_blocks.add(item.kind.text)
    return right


def _not_each(scope: Scope, item: Item) -> None:
    """`each` is the relation under test wherever it stands, so nothing else is called that."""
    names = [item.name, *item.parameters] if isinstance(item, Declaration) else [item.label]
    for name in names:
        if isinstance(name, Name) and name.text == "each":
            scope.error(
                "MFV2019", name, "`each` is the relation under test", "it needs another name"
            )


def _enter(scope: Scope, names: dict[str, Any], name: Name, item: Item) -> None:
    first = names.setdefault(name.text, item)
    if first is not item:
        place = first.name if isinstance(first, Declaration) else first.label
        scope.error(
            "MFV2008", name, f"`{name.text}` is declared twice", "and again",
            secondary=[Label(place.span, "declared here")],
        )  # fmt: skip


def _shape(scope: Scope, item: Item) -> bool:
    """Whether an item's kind is known and its form is that kind's."""
    kind = item.kind.text
    if kind not in ITEM:
        scope.unknown("MFV2005", "kind of item", item.kind, ITEM, f"there are: {', '.join(ITEM)}")
        return False
    entry = ITEM[kind]
    example = f"for example:\n{entry.example}"
    if entry.form == "inclusion":
        scope.error("MFV2020", item.kind, f"`{kind}` is followed by a text", "", example)
        return False
    is_block = isinstance(item, Block)
    if is_block != (entry.form == "block"):
        form = "`{ ... }`" if entry.form == "block" else "`= ...`"
        scope.error("MFV2020", item.kind, f"`{kind}` is followed by a name and {form}"
                    if kind != "defaults" else "`defaults` is followed by `{ ... }`",
                    "", example)  # fmt: skip
        return False
    if isinstance(item, Declaration):
        if item.parameters and kind != "vector":
            scope.error("MFV2020", item.parameters[0], f"`{kind}` takes no parameter", "", example)
            return False
        if not _parameters(scope, item):
            return False
        if kind == "vector" and item.parameters and item.name.text in FUNCTION:
            scope.error(
                "MFV2019", item.name, f"`{item.name.text}` is a function of the language",
                "a family needs a name of its own",
            )  # fmt: skip
        return True
    if item.reach is not None:
        return _reach(scope, item, item.reach)
    label = "name" if isinstance(item.label, Name) else "text" if item.label else ""
    if label != entry.label or item.label == Text(""):
        needs = {"name": "a name", "text": 'a folder in `"`', "": "nothing"}[entry.label]
        at = item.label.span if item.label is not None else item.kind.span
        scope.error("MFV2020", at, f"`{kind}` needs {needs} before its `{{`", "", example)
        return False
    if kind == "tune" and isinstance(item.label, Name) and item.label.text in FUNCTION:
        scope.error(
            "MFV2019", item.label, f"`{item.label.text}` is a function of the language",
            "a family needs a name of its own",
        )  # fmt: skip
    return True


def _parameters(scope: Scope, item: Declaration) -> bool:
    """Whether a declaration's parameters are two at most, of two names."""
    names = [parameter.text for parameter in item.parameters]
    for place, parameter in enumerate(item.parameters):
        if parameter.text in names[:place]:
            scope.error(
                "MFV2013", parameter, f"the parameter `{parameter.text}` is given twice",
                "and again",
            )  # fmt: skip
            return False
    if len(names) > MOST_PARAMETERS:
        scope.error(
            "MFV2020", item.parameters[MOST_PARAMETERS], "a family takes two relations at most",
            "one too many", "for example:\nvector pair(a, b) = fv(a) + fv(b)",
        )  # fmt: skip
    return len(names) <= MOST_PARAMETERS


def _reach(scope: Scope, item: Block, reach: Name) -> bool:
    """Whether a block with a third name is a `defaults for` something that takes values."""
    if item.kind.text != "defaults" or item.label is not None:
        at = reach if item.label is None else item.label
        scope.error(
            "MFV2020", at, f"`{item.kind.text}` takes no second name", "",
            "values for one kind of block stand in `defaults for eval { ... }`",
        )  # fmt: skip
        return False
    if reach.text not in KINDS:
        listed = f"there are: {', '.join(KINDS)}"
        scope.unknown("MFV2005", "kind for `defaults`:", reach, KINDS, listed)
        return False
    return True
