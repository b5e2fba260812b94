"""What the language server holds: the documents of one editor, which it checks as they change."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.language_server import lsp_method

from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.documents import Checker, Document
from mfv_dsl.lsp.messages import published
from mfv_dsl.version import __version__

_log = logging.getLogger(__name__)
#: Seconds after a keystroke: until the text is checked, and until it is planned.
CHECK_AFTER, PLAN_AFTER = 0.02, 0.4


class Protocol(LanguageServerProtocol):
    """The protocol without pygls' own copies of texts: it ends lines where Python does, also with a
    form feed or U+2028, and then moves the places of changes in them."""

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> Any:
        """Hand changes on as they came."""
        yield self.fm.features[lsp.TEXT_DOCUMENT_DID_CHANGE], (params,), None


class Server(LanguageServer):
    """The open documents of one editor."""

    def __init__(self) -> None:
        super().__init__("mfv", __version__, protocol_cls=Protocol)
        self.checker = Checker()
        self.documents: dict[str, Document] = {}
        self.root: Path | None = None  # the folder of the workspace
        self.can_run = False  # whether the editor has the command that runs a block

    # -- documents --------------------------------------------------------------------------------
    def open(self, item: lsp.TextDocumentItem) -> None:
        """Begin with a document."""
        encoding = self.workspace.position_encoding or lsp.PositionEncodingKind.Utf16
        document = Document(item.uri, item.text, item.version, encoding)
        self.documents[item.uri] = document
        self.changed(document)

    def close(self, uri: str) -> None:
        """Have done with a document."""
        document = self.documents.pop(uri, None)
        if document is not None:
            if document.refresh is not None:
                document.refresh.cancel()
            self.checker.texts.pop(document.place, None)
            self.recheck_users(document)
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))

    def changed(self, document: Document) -> None:
        """Check a document whose text is another now, and those that use its file."""
        self.checker.texts[document.place] = document.lines.text
        self.schedule(document)
        self.recheck_users(document)

    def recheck_users(self, document: Document) -> None:
        """Check the documents that use the file of another, whose text is another now."""
        for other in self.documents.values():
            known = other.analysis  # None: it is being checked, perhaps with the text of before
            if other is not document and (known is None or document.place in known.files):
                other.forget()
                self.schedule(other)

    def schedule(self, document: Document) -> None:
        """Check a document in a moment, unless it is changed before."""
        if document.refresh is not None:
            document.refresh.cancel()
        document.refresh = asyncio.get_running_loop().create_task(self.refresh(document))

    async def refresh(self, document: Document) -> None:
        """Show what is wrong with a document: what the check says, then the rest."""
        try:
            await asyncio.sleep(CHECK_AFTER)
            analysis = await self.checker.current(document)
            self.publish(document, analysis, ())
            await asyncio.sleep(PLAN_AFTER)
            more = await self.checker.beyond(document)
            if more.diagnostics:
                self.publish(document, analysis, more.diagnostics)
            workspace = self.client_capabilities.workspace
            if workspace and workspace.code_lens and workspace.code_lens.refresh_support:
                self.workspace_code_lens_refresh(None)
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("could not check %s", document.uri)

    def publish(self, document: Document, analysis: Analysis, more: tuple[Any, ...]) -> None:
        """Send the diagnostics of a document, as long as they are of its text."""
        if not document.is_current or self.documents.get(document.uri) is not document:
            return
        found = (*analysis.diagnostics, *more)
        self.text_document_publish_diagnostics(
            lsp.PublishDiagnosticsParams(
                document.uri, published(found, document.lines, document.uri), document.version
            )
        )
