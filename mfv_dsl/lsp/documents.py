"""The recipes that an editor has open: their texts as they are typed, and what is known of them.

Checking is done in a thread of its own, so that the server answers while it goes on; of the texts
that wait for it only the newest is checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from lsprotocol import types as lsp
from pygls.uris import to_fs_path

from mfv_dsl.lsp.analysis import Analysis, Further, KnownFacts, analyse, further
from mfv_dsl.lsp.positions import UTF16, Lines, changed
from mfv_dsl.lsp.reparse import Reparser


class Document:
    """One open recipe."""

    def __init__(self, uri: str, text: str, version: int | None, encoding: str = UTF16) -> None:
        self.uri, self.version = uri, version
        self.lines = Lines(text, encoding)
        #: what was last known, of this text or one before it
        self.analysis: Analysis | None = None
        self.further: Further | None = None
        self.reparser = Reparser()
        self.refresh: asyncio.Task[None] | None = None
        self._pending: tuple[str, Future[Analysis]] | None = None

    @property
    def path(self) -> str:
        """The file that the text is of; for one without a file a name."""
        return to_fs_path(self.uri) or "recipe.mfv"

    def change(
        self, changes: Sequence[lsp.TextDocumentContentChangeEvent], version: int | None
    ) -> None:
        """Take over changes of the text, in their order."""
        encoding = self.lines.encoding
        for change in changes:
            self.lines = Lines(changed(self.lines.text, change, encoding), encoding)
        self.version = version

    def forget(self) -> None:
        """Have it checked again though its text is the same."""
        self.analysis, self._pending = None, None

    @property
    def place(self) -> str:
        """The resolved path of the file, by which other recipes know it."""
        return str(Path(self.path).resolve())

    @property
    def is_current(self) -> bool:
        """Whether what is known is of the text as it is."""
        return self.analysis is not None and self.analysis.source.text == self.lines.text


class Checker:
    """Checks documents, one after another."""

    def __init__(self) -> None:
        self.facts = KnownFacts()
        #: the open documents by their resolved paths, which others may use
        self.texts: dict[str, str] = {}
        self._now = ThreadPoolExecutor(1, "check")
        self._later = ThreadPoolExecutor(1, "plan")

    async def current(self, document: Document) -> Analysis:
        """What is known of a document's text as it is now."""
        while not document.is_current:
            text = document.lines.text
            pending = document._pending
            if pending is None or pending[0] != text or pending[1].cancelled():
                if pending is not None:
                    pending[1].cancel()
                future = self._now.submit(self._analyse(document, text))
                document._pending = pending = (text, future)
            try:
                # others may wait for it, too, when this question is taken back
                analysis = await asyncio.shield(asyncio.wrap_future(pending[1]))
            except asyncio.CancelledError:
                if not pending[1].cancelled():
                    raise  # it is the question that was taken back
                continue
            changed = text != document.lines.text
            # of a text before this one it is still the best there may be
            if document._pending is pending or (changed and document.analysis is None):
                document.analysis = analysis
        assert document.analysis is not None
        return document.analysis

    def _analyse(self, document: Document, text: str) -> Callable[[], Analysis]:
        path, texts = document.path, dict(self.texts)
        return lambda: analyse(text, path, self.facts, document.reparser, texts)

    async def beyond(self, document: Document) -> Further:
        """What takes longer, of the text as it is now."""
        analysis = await self.current(document)
        found = await asyncio.wrap_future(self._later.submit(further, analysis))
        if analysis is document.analysis:
            document.further = found
        return found

    def close(self) -> None:
        """Give up what waits."""
        self._now.shutdown(wait=False, cancel_futures=True)
        self._later.shutdown(wait=False, cancel_futures=True)
