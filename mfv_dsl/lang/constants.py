"""``let simple = [left, right]``: a name that stands for its text wherever a value may stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic, Label
from mfv_dsl.base.source import Span
from mfv_dsl.lang.copies import Copies
from mfv_dsl.lang.scope import Use
from mfv_dsl.lang.syntax import (
    Binary,
    Block,
    Call,
    Declaration,
    Expr,
    Gap,
    Item,
    Name,
    Node,
    RecipeTree,
    rewritten,
)

LET = "let"


def without_constants(
    recipe: RecipeTree, copies: Copies, findings: list[Diagnostic], uses: dict[Span, Use]
) -> RecipeTree:
    """The recipe with the values of its constants in place of their names, where a value stands;
    ``uses`` gets the places of these.

    Finds MFV2040 for a constant of what has to be made, MFV2009 for one that is made of itself,
    MFV2008 for one that is called as an eval, MFV2011 for a parameter of that name.
    """
    constants: dict[str, Declaration] = {}
    for item in recipe.items:
        if isinstance(item, Declaration) and item.kind.text == LET and not item.parameters:
            constants.setdefault(item.name.text, item)  # a second one is reported by the checker
    if not constants:
        return recipe
    values = _Values(recipe, constants, copies, findings, uses)
    values.check_names()
    return replace(recipe, items=tuple(map(values.item, recipe.items)))


class _Values:
    """The constants of a recipe, and what they are written out as."""

    def __init__(
        self, recipe: RecipeTree, constants: Mapping[str, Declaration], copies: Copies,
        findings: list[Diagnostic], uses: dict[Span, Use],
    ) -> None:  # fmt: skip
        self.recipe, self.copies, self.findings, self.uses = recipe, copies, findings, uses
        self.constants = constants
        self.values: dict[str, Expr] = {}
        for name in constants:
            self._settle(name)

    def check_names(self) -> None:
        for item in self.recipe.items:
            if isinstance(item, Block):
                label = item.label
                if item.kind.text == "eval" and isinstance(label, Name):
                    self._clash("MFV2008", label, f"`{label.text}` is declared twice", "and again")
            for name in item.parameters if isinstance(item, Declaration) else ():
                message = f"the parameter `{name.text}` hides a constant"
                self._clash("MFV2011", name, message, "", "call it something else, such as `r`")

    def item(self, item: Item) -> Item:
        """An item with the values of constants in it."""
        if isinstance(item, Declaration):
            if item.kind.text == LET:
                return item
            hidden = {parameter.text for parameter in item.parameters}
            return replace(item, value=self.written_out(item.value, hidden))
        if item.kind.text == "profile":  # its changes are made, or are not
            return item
        attributes, values = (
            tuple(map(self.written_out, part)) for part in (item.attributes, item.values)
        )
        return replace(item, attributes=attributes, values=values)

    def written_out(self, node: Node, hidden: Collection[str] = ()) -> Any:
        """``node`` with the values of constants, but for those that parameters hide."""

        def value_of(part: Node) -> Node | None:
            if not isinstance(part, Name) or part.text in hidden or isinstance(part, Gap):
                return None
            value = self.values.get(part.text)
            if value is None:
                return None
            self.uses[part.span] = Use("name", part.text)
            if isinstance(value, Gap):
                return Gap("", span=part.span)
            return self.copies.at(part.span, value, f"the constant `{part.text}`")

        return rewritten(node, value_of)

    # -- values -----------------------------------------------------------------------------------
    def _settle(self, root: str) -> None:
        """Find the value of a constant, after those of the constants in it; a stack of its own."""
        path = [root]
        while path:
            name = path[-1]
            value = self.constants[name].value
            others = [n for n in _names(value) if n.text in self.constants]
            waiting = [other for other in others if other.text not in self.values]
            if name in self.values:
                path.pop()
            elif not waiting:
                self.values[name] = self._made(name)
                path.pop()
            elif waiting[0].text in path:
                circle = path[path.index(waiting[0].text) :]
                self._circle(circle, waiting[0])
                self.values |= {other: Gap("") for other in circle}
            else:
                path.append(waiting[0].text)

    def _made(self, name: str) -> Expr:
        value = self.constants[name].value
        for node in value.walk():
            if isinstance(node, Call) or (isinstance(node, Binary) and node.operator in "|&"):
                made = f"`{node.function.text}(...)`" if isinstance(node, Call) else "this"
                self._report(
                    "MFV2040", node, f"the constant `{name}` has to be a value, and {made} is made",
                    help="a constant is a number, text, range, list, set of heads or word; what is "
                    f"made has a kind: `vector {name} = ...` or `heads {name} = ...`",
                )  # fmt: skip
                return Gap("")
        written: Expr = self.written_out(value)
        return written

    # -- findings ---------------------------------------------------------------------------------
    def _report(
        self, code: str, node: Node, message: str, label: str = "", help: str | None = None,
        secondary: tuple[Label, ...] = (),
    ) -> None:  # fmt: skip
        self.findings.append(
            Diagnostic(
                code, message, self.recipe.source, node.span, label, help=help, secondary=secondary
            )
        )  # fmt: skip

    def _clash(
        self, code: str, node: Name, message: str, label: str, help: str | None = None
    ) -> None:
        constant = self.constants.get(node.text)
        if constant is not None:
            place = Label(constant.name.span, "declared here")
            self._report(code, node, message, label, help, (place,))

    def _circle(self, circle: list[str], last: Name) -> None:
        through = ", through others" if len(circle) > 1 else ""
        self._report(
            "MFV2009", self.constants[circle[0]].name, f"`{circle[0]}` is made of itself{through}",
            "", " -> ".join(f"`{name}`" for name in (*circle, circle[0])) if through else None,
            (Label(last.span, f"uses `{circle[0]}`"),),
        )  # fmt: skip


def _names(value: Expr) -> list[Name]:
    return [node for node in value.walk() if isinstance(node, Name)]
