"""The language server on standard input and output: features as pygls registers them.

No exception leaves a feature: it is logged, and the answer is that there is none.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.language_server import lsp_method
from pygls.uris import to_fs_path

from mfv_dsl.base.source import Span
from mfv_dsl.lsp.actions import FORMAT, actions, format_edits
from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.documents import Checker, Document
from mfv_dsl.lsp.highlighting import LEGEND, semantic_tokens
from mfv_dsl.lsp.hover import hover, signature_help
from mfv_dsl.lsp.lenses import lenses
from mfv_dsl.lsp.messages import published
from mfv_dsl.lsp.navigation import (
    CannotRename,
    Elsewhere,
    definitions,
    references,
    renamed_places,
    symbol_at,
)
from mfv_dsl.lsp.outline import folds, symbols
from mfv_dsl.lsp.positions import Lines
from mfv_dsl.version import __version__

_log = logging.getLogger(__name__)
#: Seconds after a keystroke: until the text is checked, and until it is planned.
CHECK_AFTER, PLAN_AFTER = 0.02, 0.4
_RequestFailed = -32803

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])
Register = Callable[[Handler], Handler]


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


def server() -> Server:
    """The server with all its features."""
    ls = Server()

    def feature(method: str, options: Any = None) -> Callable[[Handler], Handler]:
        """Register a feature that is asked about an open document, as it is now."""

        def register(answer: Handler) -> Handler:
            @wraps(answer)
            async def safely(params: Any) -> Any:
                document = ls.documents.get(params.text_document.uri)
                if document is None:
                    return None
                try:
                    return await answer(document, params)
                except (asyncio.CancelledError, JsonRpcException):
                    raise
                except Exception:
                    _log.exception("%s failed on %s", method, document.uri)
                    return None

            del safely.__wrapped__  # whose arguments pygls would look at
            ls.feature(method, options)(safely)
            return answer

        return register

    _documents(ls)
    _language(ls, feature)
    _navigation(ls, feature)
    return ls


def _documents(ls: Server) -> None:
    @ls.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        """Paths in recipes are from the folder in which they are run: that of the workspace."""
        folders = [folder.uri for folder in params.workspace_folders or ()]
        uri = folders[0] if folders else params.root_uri
        root = to_fs_path(uri) if uri else params.root_path
        if root and os.path.isdir(root):
            os.chdir(root)
        options = params.initialization_options
        ls.can_run = isinstance(options, dict) and bool(options.get("runBlock"))

    @ls.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: lsp.DidOpenTextDocumentParams) -> None:
        ls.open(params.text_document)

    @ls.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: lsp.DidChangeTextDocumentParams) -> None:
        document = ls.documents.get(params.text_document.uri)
        if document is not None:
            document.change(params.content_changes, params.text_document.version)
            ls.changed(document)

    @ls.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def did_save(params: lsp.DidSaveTextDocumentParams) -> None:
        ls.checker.facts.forget()

    @ls.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_files(params: lsp.DidChangeWatchedFilesParams) -> None:
        ls.checker.facts.forget()
        for document in ls.documents.values():
            document.forget()
            ls.schedule(document)

    @ls.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: lsp.DidCloseTextDocumentParams) -> None:
        ls.close(params.text_document.uri)

    @ls.feature(lsp.SHUTDOWN)
    def shutdown(params: Any = None) -> None:
        ls.checker.close()


def _language(ls: Server, feature: Callable[..., Register[Any]]) -> None:
    @feature(
        lsp.TEXT_DOCUMENT_COMPLETION,
        lsp.CompletionOptions(trigger_characters=[".", "(", "[", "=", '"', "/", ",", " "]),
    )
    async def completion(
        document: Document, params: lsp.CompletionParams
    ) -> lsp.CompletionList | None:
        # names of a moment ago are good enough, and need no waiting
        analysis = document.analysis or await ls.checker.current(document)
        text = ls.client_capabilities.text_document
        item = text.completion.completion_item if text and text.completion else None
        snippets = bool(item and item.snippet_support)
        items = complete(analysis, document.lines, document.lines.offset(params.position), snippets)
        return lsp.CompletionList(False, items)

    @feature(lsp.TEXT_DOCUMENT_HOVER)
    async def hover_(document: Document, params: lsp.HoverParams) -> lsp.Hover | None:
        analysis = await ls.checker.current(document)
        return hover(analysis, document.lines, document.lines.offset(params.position))

    @feature(
        lsp.TEXT_DOCUMENT_SIGNATURE_HELP,
        lsp.SignatureHelpOptions(trigger_characters=["(", ","], retrigger_characters=["="]),
    )
    async def signature(
        document: Document, params: lsp.SignatureHelpParams
    ) -> lsp.SignatureHelp | None:
        return signature_help(document.lines, document.lines.offset(params.position))

    @feature(lsp.TEXT_DOCUMENT_FORMATTING)
    async def formatting(
        document: Document, params: lsp.DocumentFormattingParams
    ) -> list[lsp.TextEdit]:
        return format_edits(document.lines)

    kinds = [
        lsp.CodeActionKind.QuickFix, lsp.CodeActionKind.SourceFixAll,
        FORMAT,
    ]  # fmt: skip

    @feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(kinds))
    async def code_actions(
        document: Document, params: lsp.CodeActionParams
    ) -> list[lsp.CodeAction]:
        analysis = await ls.checker.current(document)
        more = document.further.diagnostics if document.further else ()
        found = [*analysis.diagnostics, *more]
        span = document.lines.span(params.range)
        offered = actions(
            analysis, found, document.lines, document.uri, span, params.context.diagnostics
        )
        only = params.context.only
        return [a for a in offered if only is None or _is_of(a.kind, only)]

    @feature(lsp.TEXT_DOCUMENT_CODE_LENS)
    async def code_lens(document: Document, params: lsp.CodeLensParams) -> list[lsp.CodeLens]:
        found = await ls.checker.beyond(document)
        analysis = await ls.checker.current(document)
        return lenses(analysis, found.plan, document.lines, document.uri, ls.can_run)


def _is_of(kind: lsp.CodeActionKind | str | None, wanted: Any) -> bool:
    """Whether a kind of action is one of those wanted, or below one: ``source.fixAll``."""
    text = kind.value if isinstance(kind, lsp.CodeActionKind) else str(kind)
    names = [w.value if isinstance(w, lsp.CodeActionKind) else str(w) for w in wanted]
    return any(text == name or text.startswith(f"{name}.") for name in names)


def _navigation(ls: Server, feature: Callable[..., Register[Any]]) -> None:
    def locations(document: Document, places: Sequence[Span | Elsewhere]) -> list[lsp.Location]:
        return [
            lsp.Location(
                place.file.absolute().as_uri(),
                Lines(place.source.text, document.lines.encoding).range(place.span),
            )
            if isinstance(place, Elsewhere)
            else lsp.Location(document.uri, document.lines.range(place))
            for place in places
        ]

    async def asked(document: Document, params: Any) -> tuple[Analysis, int]:
        analysis = await ls.checker.current(document)
        return analysis, document.lines.offset(params.position)

    @feature(lsp.TEXT_DOCUMENT_DEFINITION)
    async def definition(document: Document, params: lsp.DefinitionParams) -> list[lsp.Location]:
        return locations(document, definitions(*await asked(document, params)))

    @feature(lsp.TEXT_DOCUMENT_REFERENCES)
    async def references_(document: Document, params: lsp.ReferenceParams) -> list[lsp.Location]:
        found = references(*await asked(document, params), params.context.include_declaration)
        return locations(document, found)

    @feature(lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    async def highlight(
        document: Document, params: lsp.DocumentHighlightParams
    ) -> list[lsp.DocumentHighlight]:
        found = references(*await asked(document, params))
        return [lsp.DocumentHighlight(document.lines.range(place)) for place in found]

    @feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    async def prepare_rename(
        document: Document, params: lsp.PrepareRenameParams
    ) -> lsp.PrepareRenamePlaceholder:
        analysis, offset = await asked(document, params)
        _places(analysis, offset)
        found = symbol_at(analysis, offset)
        assert found is not None
        return lsp.PrepareRenamePlaceholder(document.lines.range(found[0]), found[1].text)

    @feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    async def rename(document: Document, params: lsp.RenameParams) -> lsp.WorkspaceEdit:
        places = _places(*await asked(document, params), params.new_name)
        edits = [lsp.TextEdit(document.lines.range(place), params.new_name) for place in places]
        return lsp.WorkspaceEdit(changes={document.uri: edits})

    @feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def document_symbols(
        document: Document, params: lsp.DocumentSymbolParams
    ) -> list[lsp.DocumentSymbol]:
        return symbols(await ls.checker.current(document), document.lines)

    @feature(lsp.TEXT_DOCUMENT_FOLDING_RANGE)
    async def folding(document: Document, params: lsp.FoldingRangeParams) -> list[lsp.FoldingRange]:
        return folds(await ls.checker.current(document), document.lines)

    @feature(lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, LEGEND)
    async def tokens(document: Document, params: lsp.SemanticTokensParams) -> lsp.SemanticTokens:
        analysis = await ls.checker.current(document)
        return lsp.SemanticTokens(semantic_tokens(analysis, document.lines))

    @feature(lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_RANGE, LEGEND)
    async def tokens_in_range(
        document: Document, params: lsp.SemanticTokensRangeParams
    ) -> lsp.SemanticTokens:
        analysis = await ls.checker.current(document)
        span = document.lines.span(params.range)
        return lsp.SemanticTokens(semantic_tokens(analysis, document.lines, span))


def _places(analysis: Analysis, offset: int, new: str | None = None) -> list[Span]:
    """The places of a rename; why there are none goes to the user."""
    try:
        return renamed_places(analysis, offset, new)
    except CannotRename as error:
        raise JsonRpcException(str(error), code=_RequestFailed) from None


def serve() -> None:
    """Answer an editor on standard input and output until it says good-bye."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    # trees of recipes come and go by the ten thousand, and hold no circles
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    own, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not be an answer
    server().start_io(sys.stdin.buffer, own.buffer)
