"""Names for the parts that an expression has more than once, so that it can be written at all.

In Python an expression may hold one part many times: ``v = reject(v, from_=v + w)``, done thirty
times, would be a text of more than a thousand million words.  With a name for every such part the
text grows as the program that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.syntax import Binary, Call, Expr, Name, Node, Number, Unary
from mfv_dsl.lang.unparse import unparse

#: Words and signs up to which an expression is written as it stands, and the levels.
_LONG, _DEEP = 2_000, 60


def shared_parts(expression: Expr) -> tuple[list[tuple[str, str, Expr]], Expr]:
    """Declarations of the parts of a long expression, and what is left of it.

    Returns:
        Kind (``vector`` or ``heads``), name and value of every part that is in it more than once,
        or too deep, each behind those that it is made of; and the expression with their names.

    >>> v = Call(Name("fv"), (Name("left"),))
    >>> for _ in range(12):
    ...     v = Binary("+", v, Call(Name("normalize"), (v,)))
    >>> parts, rest = shared_parts(v)
    >>> len(parts), unparse(parts[1][2]), unparse(rest)
    (12, 'part_1 + normalize(part_1)', 'part_12 + normalize(part_12)')
    """
    order = list(each_once(expression))
    size, height = dict[int, int](), dict[int, int]()
    uses = dict.fromkeys(map(id, order), 0)
    for node in order:
        below = list(node.children())
        size[id(node)] = 1 + sum(size[id(part)] for part in below)
        height[id(node)] = 1 + max((height[id(part)] for part in below), default=0)
        for part in below:
            uses[id(part)] += 1
    if size[id(expression)] <= _LONG and height[id(expression)] <= _DEEP:
        return [], expression
    taken = {node.text for node in order if isinstance(node, Name)}
    kinds, made = dict[int, str](), dict[int, Any]()
    parts: list[tuple[str, str, Expr]] = []
    for node in order:
        kinds[id(node)] = _kind(node, kinds)
        made[id(node)] = value = _with_parts(node, made)
        kind = {"Vector": "vector", "Heads": "heads"}.get(kinds[id(node)])
        height[id(node)] = 1 + max((height[id(part)] for part in node.children()), default=0)
        often = uses[id(node)] > 1 or height[id(node)] > _DEEP // 2
        if kind is not None and often and size[id(node)] > 1 and node is not expression:
            name = f"part_{len(parts) + 1}"
            while name in taken:
                name += "_"
            parts.append((kind, name, value))
            made[id(node)], height[id(node)] = Name(name), 1
    return parts, made[id(expression)]


def written_size(expression: Expr) -> int:
    """How many words and signs an expression is when it is written out."""
    size = dict[int, int]()
    for node in each_once(expression):
        size[id(node)] = 1 + sum(size[id(part)] for part in node.children())
    return size[id(expression)]


def short_text(expression: Expr) -> str:
    """The text of an expression; of a long one its last step, with names for its parts."""
    return unparse(shared_parts(expression)[1])


def each_once(expression: Node) -> Iterator[Node]:
    """Every node once, behind those below it."""
    seen, work = set[int](), [(expression, False)]
    while work:
        node, complete = work.pop()
        if complete:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            work.append((node, True))
            work += [(part, False) for part in reversed(list(node.children()))]


def _kind(node: Node, kinds: dict[int, str]) -> str:
    """The type of a node's value, as far as its form tells it; empty for others."""
    if isinstance(node, Call):
        entry = FUNCTION.get(node.function.text)
        return "" if entry is None else entry.result
    if isinstance(node, Unary):
        return kinds[id(node.operand)]
    if isinstance(node, Binary):
        sides = kinds[id(node.left)], kinds[id(node.right)]
        if "Vector" in sides:
            return "Vector"
        return "Heads" if node.operator in "|&" else sides[0]
    return "Number" if isinstance(node, Number) else ""


def _with_parts(node: Node, made: dict[int, Any]) -> Any:
    """A node with what was made of those below it."""
    changes: dict[str, Any] = {}
    for item in fields(node):
        value = getattr(node, item.name)
        if isinstance(value, Node):
            changes[item.name] = made[id(value)]
        elif isinstance(value, tuple):
            changes[item.name] = tuple(made.get(id(part), part) for part in value)
    return replace(node, **changes) if changes else node
