"""What is wrong, where, and what to do about it; and how that is shown.

A :class:`Diagnostic` is data.  :func:`render` shows it as text, :func:`to_json` as a dictionary.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mfv_dsl.base.source import Source, Span

TAB = 4
WIDEST = 110  # columns of source shown; longer lines are cut to a window around the place


@dataclass(frozen=True, slots=True)
class Label:
    """Another place that belongs to the story, with the words beside it; in ``source`` where that
    is another text than the finding's own."""

    span: Span
    text: str
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Fix:
    """An edit that would repair the text: replace ``span`` by ``replacement``."""

    title: str
    span: Span
    replacement: str


@dataclass(frozen=True)
class Diagnostic:
    """One finding.  ``source`` and ``span`` are None for errors that have no place in a text."""

    code: str
    message: str
    source: Source | None = None
    span: Span | None = None
    label: str = ""
    severity: Literal["error", "warning"] = "error"
    notes: tuple[str, ...] = ()
    help: str | None = None
    secondary: tuple[Label, ...] = ()
    fixes: tuple[Fix, ...] = ()

    def __str__(self) -> str:
        return render(self)


# -- plain data -----------------------------------------------------------------------------------
def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """The diagnostic as plain data, as ``mfv check --json`` prints it.

    Lines and columns begin at 1, offsets at 0; columns and offsets count code points.  Places are
    None where the diagnostic has none in a text.
    """

    def place(span: Span | None, other: Source | None = None) -> dict[str, Any] | None:
        source = other or diagnostic.source
        if source is None or span is None:
            return None
        ends = {}
        for key, offset in (("start", span.start), ("end", span.end)):
            line, column = source.position(offset)
            ends[key] = {"line": line, "column": column, "offset": offset}
        return ends

    return {
        "file": diagnostic.source.name if diagnostic.source else None,
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "range": place(diagnostic.span),
        "message": diagnostic.message,
        "label": diagnostic.label,
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
        "related": [
            {"range": place(s.span, s.source), "message": s.text}
            | ({} if s.source is None else {"file": s.source.name})
            for s in diagnostic.secondary
        ],
        "fixes": [
            {"title": f.title, "range": place(f.span), "replacement": f.replacement}
            for f in diagnostic.fixes
        ],
    }


# -- text -----------------------------------------------------------------------------------------
_STYLES = {"error": "1;31", "warning": "1;33", "gutter": "1;34", "help": "1;36", "bold": "1"}


def render(diagnostic: Diagnostic, colour: bool = False) -> str:
    """The diagnostic as lines of text, with ANSI colours if asked for; no final newline.

    >>> source = Source("vector steer = fv(lft)\\n", "steer.mfv")
    >>> span = Span(18, 21)
    >>> print(render(Diagnostic("MFV2001", "unknown relation `lft`", source, span, "not there")))
    error[MFV2001]: unknown relation `lft`
      --> steer.mfv:1:19
       |
     1 | vector steer = fv(lft)
       |                   ^^^ not there
    """

    def paint(text: str, style: str) -> str:
        return f"\033[{_STYLES[style]}m{text}\033[0m" if colour and text else text

    head = paint(f"{diagnostic.severity}[{diagnostic.code}]", diagnostic.severity)
    lines = [head + paint(f": {_plain(diagnostic.message)}", "bold")]
    width = 0
    if diagnostic.source is not None and diagnostic.span is not None:
        source = diagnostic.source
        places = _places(source, diagnostic)
        width = max(len(str(number)) for number, *_ in places)
        line, column = source.position(diagnostic.span.start)
        place = f"{_plain(source.name)}:{line}:{column}"
        lines.append(f"{' ' * width} {paint('-->', 'gutter')} {place}")
        lines.append(paint(f"{' ' * width}  |", "gutter"))
        lines += _shown_places(source, places, diagnostic, width, paint)
        for label in diagnostic.secondary:
            if label.source is not None:
                number, column = label.source.position(label.span.start)
                width = max(width, len(str(number)))
                place = f"{_plain(label.source.name)}:{number}:{column}"
                lines.append(f"{' ' * width} {paint(':::', 'gutter')} {place}")
                lines.append(paint(f"{' ' * width}  |", "gutter"))
                elsewhere = [(number, label.span, label.text, False)]
                lines += _shown_places(label.source, elsewhere, diagnostic, width, paint)
    for kind, remarks in (("note", diagnostic.notes), ("help", (diagnostic.help,))):
        for remark in filter(None, remarks):
            first, *rest = remark.split("\n")
            margin = " " * (width + 2)
            lines.append(f"{margin}{paint(f'= {kind}:', 'help')} {_plain(first)}")
            lines.extend(f"{margin}{' ' * (len(kind) + 4)}{_plain(more)}" for more in rest)
    return "\n".join(line.rstrip() for line in lines)


def _shown_places(
    source: Source, places: list[tuple[int, Span, str, bool]], diagnostic: Diagnostic, width: int,
    paint: Callable[[str, str], str],
) -> Iterator[str]:  # fmt: skip
    """Lines of source with marks under the places."""
    previous = 0
    for number, span, text, primary in places:
        if number > previous + 1 > 1:
            yield paint("...", "gutter")
        if number != previous:
            main = diagnostic.span if primary and diagnostic.span is not None else span
            window = _Window.around(source, number, main)
            yield paint(f" {number:>{width}} | ", "gutter") + window.text
        previous = number
        marks = window.marks(span)
        if marks is not None:
            at, length = marks
            marked = f"{('^' if primary else '-') * length} {_plain(text)}".rstrip()
            style = diagnostic.severity if primary else "gutter"
            yield paint(f" {'':{width}} | ", "gutter") + " " * at + paint(marked, style)


def _places(source: Source, diagnostic: Diagnostic) -> list[tuple[int, Span, str, bool]]:
    """(line number, span, words, is the main place) in source order."""
    assert diagnostic.span is not None
    labels = [
        (label.span, label.text, False) for label in diagnostic.secondary if label.source is None
    ]
    labels.append((diagnostic.span, diagnostic.label, True))
    places = [(source.position(span.start)[0], span, text, main) for span, text, main in labels]
    return sorted(places, key=lambda place: (place[0], place[1].start))


def _plain(text: str) -> str:
    """Text without control characters, which could garble a terminal."""
    return text if text.isprintable() else "".join(_cell(c, 0) for c in text)


def _cell(character: str, column: int) -> str:
    """What stands for one character on screen."""
    if character == "\t":
        return " " * (TAB - column % TAB)
    if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}:
        return "\N{REPLACEMENT CHARACTER}"
    return character


def _columns(cell: str) -> int:
    if cell.isascii():
        return len(cell)
    if unicodedata.category(cell) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(cell) in {"W", "F"} else 1


@dataclass(frozen=True)
class _Window:
    """A line of source as shown, cut to a stretch around a place if it is long."""

    text: str
    first: int  # offset in the source of the first character shown
    columns: tuple[int, ...]  # screen column of each character shown, and of the end

    @classmethod
    def around(cls, source: Source, number: int, span: Span) -> _Window:
        start, line = source.line_starts[number - 1], source.line(number)
        first, last = 0, len(line)
        if len(line) > WIDEST:
            first = max(0, min(span.start - start - WIDEST // 3, len(line) - WIDEST))
            last = first + WIDEST
        text = "..." if first else ""
        column = len(text)
        columns = []
        for character in line[first:last]:
            cell = _cell(character, column)
            columns.append(column)
            text += cell
            column += _columns(cell)
        if last < len(line):
            text += "..."
        return cls(text, start + first, (*columns, column))

    def marks(self, span: Span) -> tuple[int, int] | None:
        """Screen column and number of the marks under a span; None if it is not shown."""
        begin, end = span.start - self.first, span.end - self.first
        last = len(self.columns) - 1
        if begin < 0 or (begin > last and end <= begin):
            return None
        at = self.columns[min(begin, last)]
        return at, max(1, self.columns[min(max(begin, end), last)] - at)
