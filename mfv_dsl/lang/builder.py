"""From the parser's reductions to the tree: one method per rule or alias of the grammar."""

from __future__ import annotations

from typing import Any

from lark import Token

from mfv_dsl.base.source import Span
from mfv_dsl.lang import syntax
from mfv_dsl.lang.syntax import Attribute, Block, Declaration, Expr, Keyword, Name

Children = list[Any]


class Misplaced(Exception):
    """A positional argument after a named one; ``span`` says where."""

    def __init__(self, span: Span) -> None:
        super().__init__(span)
        self.span = span


def span_of(part: Any) -> Span:
    """The span of a token or a node."""
    if isinstance(part, Token):
        return Span(part.start_pos or 0, part.end_pos or 0)
    span: Span = part.span
    return span


def unquoted(token: str) -> str:
    """The value of a string literal."""
    body = token[1:-1]
    if "\\" not in body:
        return body
    out, characters = [], iter(body)
    for character in characters:
        if character == "\\":
            escape = next(characters)
            out.append({"n": "\n", "r": "\r", "t": "\t"}.get(escape, escape))
        else:
            out.append(character)
    return "".join(out)


def _name(token: Token) -> Name:
    return Name(str(token), span=span_of(token))


def _text(token: Token) -> syntax.Text:
    return syntax.Text(unquoted(str(token)), span=span_of(token))


def label_and_reach(tokens: Children) -> tuple[Name | syntax.Text | None, Name | None]:
    """What stands between a block's kind and its `{`: its label, and in ``for tune`` its reach."""
    if not tokens:
        return None, None
    label = _name(tokens[0]) if tokens[0].type == "NAME" else _text(tokens[0])
    reach = _name(tokens[1]) if len(tokens) > 1 else None
    return (None if reach is not None and tokens[0] == "for" else label), reach


def _over(parts: Children) -> Span:
    return span_of(parts[0]).to(span_of(parts[-1]))


def _nodes(parts: Children) -> Children:
    return [part for part in parts if not isinstance(part, Token)]


class Builder:
    """Callbacks for lark; every token of a rule is kept, so spans need no bookkeeping."""

    def recipe(self, parts: Children) -> Any:
        version = next((part for part in parts if isinstance(part, syntax.Number)), None)
        items = tuple(part for part in parts if isinstance(part, Declaration | Block))
        inclusions = tuple(part for part in parts if isinstance(part, syntax.Inclusion))
        return syntax.RecipeTree(version, items, inclusions)

    def version(self, parts: Children) -> syntax.Number:
        return self.number(parts[1:])

    def declaration(self, parts: Children) -> Declaration:
        between = [part for part in parts[2:-1] if part.type == "NAME"]
        parameters = tuple(map(_name, between))
        return Declaration(
            _name(parts[0]), _name(parts[1]), parameters, parts[-1], span=_over(parts)
        )

    def inclusion(self, parts: Children) -> syntax.Inclusion:
        words = [_name(part) for part in parts[2:]]
        return syntax.Inclusion(
            _name(parts[0]), _text(parts[1]), *(words or (None, None)), span=_over(parts)
        )

    def block(self, parts: Children) -> Block:
        tokens = [part if isinstance(part, Token) else None for part in parts]
        opening = next(i for i, token in enumerate(tokens) if token and token.type == "LBRACE")
        label, reach = label_and_reach(parts[1:opening])
        nodes = _nodes(parts)
        return Block(
            _name(parts[0]), label, tuple(node for node in nodes if isinstance(node, Attribute)),
            tuple(node for node in nodes if not isinstance(node, Attribute)), reach,
            span=_over(parts),
        )  # fmt: skip

    def attribute(self, parts: Children) -> Attribute:
        of: Name | syntax.Text | None = None
        if len(parts) == 7:
            of = Name(f"{parts[0]}.{parts[2]}", span=_over(parts[:3]))
        elif len(parts) == 5:
            of = _name(parts[0]) if parts[0].type == "NAME" else _text(parts[0])
        return Attribute(_name(parts[-3]), parts[-1], of, span=_over(parts))

    def range(self, parts: Children) -> syntax.Range:
        return syntax.Range(*_nodes(parts), span=_over(parts))

    def binary(self, parts: Children) -> syntax.Binary:
        return syntax.Binary(str(parts[1]), parts[0], parts[2], span=_over(parts))

    def unary(self, parts: Children) -> syntax.Unary:
        return syntax.Unary(str(parts[0]), parts[1], span=_over(parts))

    def name(self, parts: Children) -> Name:
        return Name("".join(parts), span=_over(parts))

    def case(self, parts: Children) -> syntax.Case:
        relation = _name(parts[0]) if parts[0].type == "NAME" else _text(parts[0])
        return syntax.Case(relation, parts[2], span=_over(parts))

    def match(self, parts: Children) -> syntax.Match:
        return syntax.Match(_name(parts[1]), tuple(_nodes(parts)), span=_over(parts))

    def number(self, parts: Children) -> syntax.Number:
        (token,) = parts
        value = int(token) if token.type == "INT" else float(token)
        return syntax.Number(value, span=span_of(token))

    def text(self, parts: Children) -> syntax.Text:
        return _text(parts[0])

    def head(self, parts: Children) -> syntax.HeadLabel:
        layer, head = str(parts[0])[1:].split("H")
        return syntax.HeadLabel(int(layer), int(head), span=span_of(parts[0]))

    def list(self, parts: Children) -> syntax.ListExpr:
        return syntax.ListExpr(tuple(_nodes(parts)), span=_over(parts))

    def set(self, parts: Children) -> syntax.SetExpr:
        return syntax.SetExpr(tuple(_nodes(parts)), span=_over(parts))

    def group(self, parts: Children) -> Expr:
        """The inner expression; its span grows by the parentheses, so that carets cover them."""
        return _widened(parts[1], _over(parts))

    def keyword(self, parts: Children) -> Keyword:
        return Keyword(_name(parts[0]), parts[2], span=_over(parts))

    def call(self, parts: Children) -> syntax.Call:
        arguments: Children = []
        keywords: Children = []
        for part in _nodes(parts):
            if isinstance(part, Keyword):
                keywords.append(part)
            elif keywords:
                raise Misplaced(part.span)
            else:
                arguments.append(part)
        opening = 1 if parts[1].type == "LPAR" else 3
        name = self.name(parts[:opening])
        return syntax.Call(name, tuple(arguments), tuple(keywords), span=_over(parts))


def _widened(node: Expr, span: Span) -> Expr:
    from dataclasses import replace

    return replace(node, span=span)
