"""Repairs that an editor offers, and formatting."""

from __future__ import annotations

from collections.abc import Sequence

from lsprotocol import types as lsp

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.entries import ITEM
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.syntax import Block, ListExpr
from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.navigation import item_at
from mfv_dsl.lsp.positions import Lines

#: The attribute of a block that says which warnings are meant.
ALLOW = "allow"
#: The kind of action that formats, of which the protocol has none of its own.
FORMAT = "source.format"


def actions(
    analysis: Analysis,
    found: list[Diagnostic],
    lines: Lines,
    uri: str,
    span: Span,
    shown: Sequence[lsp.Diagnostic] = (),
) -> list[lsp.CodeAction]:
    """Repairs of what was ``found`` within a span, and of all of it together.

    ``shown`` are the diagnostics that the editor shows there, which repairs are then joined to.
    """
    here = [d for d in found if d.span and d.span.start <= span.end and span.start <= d.span.end]
    result = []
    for diagnostic in here:
        joined = [d for d in shown if d.code == diagnostic.code]
        for fix in diagnostic.fixes:
            edit = lsp.TextEdit(lines.range(fix.span), fix.replacement)
            result.append(_action(_title(fix.title), [edit], uri, joined, preferred=True))
        meant = _allow(analysis, diagnostic, lines) if diagnostic.severity == "warning" else None
        if meant is not None:
            title = f"Allow {diagnostic.code} here: it is meant"
            result.append(_action(title, [meant], uri, joined))
    everything = _all_fixes(found, lines)
    if everything:
        title = f"Repair all that can be repaired ({len(everything)})"
        kind = lsp.CodeActionKind.SourceFixAll
        result.append(_action(title, everything, uri, [], kind))
    formatted = format_edits(lines)
    if formatted:
        result.append(_action("Format the recipe", formatted, uri, [], FORMAT))
    return result


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]


def _action(
    title: str,
    edits: list[lsp.TextEdit],
    uri: str,
    diagnostics: list[lsp.Diagnostic],
    kind: lsp.CodeActionKind | str = lsp.CodeActionKind.QuickFix,
    preferred: bool = False,
) -> lsp.CodeAction:
    return lsp.CodeAction(
        title, kind, diagnostics or None, preferred or None,
        edit=lsp.WorkspaceEdit(changes={uri: edits}),
    )  # fmt: skip


def _all_fixes(found: list[Diagnostic], lines: Lines) -> list[lsp.TextEdit]:
    """The first repair of each diagnostic; of two that overlap the first."""
    edits: list[lsp.TextEdit] = []
    last = -1
    for diagnostic in found:
        for fix in diagnostic.fixes[:1]:
            if fix.span.start > last:
                edits.append(lsp.TextEdit(lines.range(fix.span), fix.replacement))
                last = max(fix.span.end, fix.span.start)
    return edits


def _allow(analysis: Analysis, diagnostic: Diagnostic, lines: Lines) -> lsp.TextEdit | None:
    """The edit that says in the block that a warning is meant, where its kind takes `allow`."""
    assert diagnostic.span is not None
    block = item_at(analysis, diagnostic.span.start)
    entry = None if block is None else ITEM.get(block.kind.text)
    if not isinstance(block, Block) or entry is None or entry.parameter(ALLOW) is None:
        return None
    for attribute in block.attributes:
        if attribute.name.text == ALLOW and isinstance(attribute.value, ListExpr):
            end = attribute.value.span.end - 1
            comma = ", " if attribute.value.items else ""
            return lsp.TextEdit(lines.range(Span(end, end)), f"{comma}{diagnostic.code}")
    text, end = lines.text, block.span.end - 1
    one_line = lines.position(block.span.start).line == lines.position(end).line
    row = f"{ALLOW} = [{diagnostic.code}]"
    if one_line:
        before = text[:end].rstrip()
        comma = "" if before.endswith(("{", ",")) else ","
        place = Span(len(before), len(before))
        return lsp.TextEdit(lines.range(place), f"{comma} {row}")
    place = Span(block.attributes[-1].span.end, block.attributes[-1].span.end)
    return lsp.TextEdit(lines.range(place), f"\n  {row}")


# -- formatting -----------------------------------------------------------------------------------
def format_edits(lines: Lines) -> list[lsp.TextEdit]:
    """The edit that lays a recipe out: of the lines that change alone; none of a text that does not
    parse."""
    try:
        new = format_source(Source(lines.text))
    except MfvError:
        return []
    old_lines, new_lines = lines.text.splitlines(True), new.splitlines(True)
    if old_lines == new_lines:
        return []
    head = 0
    while head < min(len(old_lines), len(new_lines)) and old_lines[head] == new_lines[head]:
        head += 1
    tail = 0
    while (
        tail < min(len(old_lines), len(new_lines)) - head
        and old_lines[-1 - tail] == new_lines[-1 - tail]
    ):
        tail += 1
    start = len("".join(old_lines[:head]))
    end = len(lines.text) - len("".join(old_lines[len(old_lines) - tail :]))
    text = "".join(new_lines[head : len(new_lines) - tail])
    return [lsp.TextEdit(lines.range(Span(start, end)), text)]
