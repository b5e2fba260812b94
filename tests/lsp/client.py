"""A client of the language server, over standard input and output, as an editor is one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

COMMAND = [sys.executable, "-m", "mfv_dsl", "lsp"]
PATIENCE = 60.0  # seconds; many processes may share the machine


class Client(LanguageClient):
    """Keeps what the server publishes."""

    def __init__(self) -> None:
        super().__init__("tests", "1")
        self.diagnostics: dict[str, lsp.PublishDiagnosticsParams] = {}
        self.published = asyncio.Condition()

        @self.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        async def publish(params: lsp.PublishDiagnosticsParams) -> None:
            async with self.published:
                self.diagnostics[params.uri] = params
                self.published.notify_all()

        @self.feature(lsp.WORKSPACE_CODE_LENS_REFRESH)
        def refresh(params: Any) -> None:
            return None

    async def until(self, wanted: Any) -> None:
        """Wait until something is so that the server's messages change."""
        async with self.published:
            await asyncio.wait_for(self.published.wait_for(wanted), PATIENCE)

    def open(self, uri: str, text: str, version: int = 1) -> None:
        self.text_document_did_open(
            lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, "mfv", version, text))
        )

    def edit(self, uri: str, version: int, *changes: Any) -> None:
        self.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(version, uri), list(changes)
            )
        )

    async def diagnosed(self, uri: str, version: int) -> list[lsp.Diagnostic]:
        """The diagnostics of a version of a text."""
        await self.until(
            lambda: uri in self.diagnostics and self.diagnostics[uri].version == version
        )
        return list(self.diagnostics[uri].diagnostics)


@asynccontextmanager
async def running(
    folder: Path, environment: dict[str, str] | None = None, options: Any = None,
    capabilities: lsp.ClientCapabilities | None = None,
) -> AsyncIterator[Client]:  # fmt: skip
    """A client and its server, which ends with the block, and must end well."""
    client = Client()
    env = {**os.environ, **(environment or {})}
    await client.start_io(*COMMAND, env=env)
    root = folder.as_uri()
    await asyncio.wait_for(
        client.initialize_async(
            lsp.InitializeParams(
                capabilities or _capabilities(), root_uri=root, initialization_options=options,
                workspace_folders=[lsp.WorkspaceFolder(root, folder.name)],
            )
        ), PATIENCE,
    )  # fmt: skip
    client.initialized(lsp.InitializedParams())
    try:
        yield client
        await asyncio.wait_for(client.shutdown_async(None), PATIENCE)
    finally:
        client.exit(None)
        server = client._server
        assert server is not None
        code = await asyncio.wait_for(server.wait(), PATIENCE)
        await client.stop()
    assert code == 0


def _capabilities() -> lsp.ClientCapabilities:
    snippets = lsp.ClientCompletionItemOptions(snippet_support=True)
    return lsp.ClientCapabilities(
        text_document=lsp.TextDocumentClientCapabilities(
            completion=lsp.CompletionClientCapabilities(completion_item=snippets)
        )
    )
