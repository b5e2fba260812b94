"""The abstract syntax tree: frozen, every node with its span, no meaning attached.

Like the grammar it knows shapes only: a recipe is a version and items; an item is a
:class:`Declaration` (``vector steer = …``), or a :class:`Block` (``eval raw { … }``).
Spans do not take part in equality, so two trees are equal when they say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, TypeAlias, TypeVar

from mfv_dsl.base.source import Source, Span

NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """What every part of a tree has: its place in the source."""

    span: Span = field(default=NOWHERE, compare=False, repr=False, kw_only=True)

    def children(self) -> Iterator[Node]:
        """Direct child nodes, field by field."""
        kind: Any = type(self)  # which mypy does not take for hashable
        for name in _fields(kind):
            value = getattr(self, name)
            if type(value) is tuple:
                yield from value
            elif value is not None:
                yield value

    def walk(self) -> Iterator[Node]:
        """This node and all below it, depth first."""
        work: list[Node] = [self]
        while work:
            node = work.pop()
            yield node
            kind: Any = type(node)
            for name in _fields_backwards(kind):
                value = getattr(node, name)
                if type(value) is tuple:
                    work += value[::-1]
                elif value is not None:
                    work.append(value)


#: what a field without nodes holds, as its annotation says
_PLAIN = frozenset(("str", "int", "bool", "int | float", "tuple[Axis, ...]", "Source", "Span"))


@cache
def _fields(kind: Any) -> tuple[str, ...]:
    """The fields of a kind of node that hold a node, a tuple of them or None."""
    return tuple(f.name for f in fields(kind) if f.name != "written" and f.type not in _PLAIN)


@cache
def _fields_backwards(kind: Any) -> tuple[str, ...]:
    return _fields(kind)[::-1]


# -- expressions --------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Name(Node):
    """A bare name: a word of the language, of the recipe, or of a dataset."""

    text: str


@dataclass(frozen=True, slots=True)
class Gap(Name):
    """Stands where text did not parse; only in partial trees, never in a checked one."""


@dataclass(frozen=True, slots=True)
class Declared(Name):
    """Stands for what a recipe that is built in Python declares; never in the tree of a recipe."""


@dataclass(frozen=True, slots=True)
class Number(Node):
    """``value`` is an int where the text was an integer literal, else a float."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Text(Node):
    """A text in double quotes; ``value`` is without them, its escapes resolved."""

    value: str


@dataclass(frozen=True, slots=True)
class HeadLabel(Node):
    """``L12H3``: layer 12, head 3, both from 0."""

    layer: int
    head: int


@dataclass(frozen=True, slots=True)
class Range(Node):
    """``start..stop:step``; both ends belong to it; ``step`` is None where not written."""

    start: Expr
    stop: Expr
    step: Expr | None = None


@dataclass(frozen=True, slots=True)
class ListExpr(Node):
    """``[a, b]``."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class SetExpr(Node):
    """``{L3H1, L4H0}``: a set of heads."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Keyword(Node):
    """``name=value`` in a call."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Call(Node):
    """``function(argument, …, keyword=value, …)``."""

    function: Name
    arguments: tuple[Expr, ...] = ()
    keywords: tuple[Keyword, ...] = ()


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """A sign before an expression."""

    operator: str  # "-" or "+"
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """Two expressions and the operator between them."""

    operator: str  # + - * / | &
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Case(Node):
    """``relation: value`` in a :class:`Match`; the name ``else`` is any other relation."""

    relation: Name | Text
    value: Expr

    @property
    def of(self) -> str:
        """The relation, or ``else``."""
        return self.relation.text if isinstance(self.relation, Name) else self.relation.value

    @property
    def is_else(self) -> bool:
        """Whether the case is that of all others."""
        return isinstance(self.relation, Name) and self.relation.text == ELSE


@dataclass(frozen=True, slots=True)
class Match(Node):
    """``match subject { relation: value … }``: the value of the relation that ``subject`` is."""

    subject: Name
    cases: tuple[Case, ...]

    def value_for(self, relation: str) -> Expr | None:
        """The value of the relation's case, else of ``else``; None where there is neither."""
        values = {case.of: case.value for case in reversed(self.cases) if not case.is_else}
        others = (case.value for case in self.cases if case.is_else)
        return values[relation] if relation in values else next(others, None)


#: the relation of the case for all others
ELSE = "else"

Expr: TypeAlias = (
    Name | Number | Text | HeadLabel | Range | ListExpr | SetExpr | Call | Unary | Binary | Match
)


# -- items --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """``name = value`` in a block; ``of.name = value`` is about the item that is called ``of``,
    which may have two names, ``defaults.tune``.  ``given`` says that it comes from ``defaults for``
    the kind of the block."""

    name: Name
    value: Expr
    of: Name | Text | None = None
    doc: str = field(default="", kw_only=True)  # of the `##` comment above it
    given: bool = field(default=False, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Declaration(Node):
    """``kind name = value`` or ``kind name(parameter, …) = value``."""

    kind: Name
    name: Name
    parameters: tuple[Name, ...]
    value: Expr
    doc: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Axis:
    """The value of a sweep in one reading of a block; ``is_seed`` where it is used as a seed and as
    nothing else."""

    name: str
    value: int | float | str
    is_seed: bool = False


@dataclass(frozen=True, slots=True)
class Block(Node):
    """``kind label { attributes }``; the label is a name, a text, or missing.

    ``reach`` is the kind that ``defaults for kind { ... }`` is for; ``values`` are the lines that
    are expressions alone, as those of a ``report``.
    """

    kind: Name
    label: Name | Text | None
    attributes: tuple[Attribute, ...]
    values: tuple[Expr, ...] = ()
    reach: Name | None = None
    #: in a recipe that is written out: the values of sweeps in this reading, those of `defaults`
    #: that depend on them, and the block as it was written
    axes: tuple[Axis, ...] = ()
    settled: tuple[Attribute, ...] = ()
    written: Block | None = field(default=None, compare=False, repr=False)
    doc: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Inclusion(Node):
    """``kind "path"`` or ``kind "path" word alias``."""

    kind: Name
    path: Text
    word: Name | None = None
    alias: Name | None = None


Item: TypeAlias = Declaration | Block


@dataclass(frozen=True, slots=True)
class RecipeTree(Node):
    """A whole recipe; ``version`` is None where it is missing, in a partial tree."""

    version: Number | None
    items: tuple[Item, ...]
    inclusions: tuple[Inclusion, ...] = ()  # the order of items means nothing
    source: Source = field(default=Source(""), compare=False, repr=False, kw_only=True)


AnyNode = TypeVar("AnyNode", bound=Node)

#: The parts of a node that call something by its name, and are no values.
_LABELS: Mapping[type[Node], tuple[str, ...]] = {
    Call: ("function",), Keyword: ("name",), Attribute: ("name", "of"),
    Declaration: ("kind", "name", "parameters"), Block: ("kind", "label", "reach"),
    Match: ("subject",), Case: ("relation",), Inclusion: ("kind", "path", "word", "alias"),
}  # fmt: skip


def rewritten(
    root: Node, change: Callable[[Node], Node | None], finish: Callable[[Node], Node] | None = None
) -> Any:
    """``root`` with other nodes in it, however deep it is.

    ``change`` is asked about every node, those above first: it gives what stands in its place, or
    None to look into it.  ``finish`` changes a node once those below it are.  Without ``finish``,
    what only names something (a called function, an attribute) stays as it is.
    """
    done: list[Node] = []
    work: list[tuple[Node, bool]] = [(root, False)]
    while work:
        node, complete = work.pop()
        labels = () if finish is not None else _LABELS.get(type(node), ())
        if not complete:
            new = change(node)
            if new is not None:
                done.append(new)
                continue
            work.append((node, True))
            work += [(part, False) for part in reversed([*_parts(node, labels)])]
            continue
        old = [*_parts(node, labels)]
        new_parts = done[len(done) - len(old) :]
        del done[len(done) - len(old) :]
        if any(a is not b for a, b in zip(old, new_parts, strict=True)):
            node = _with_parts(node, new_parts, labels)
        done.append(node if finish is None else finish(node))
    return done[0]


def _parts(node: Node, labels: tuple[str, ...]) -> Iterator[Node]:
    kind: Any = type(node)
    for name in _fields(kind):
        if name not in labels:
            value = getattr(node, name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Node):
                    yield part


def _with_parts(node: Node, parts: list[Node], labels: tuple[str, ...]) -> Node:
    left = iter(parts)
    changes: dict[str, Any] = {}
    kind: Any = type(node)
    for name in _fields(kind):
        value = getattr(node, name)
        if name in labels:
            continue
        if isinstance(value, Node):
            changes[name] = next(left)
        elif isinstance(value, tuple):
            changes[name] = tuple(next(left) if isinstance(part, Node) else part for part in value)
    return replace(node, **changes)


def as_called(node: AnyNode) -> AnyNode:
    """``node`` with the names that its parts were declared by, in the place of those of readings
    (:mod:`mfv_dsl.lang.sweeps`).

    >>> as_called(Name("best[draw=2]")).text
    'best'
    """

    def own(part: Node) -> Node:
        if isinstance(part, Name) and "[" in part.text:
            return replace(part, text=part.text.partition("[")[0])
        return part

    called: AnyNode = rewritten(node, lambda part: None, own)
    return called


def spine(node: Binary) -> tuple[Expr, list[Binary]]:
    """What stands first in a chain ``a + b - c``, and its operations from the first to the last:
    a chain may be longer than Python's recursion allows."""
    chain = [node]
    while isinstance(chain[-1].left, Binary):
        chain.append(chain[-1].left)
    return chain[-1].left, chain[::-1]


def same(first: Node, second: Node) -> bool:
    """Whether two trees say the same, as ``==`` does, however deep they are."""
    work = [(first, second)]
    while work:
        a, b = work.pop()
        if type(a) is not type(b):
            return False
        kind: Any = type(a)
        for item in fields(kind):
            one, two = getattr(a, item.name), getattr(b, item.name)
            if not item.compare:
                continue
            pairs = [(one, two)]
            if isinstance(one, tuple) and isinstance(two, tuple):
                if len(one) != len(two):
                    return False
                pairs = [*zip(one, two, strict=True)]
            for x, y in pairs:
                if isinstance(x, Node) and isinstance(y, Node):
                    work.append((x, y))
                elif x != y:
                    return False
    return True
