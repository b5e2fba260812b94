"""Names and texts in lines that fit, measured in letters of mean width."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

#: The mean width of a letter as a share of the font's size; ``letters`` are of this width.
LETTER = 0.6
_LOCK = threading.Lock()  # a font measures one letter at a time


def letters_in(width: float, size: float) -> int:
    """How many letters of ``size`` points stand side by side in ``width`` inches."""
    return max(0, int(width * 72 / (size * LETTER)))


def inches_of(letters: float, size: float) -> float:
    """How many inches letters of ``size`` points take side by side."""
    return letters * size * LETTER / 72


def length(text: str) -> float:
    """How wide a text is, in letters.

    >>> 2 < length("left") < 3 < 6 < length("WWWW") < 7
    True
    """
    return sum(map(_width, text))


def longest(names: Sequence[str]) -> float:
    """How wide the widest line of names is, in letters."""
    return max((length(line) for name in names for line in name.split("\n")), default=0.0)


@lru_cache(8192)
def _width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1 / LETTER
    with _LOCK:
        glyph = _font().load_char(ord(letter))
    return float(glyph.linearHoriAdvance) / 65536 / 100 / LETTER


@cache
def _font() -> FT2Font:
    font = FT2Font(findfont("DejaVu Sans"))
    font.set_size(100, 72)
    return font


def fitting(names: Sequence[str], letters: int, lines: int = 2) -> list[str]:
    """Names in lines of so many letters; what does not fit loses its middle, and names that would
    look alike then are numbered.

    >>> fitting(["left", "the_far_end_of_the_long_table"], 12)
    ['left', 'the_far_end_\\nof_th…_table']
    """
    letters = max(letters, 6)
    short = [_in_lines(name, letters, lines) for name in names]
    seen: dict[str, list[str]] = {}
    for name, text in zip(names, short, strict=True):
        others = seen.setdefault(text, [])
        if name not in others:
            others.append(name)
    return [
        text if len(seen[text]) == 1 else f"{text} ({seen[text].index(name) + 1})"
        for name, text in zip(names, short, strict=True)
    ]


def wrapped(text: str, letters: int) -> list[str]:
    """A text in lines of so many letters, broken behind spaces, underscores and commas."""
    rows = [""]
    for word in re.findall(r"[^\s_,]*[\s_,]+|[^\s_,]+", text):
        for piece in _pieces(word, letters):
            if rows[-1] and length(rows[-1]) + length(piece.rstrip()) > letters:
                rows.append("")
            rows[-1] += piece
    return [row.rstrip() for row in rows]


def _pieces(word: str, letters: int) -> list[str]:
    """A word in pieces of so many letters at most."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and length(pieces[-1]) + _width(letter) > letters and letter.strip():
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _in_lines(name: str, letters: int, lines: int) -> str:
    """A name in lines; of one that is too long the last line lacks its middle."""
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    if length(name) <= letters:
        return name
    rows = wrapped(name, letters)
    if len(rows) > lines:
        kept = rows[: lines - 1]
        rest = name
        for row in kept:
            rest = rest[len(row) :].lstrip()
        rows = [*kept, _without_middle(rest, letters)]
    return "\n".join(rows)


def _without_middle(text: str, letters: int) -> str:
    """A text of so many letters: its beginning and its end."""
    room = (letters - length("…")) / 2
    ahead = behind = ""
    for letter in text:
        if length(ahead) + _width(letter) > room:
            break
        ahead += letter
    for letter in reversed(text):
        if length(behind) + _width(letter) > room:
            break
        behind = letter + behind
    return f"{ahead}…{behind}"
