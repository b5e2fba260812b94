"""From tree to text, with no more parentheses than needed; parsing gives the tree back."""

from __future__ import annotations

from mfv_dsl.lang.syntax import (
    Attribute,
    Binary,
    Block,
    Call,
    Declaration,
    HeadLabel,
    Keyword,
    ListExpr,
    Name,
    Node,
    Number,
    Range,
    RecipeTree,
    SetExpr,
    Text,
    Unary,
)

_LEVEL = {"|": 1, "&": 2, "+": 3, "-": 3, "*": 4, "/": 4}
_UNARY, _PRIMARY = 5, 6
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def unparse(node: Node) -> str:
    """The normalised text of an expression, an item or a recipe, without comments.

    >>> from mfv_dsl.base.source import Source
    >>> from mfv_dsl.lang.parser import parse_expression
    >>> unparse(parse_expression(Source("(2*fv( left ))+fv(above)")))
    '2 * fv(left) + fv(above)'
    """
    if isinstance(node, RecipeTree):
        version = [] if node.version is None else [f"mfv {node.version.value}"]
        return "\n".join([*version, *map(unparse, node.items)]) + "\n"
    if isinstance(node, Declaration):
        parameter = "" if node.parameter is None else f"({node.parameter.text})"
        return f"{node.kind.text} {node.name.text}{parameter} = {unparse(node.value)}"
    if isinstance(node, Block):
        label = "" if node.label is None else f" {unparse(node.label)}"
        if node.reach is not None:
            label = f"{label or ' for'} {node.reach.text}"
        lines = (*node.attributes, *node.values)
        attributes = "".join(f"  {unparse(line)}\n" for line in lines)
        opening = "{\n" if attributes else "{"
        return f"{node.kind.text}{label} {opening}{attributes}}}"
    if isinstance(node, Attribute):
        of = "" if node.of is None else f"{unparse(node.of)}."
        return f"{of}{node.name.text} = {unparse(node.value)}"
    return _expression(node)[0]


def _expression(node: Node) -> tuple[str, int]:
    """Text, and how tightly it holds together."""
    if isinstance(node, Name):
        return node.text, _PRIMARY
    if isinstance(node, Number):
        return repr(node.value), _PRIMARY if node.value >= 0 else _UNARY
    if isinstance(node, Text):
        return f'"{node.value.translate(_ESCAPES)}"', _PRIMARY
    if isinstance(node, HeadLabel):
        return f"L{node.layer}H{node.head}", _PRIMARY
    if isinstance(node, Range):
        step = "" if node.step is None else f":{_part(node.step, 1)}"
        return f"{_part(node.start, 1)}..{_part(node.stop, 1)}{step}", 0
    if isinstance(node, ListExpr | SetExpr):
        items = ", ".join(_part(item, 0) for item in node.items)
        return (f"[{items}]" if isinstance(node, ListExpr) else f"{{{items}}}"), _PRIMARY
    if isinstance(node, Keyword):
        return f"{node.name.text}={_part(node.value, 0)}", 0
    if isinstance(node, Call):
        arguments = ", ".join(_part(item, 0) for item in (*node.arguments, *node.keywords))
        return f"{node.function.text}({arguments})", _PRIMARY
    if isinstance(node, Unary):
        return f"{node.operator}{_part(node.operand, _UNARY)}", _UNARY
    if isinstance(node, Binary):
        level = _LEVEL[node.operator]
        left, right = _part(node.left, level), _part(node.right, level + 1)
        return f"{left} {node.operator} {right}", level
    raise TypeError(f"{type(node).__name__} has no text")


def _part(node: Node, level: int) -> str:
    """The text of a part, in parentheses if it holds together less tightly than needed."""
    text, own = _expression(node)
    return text if own >= level else f"({text})"
