"""The parts of a recipe: symbols for an outline, and what can be folded."""

from __future__ import annotations

from itertools import pairwise

from lsprotocol import types as lsp

from mfv_dsl.lang.changes import label_text
from mfv_dsl.lang.syntax import Block, Declaration, Item, Name, Text
from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.positions import Lines

_KINDS = {
    "model": lsp.SymbolKind.Class, "dataset": lsp.SymbolKind.Array, "heads": lsp.SymbolKind.Enum,
    "vector": lsp.SymbolKind.Variable, "defaults": lsp.SymbolKind.Namespace,
    "tune": lsp.SymbolKind.Function, "eval": lsp.SymbolKind.Event, "save": lsp.SymbolKind.File,
    "profile": lsp.SymbolKind.Namespace,
}  # fmt: skip


def symbols(analysis: Analysis, lines: Lines) -> list[lsp.DocumentSymbol]:
    """The items of a recipe with the attributes of its blocks, in its order."""
    if analysis.recipe is None:
        return []
    found = [_symbol(item, lines) for item in analysis.recipe.items]
    found += [
        lsp.DocumentSymbol(
            inclusion.path.value or inclusion.kind.text, lsp.SymbolKind.Module,
            lines.range(inclusion.span), lines.range(inclusion.path.span),
            detail=inclusion.kind.text,
        )
        for inclusion in analysis.recipe.inclusions
    ]  # fmt: skip
    return sorted(found, key=lambda symbol: symbol.range.start)


def _symbol(item: Item, lines: Lines) -> lsp.DocumentSymbol:
    kind = item.kind.text
    if isinstance(item, Declaration):
        name, inside = item.name.text, []
        place: Name | Text = item.name
    else:
        name = kind if item.label is None else label_text(item.label)
        place = item.label or item.kind
        inside = [
            lsp.DocumentSymbol(
                f"{label_text(a.of)}.{a.name.text}" if a.of else a.name.text,
                lsp.SymbolKind.Property, lines.range(a.span), lines.range(a.name.span),
            )
            for a in item.attributes
            if a.name.span.end <= a.span.end
        ]  # fmt: skip
    return lsp.DocumentSymbol(
        name or kind, _KINDS.get(kind, lsp.SymbolKind.Variable), lines.range(item.span),
        lines.range(place.span), detail=kind, children=inside or None,
    )  # fmt: skip


def folds(analysis: Analysis, lines: Lines) -> list[lsp.FoldingRange]:
    """Blocks and other items of several lines, and comments of several lines."""
    ranges = []
    for item in () if analysis.recipe is None else analysis.recipe.items:
        whole = lines.range(item.span)
        end = whole.end.line - (1 if isinstance(item, Block) else 0)
        if end > whole.start.line:
            ranges.append(lsp.FoldingRange(whole.start.line, end))
    comments = [number for number in range(len(lines.starts))
                if lines.line(number).lstrip().startswith("#")]  # fmt: skip
    for first, last in _runs(comments):
        if last > first:
            ranges.append(lsp.FoldingRange(first, last, kind=lsp.FoldingRangeKind.Comment))
    return sorted(ranges, key=lambda fold: fold.start_line)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Runs of numbers that follow one another."""
    breaks = [b for a, b in pairwise(numbers) if b != a + 1]
    starts = [*numbers[:1], *breaks]
    ends = [*(a for a, b in pairwise(numbers) if b != a + 1), *numbers[-1:]]
    return list(zip(starts, ends, strict=True))
