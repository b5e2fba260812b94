"""Repairs that an editor offers, and formatting."""

from __future__ import annotations

from collections.abc import Sequence

from lsprotocol import types as lsp

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.entries import ITEM, takers
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
    """The edit that says that a warning is meant: in the block that it is of, where that takes
    `allow`, else in `defaults`; None where the language has no such attribute."""
    assert diagnostic.span is not None
    item = item_at(analysis, diagnostic.span.start)
    entry = None if item is None else ITEM.get(item.kind.text)
    if isinstance(item, Block) and entry is not None and entry.parameter(ALLOW) is not None:
        return _with_code(item, diagnostic.code, lines)
    if not takers(ALLOW) or analysis.recipe is None:
        return None
    for other in analysis.recipe.items:
        if isinstance(other, Block) and other.kind.text == "defaults" and other.reach is None:
            return _with_code(other, diagnostic.code, lines)
    end = len(lines.text)
    before = "" if lines.text.endswith("\n") else "\n"
    block = f"{before}\ndefaults {{ {ALLOW} = [{diagnostic.code}] }}\n"
    return lsp.TextEdit(lines.range(Span(end, end)), block)


def _with_code(block: Block, code: str, lines: Lines) -> lsp.TextEdit:
    """The edit that puts a code into a block's `allow`."""
    for attribute in block.attributes:
        if attribute.name.text == ALLOW and isinstance(attribute.value, ListExpr):
            end = attribute.value.span.end - 1
            comma = ", " if attribute.value.items else ""
            return lsp.TextEdit(lines.range(Span(end, end)), f"{comma}{code}")
    end = block.span.end - 1
    row = f"{ALLOW} = [{code}]"
    inside = lines.text[block.span.start : end].rstrip()
    place = Span(block.span.start + len(inside), block.span.start + len(inside))
    if lines.position(block.span.start).line != lines.position(end).line:
        return lsp.TextEdit(lines.range(place), f"\n  {row}")
    comma = "" if inside.endswith(("{", ",")) else ","
    after = "" if lines.text[place.end : end] else " "
    return lsp.TextEdit(lines.range(place), f"{comma} {row}{after}")


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
