"""Diagnostics as the protocol has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lsprotocol import types as lsp

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.codes import page_file
from mfv_dsl.lsp.positions import Lines

_SEVERITY = {
    "error": lsp.DiagnosticSeverity.Error, "warning": lsp.DiagnosticSeverity.Warning,
}  # fmt: skip
#: Codes of what could as well be taken out, which editors show faded.
_UNUSED = ("MFV2060",)


def published(found: Iterable[Diagnostic], lines: Lines, uri: str) -> list[lsp.Diagnostic]:
    """Diagnostics of one text; what has no place in it is shown at its beginning.

    The message is the finding's own with its label, notes and help in lines below; the other places
    of its story are related information, and the code links to its page.
    """
    return [_diagnostic(diagnostic, lines, uri) for diagnostic in found]


def _diagnostic(diagnostic: Diagnostic, lines: Lines, uri: str) -> lsp.Diagnostic:
    span, source = diagnostic.span, diagnostic.source
    here = source is not None and source.text == lines.text
    places = [(label.span, label.source or source, label.text) for label in diagnostic.secondary]
    if not here and span is not None:  # in a file that the text uses: shown where it does
        places.append((span, source, diagnostic.message))
        used = (at for at, of, _ in places if of is not None and of.text == lines.text)
        span = next(used, None)
    span = span or Span(0, 0)
    related = [
        lsp.DiagnosticRelatedInformation(_location(at, of, lines, uri), text or "here")
        for at, of, text in places
    ]
    file = page_file(diagnostic.code)
    return lsp.Diagnostic(
        lines.range(span), message(diagnostic), _SEVERITY[diagnostic.severity], diagnostic.code,
        None if file is None else lsp.CodeDescription(file.as_uri()), "mfv",
        tags=[lsp.DiagnosticTag.Unnecessary] if diagnostic.code in _UNUSED else None,
        related_information=related or None,
    )  # fmt: skip


def _location(span: Span, source: Source | None, lines: Lines, uri: str) -> lsp.Location:
    """A place in the text, or in a file that it uses."""
    if source is None or source.text == lines.text:
        return lsp.Location(uri, lines.range(span))
    other = Lines(source.text, lines.encoding)
    return lsp.Location(Path(source.name).absolute().as_uri(), other.range(span))


def message(diagnostic: Diagnostic) -> str:
    """All that is said, in lines."""
    rows = [diagnostic.message, diagnostic.label]
    rows += [f"note: {note}" for note in diagnostic.notes]
    rows += [f"help: {diagnostic.help}"] if diagnostic.help else []
    return "\n".join(filter(None, rows))
