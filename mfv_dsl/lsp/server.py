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
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.uris import to_fs_path

from mfv_dsl.base.source import Span
from mfv_dsl.lsp.actions import FORMAT, actions, format_edits
from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.documents import Document
from mfv_dsl.lsp.highlighting import LEGEND, semantic_tokens
from mfv_dsl.lsp.hover import hover, signature_help
from mfv_dsl.lsp.lenses import lenses
from mfv_dsl.lsp.navigation import (
    CannotRename,
    Elsewhere,
    definitions,
    references,
    symbol_at,
)
from mfv_dsl.lsp.outline import folds, symbols
from mfv_dsl.lsp.positions import Lines
from mfv_dsl.lsp.session import Server
from mfv_dsl.lsp.workspace import Places, Workspace, places_of, renamed

_log = logging.getLogger(__name__)
_RequestFailed = -32803

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])
Register = Callable[[Handler], Handler]


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
            ls.root = Path(root)
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

    async def workspace(document: Document) -> Workspace:
        """The files as they are now; what is known of the document is not found out again."""
        analysis = await ls.checker.current(document)
        made = Workspace(dict(ls.checker.texts), ls.root, ls.checker.facts)
        made.note(document.place, analysis)
        return made

    def uri_of(file: str) -> str:
        """A file as the editor calls it."""
        known = {document.place: uri for uri, document in ls.documents.items()}
        return known.get(file) or Path(file).as_uri()

    def by_file(found: Places, files: Workspace, encoding: Any) -> list[tuple[str, lsp.Range]]:
        return [
            (uri_of(file), Lines(files.text(file) or "", encoding).range(span))
            for file, spans in found.items()
            for span in spans
        ]

    @feature(lsp.TEXT_DOCUMENT_REFERENCES)
    async def references_(document: Document, params: lsp.ReferenceParams) -> list[lsp.Location]:
        files, offset = await workspace(document), document.lines.offset(params.position)
        declaration = params.context.include_declaration
        found = await asyncio.to_thread(places_of, files, document.place, offset, declaration)
        return [lsp.Location(*place) for place in by_file(found, files, document.lines.encoding)]

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
        await _renamed(await workspace(document), document.place, offset)
        found = symbol_at(analysis, offset)
        assert found is not None
        name = found[1].text.rpartition(".")[2]
        own = Span(found[0].end - len(name), found[0].end)
        return lsp.PrepareRenamePlaceholder(document.lines.range(own), name)

    @feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    async def rename(document: Document, params: lsp.RenameParams) -> lsp.WorkspaceEdit:
        files, offset = await workspace(document), document.lines.offset(params.position)
        found = await _renamed(files, document.place, offset, params.new_name)
        changes: dict[str, list[lsp.TextEdit]] = {}
        for uri, place in by_file(found, files, document.lines.encoding):
            changes.setdefault(uri, []).append(lsp.TextEdit(place, params.new_name))
        return lsp.WorkspaceEdit(changes=changes)

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


async def _renamed(files: Workspace, file: str, offset: int, new: str | None = None) -> Places:
    """The places of a rename; why there are none goes to the user."""
    try:
        return await asyncio.to_thread(renamed, files, file, offset, new)
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
