"""`## …` above a declaration, a block or an attribute: what it is, for readers of its results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lark import Token

from mfv_dsl.base.source import Source
from mfv_dsl.lang.syntax import Attribute, Block, Declaration, Item, Name


def documented(source: Source, comments: Sequence[Token], items: list[Item]) -> list[Item]:
    """The items with what the ``comments`` of a text, those that begin with ``##``, say of them.

    A comment belongs to what begins on the line below it; several lines of them are one.
    """
    if not comments:
        return items
    lines = _Lines(source, comments)
    return [
        replace(item, doc=lines.above(item), attributes=tuple(map(lines.said_of, item.attributes)))
        if isinstance(item, Block)
        else replace(item, doc=lines.above(item))
        for item in items
    ]


def docs_of(items: Iterable[Item]) -> dict[str, str]:
    """What is said of declarations and blocks that have a name, and of attributes of these."""
    said: dict[str, str] = {}
    for item in items:
        if isinstance(item, Declaration):
            name = item.name.text
        elif item.label is not None:
            name = item.label.text if isinstance(item.label, Name) else item.label.value
        else:
            name = item.kind.text
        parts = [(name, item.doc)]
        if isinstance(item, Block):
            parts += [(f"{name}.{part.name.text}", part.doc) for part in item.attributes]
        for part, doc in parts:
            if doc:
                said.setdefault(part, doc)
    return said


class _Lines:
    """The lines of a text that are such comments, by their numbers."""

    def __init__(self, source: Source, comments: Iterable[Token]) -> None:
        self.source = source
        self.texts: dict[int, str] = {}
        for comment in comments:
            line, column = source.position(comment.start_pos or 0)
            if not source.line(line)[: column - 1].strip():
                self.texts[line] = comment.lstrip("#").strip()

    def above(self, node: Item | Attribute) -> str:
        line, column = self.source.position(node.span.start)
        if self.source.line(line)[: column - 1].strip():
            return ""  # something else begins the line
        found = []
        while (line := line - 1) in self.texts:
            found.append(self.texts[line])
        return "\n".join(reversed(found)).strip()

    def said_of(self, attribute: Attribute) -> Attribute:
        return replace(attribute, doc=self.above(attribute))
