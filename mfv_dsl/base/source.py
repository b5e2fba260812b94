"""Source text and places in it.  Offsets count code points; lines and columns start at 1."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

from mfv_dsl.base.short import Short
from mfv_dsl.base.texts import line_starts


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of code points ``[start, end)`` in one source.

    What is read several times, such as a block that is swept, stands once in the text; ``copy``
    tells the readings apart.  It is 0 for what is read as it stands.
    """

    start: int
    end: int
    copy: int = field(default=0, repr=False)

    def to(self, other: Span) -> Span:
        """The smallest span that covers both.

        >>> Span(2, 4).to(Span(7, 9))
        Span(start=2, end=9)
        """
        return Span(min(self.start, other.start), max(self.end, other.end), self.copy)

    @property
    def place(self) -> Span:
        """Where it stands in the text, whatever copy of it is meant."""
        return Span(self.start, self.end) if self.copy else self


@dataclass(frozen=True, repr=False)
class Source(Short):
    """A text and the name it is shown under (a path, ``<expression>``, ``--set raw.layer``).

    >>> source = Source("mfv 1\\nmodel m = tiny()\\n")
    >>> source.position(6), source.line(2)
    ((2, 1), 'model m = tiny()')
    """

    text: str
    name: str = "<recipe>"

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        """The offset at which each line begins."""
        return line_starts(self.text)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of an offset in code points."""
        line = bisect_right(self.line_starts, offset) - 1
        return line + 1, offset - self.line_starts[line] + 1

    def line(self, number: int) -> str:
        """The text of line ``number`` (from 1), without its end of line."""
        starts = (*self.line_starts, len(self.text))
        return self.text[starts[number - 1] : starts[number]].rstrip("\r\n")
