"""Offsets of a text and positions of the protocol: lines and code units, both from 0.

Lines end where those of recipes do, and those of the protocol: with LF, CR LF or CR, and with none
of the other separators that Python knows.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

from lsprotocol import types as lsp

from mfv_dsl.base.source import Span
from mfv_dsl.base.texts import line_starts

#: In what the columns of positions are counted; editors that say nothing count UTF-16.
UTF16 = lsp.PositionEncodingKind.Utf16


def units(text: str, encoding: str) -> int:
    """How many code units a text takes.

    >>> units("a\\U0001f600", UTF16), units("a\\U0001f600", lsp.PositionEncodingKind.Utf8)
    (3, 5)
    """
    if text.isascii() or encoding == lsp.PositionEncodingKind.Utf32:
        return len(text)
    if encoding == lsp.PositionEncodingKind.Utf8:
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass(frozen=True)
class Lines:
    """The lines of a text.

    >>> lines = Lines("# \\U0001f600 x\\nmfv 1")
    >>> lines.position(4), lines.offset(lsp.Position(0, 5))
    (0:5, 4)
    """

    text: str = field(repr=False)
    encoding: str = UTF16

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The offset at which each line begins."""
        return line_starts(self.text)

    def line(self, number: int) -> str:
        """The text of line ``number`` (from 0), without its end of line."""
        starts = self.starts
        end = starts[number + 1] if number + 1 < len(starts) else len(self.text)
        return self.text[starts[number] : end].rstrip("\r\n")

    def position(self, offset: int) -> lsp.Position:
        """The position of an offset; of one outside the text that of its nearer end."""
        offset = max(0, min(offset, len(self.text)))
        number = bisect_right(self.starts, offset) - 1
        before = self.text[self.starts[number] : offset]
        return lsp.Position(number, units(before, self.encoding))

    def offset(self, position: lsp.Position) -> int:
        """The offset of a position; behind the end of a line that end, and within a character the
        beginning of it."""
        if position.line >= len(self.starts):
            return len(self.text)
        start, line = self.starts[position.line], self.line(position.line)
        if line.isascii() or self.encoding == lsp.PositionEncodingKind.Utf32:
            return start + min(position.character, len(line))
        left = position.character
        for index, character in enumerate(line):
            left -= units(character, self.encoding)
            if left < 0:
                return start + index
        return start + len(line)

    def range(self, span: Span) -> lsp.Range:
        """The range of a span."""
        return lsp.Range(self.position(span.start), self.position(span.end))

    def span(self, range: lsp.Range) -> Span:
        """The span of a range."""
        return Span(self.offset(range.start), self.offset(range.end))


def changed(text: str, change: lsp.TextDocumentContentChangeEvent, encoding: str = UTF16) -> str:
    """The text once a change of it is made; a change without a range is the whole new text."""
    if isinstance(change, lsp.TextDocumentContentChangeWholeDocument):
        return change.text
    span = Lines(text, encoding).span(change.range)
    return text[: span.start] + change.text + text[max(span.start, span.end) :]
