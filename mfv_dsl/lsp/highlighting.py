"""Semantic tokens: what a highlighter cannot tell from the letters alone."""

from __future__ import annotations

from lsprotocol import types as lsp

from mfv_dsl.base.source import Span
from mfv_dsl.lang.syntax import Attribute, Block, Call, Declaration, Gap, Keyword, Name
from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.navigation import occurrences
from mfv_dsl.lsp.positions import Lines, units

TYPES = [
    "keyword", "class", "function", "variable", "parameter", "property", "enumMember", "event",
    "namespace",
]  # fmt: skip
MODIFIERS = ["declaration", "defaultLibrary"]
LEGEND = lsp.SemanticTokensLegend(TYPES, MODIFIERS)
_DECLARATION, _LIBRARY = 1, 2
_OF_SYMBOL = {
    "name": "variable", "eval": "event", "profile": "namespace", "relation": "enumMember",
    "parameter": "parameter",
}  # fmt: skip


def semantic_tokens(analysis: Analysis, lines: Lines, within: Span | None = None) -> list[int]:
    """The names of a recipe as the protocol has them: for each the lines and columns from the one
    before it, its length, type and modifiers."""
    found = {span: (kind, marks) for span, kind, marks in _words(analysis)}
    data: list[int] = []
    line = column = 0
    for span in sorted(found, key=lambda span: span.start):
        if within is not None and not (span.start < within.end and within.start < span.end):
            continue
        at = lines.position(span.start)
        length = units(lines.text[span.start : span.end], lines.encoding)
        kind, marks = found[span]
        new = at.line - line
        data += [new, at.character - (0 if new else column), length, TYPES.index(kind), marks]
        line, column = at.line, at.character
    return data


def _words(analysis: Analysis) -> list[tuple[Span, str, int]]:
    scope, recipe = analysis.scope, analysis.recipe
    if scope is None or recipe is None:
        return []
    words: list[tuple[Span, str, int]] = []
    for inclusion in recipe.inclusions:
        parts = ((inclusion.kind, "keyword"), (inclusion.word, "keyword"),
                 (inclusion.alias, "namespace"))  # fmt: skip
        words += [(name.span, kind, 0) for name, kind in parts if name is not None]
    for item in recipe.items:
        words.append((item.kind.span, "keyword", 0))
        for node in item.walk():
            if isinstance(node, Call):
                constructor = isinstance(item, Declaration) and item.kind.text in (
                    "model", "dataset",
                ) and node is item.value  # fmt: skip
                kind = "class" if constructor else "function"
                words.append((node.function.span, kind, _LIBRARY))
            elif isinstance(node, Keyword):
                words.append((node.name.span, "parameter", 0))
            elif isinstance(node, Attribute):
                words.append((node.name.span, "property", 0))
            elif isinstance(node, Name) and not isinstance(node, Gap):
                if scope.types.get(node.span) in ("Choice", "Split", "Boolean", "Relation"):
                    words.append((node.span, "enumMember", 0))
                elif node.text == "each":
                    words.append((node.span, "keyword", 0))
        if isinstance(item, Block) and item.label is not None and isinstance(item.label, Name):
            words.append((item.label.span, "variable", _DECLARATION))
    for span, symbol, declared in occurrences(analysis):
        family = symbol.of == "name" and scope.is_family(symbol.text)
        kind = "function" if family else _OF_SYMBOL[symbol.of]
        words.append((span, kind, _DECLARATION if declared else 0))
    return [(span, kind, marks) for span, kind, marks in words if span.end > span.start]
