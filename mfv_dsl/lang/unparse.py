"""From tree to text, with no more parentheses than needed; parsing gives the tree back."""

from __future__ import annotations

from mfv_dsl.lang.syntax import (
    Attribute,
    Binary,
    Block,
    Call,
    Case,
    Declaration,
    HeadLabel,
    Inclusion,
    Keyword,
    ListExpr,
    Match,
    Name,
    Node,
    Number,
    Range,
    RecipeTree,
    SetExpr,
    Text,
    Unary,
    spine,
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
        return "\n".join([*version, *map(unparse, (*node.inclusions, *node.items))]) + "\n"
    if isinstance(node, Declaration):
        names = ", ".join(parameter.text for parameter in node.parameters)
        parameters = f"({names})" if names else ""
        return f"{_doc(node)}{node.kind.text} {node.name.text}{parameters} = {unparse(node.value)}"
    if isinstance(node, Inclusion):
        alias = f" {node.word.text} {node.alias.text}" if node.word and node.alias else ""
        return f"{node.kind.text} {unparse(node.path)}{alias}"
    if isinstance(node, Block):
        label = "" if node.label is None else f" {unparse(node.label)}"
        if node.reach is not None:
            label = f"{label or ' for'} {node.reach.text}"
        end = "," if node.values else ""  # a value may begin with a sign, which would go on a line
        attributes = "".join(
            f"{_doc(line, '  ')}  {unparse(line)}{end}\n" for line in node.attributes
        )
        attributes += "".join(f"  {unparse(line)}{end}\n" for line in node.values)
        opening = "{\n" if attributes else "{"
        return f"{_doc(node)}{node.kind.text}{label} {opening}{attributes}}}"
    if isinstance(node, Attribute):
        of = "" if node.of is None else f"{unparse(node.of)}."
        return f"{of}{node.name.text} = {unparse(node.value)}"
    return _expression(node)[0]


def _doc(node: Declaration | Block | Attribute, indent: str = "") -> str:
    lines = node.doc.split("\n") if node.doc else []
    return "".join(f"{indent}{f'## {line}'.rstrip()}\n" for line in lines)


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
    if isinstance(node, Case):
        return f"{_part(node.relation, 0)}: {_part(node.value, 0)}", 0
    if isinstance(node, Match):
        cases = ", ".join(_part(case, 0) for case in node.cases)
        return f"match {node.subject.text} {{ {cases} }}" if cases else (
            f"match {node.subject.text} {{}}"
        ), _PRIMARY
    if isinstance(node, Binary):
        first, chain = spine(node)
        text, own = _expression(first)
        pieces = [text]
        for operation in chain:
            level = _LEVEL[operation.operator]
            if own < level:
                pieces = ["(", *pieces, ")"]
            pieces.append(f" {operation.operator} {_part(operation.right, level + 1)}")
            own = level
        return "".join(pieces), own
    raise TypeError(f"{type(node).__name__} has no text")


def _part(node: Node, level: int) -> str:
    """The text of a part, in parentheses if it holds together less tightly than needed."""
    text, own = _expression(node)
    return text if own >= level else f"({text})"
