"""Diagnostics as the protocol has them."""

from __future__ import annotations

from collections.abc import Iterable

from lsprotocol import types as lsp

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.source import Span
from mfv_dsl.lang.codes import page_file
from mfv_dsl.lsp.positions import Lines

_SEVERITY = {
    "error": lsp.DiagnosticSeverity.Error, "warning": lsp.DiagnosticSeverity.Warning,
}  # fmt: skip


def published(found: Iterable[Diagnostic], lines: Lines, uri: str) -> list[lsp.Diagnostic]:
    """Diagnostics of one text; what has no place in it is shown at its beginning.

    The message is the finding's own with its label, notes and help in lines below; the other places
    of its story are related information, and the code links to its page.
    """
    return [_diagnostic(diagnostic, lines, uri) for diagnostic in found]


def _diagnostic(diagnostic: Diagnostic, lines: Lines, uri: str) -> lsp.Diagnostic:
    own = diagnostic.span is not None and diagnostic.source is not None
    span = diagnostic.span if own and diagnostic.span is not None else Span(0, 0)
    related = [
        lsp.DiagnosticRelatedInformation(
            lsp.Location(uri, lines.range(label.span)), label.text or "here"
        )
        for label in diagnostic.secondary
    ]
    file = page_file(diagnostic.code)
    return lsp.Diagnostic(
        lines.range(span), message(diagnostic), _SEVERITY[diagnostic.severity], diagnostic.code,
        None if file is None else lsp.CodeDescription(file.as_uri()), "mfv",
        related_information=related or None,
    )  # fmt: skip


def message(diagnostic: Diagnostic) -> str:
    """All that is said, in lines."""
    rows = [diagnostic.message, diagnostic.label]
    rows += [f"note: {note}" for note in diagnostic.notes]
    rows += [f"help: {diagnostic.help}"] if diagnostic.help else []
    return "\n".join(filter(None, rows))
