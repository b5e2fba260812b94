"""How far a computation is, as one output of a notebook's cell that is written anew.

It is plain HTML, so it needs no widgets, leaves no warning where there are none, and is a line of
text in the notebook's file when all is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from IPython.display import DisplayHandle

from mfv_dsl.plan.estimate import duration

_PATIENCE, _PAUSE = 0.5, 0.2  # seconds before anything is shown, and between two pictures of it
_TRUST = 1.0  # seconds after which the time that is left is guessed


@dataclass
class _Piece:
    """A piece of work under way: ``done`` of ``total`` units since ``begun``."""

    label: str
    total: int
    begun: float
    done: int = 0

    def state(self, now: float) -> str:
        """The count, and about how long it will take."""
        spent = now - self.begun
        text = f"{self.done:,}/{self.total:,}"
        if not self.done or spent < _TRUST:
            return text
        return f"{text}, about {duration(spent / self.done * (self.total - self.done))} left"


class Bars:
    """A listener that shows a bar for each piece of work under way; ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begun = clock, clock()
        self._pieces: list[_Piece] = []
        self._output = DisplayHandle()
        self._is_shown = False
        self._shown = 0.0

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        """A bar of ``total`` units; call the result with units as they finish."""
        piece = _Piece(label, total, self._clock())
        self._pieces.append(piece)
        self._show()

        def advance(units: int) -> None:
            piece.done += units
            if piece.done >= piece.total and piece in self._pieces:
                self._pieces.remove(piece)
            self._show()

        return advance

    def settle(self, word: str) -> None:
        """All is over: a line that says how, such as ``done``, takes the place of the bars."""
        if self._is_shown:
            text = f"{word} {duration(self._clock() - self._begun)}"
            self._put(text, f"<span style='opacity:.7'>{escape(text)}</span>")

    def _show(self) -> None:
        now = self._clock()
        if now - self._begun < _PATIENCE or now - self._shown < _PAUSE or not self._pieces:
            return
        self._shown = now
        states = [(piece, piece.state(now)) for piece in self._pieces]
        lines = [
            f"<div><progress value='{piece.done}' max='{max(piece.total, 1)}'></progress> "
            f"{escape(piece.label)} <span style='opacity:.7'>{state}</span></div>"
            for piece, state in states
        ]
        self._put("\n".join(f"{piece.label}: {state}" for piece, state in states), "".join(lines))

    def _put(self, text: str, html: str) -> None:
        data = {"text/plain": text, "text/html": html}
        put = self._output.update if self._is_shown else self._output.display
        self._is_shown = True  # also if the cell is stopped while it is put out
        put(data, raw=True)
