"""Ctrl-C, and what the system sends to end a program: what is kept is said, and how to go on.

Click takes Python's KeyboardInterrupt for itself, so that the signals raise an exception of ours.
"""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

#: The signals that end a command, and what is said of each.
_SIGNALS = {"SIGINT": "interrupted", "SIGTERM": "ended (SIGTERM)", "SIGHUP": "ended (SIGHUP)"}
#: Options that would undo what is kept.
_FRESH = ("--fresh",)


class Interrupted(BaseException):
    """A signal arrived that ends the command; ``kept`` says what was finished before, and
    ``is_usual`` whether this is how the command ends."""

    def __init__(self, name: str, kept: str = "") -> None:
        super().__init__(name)
        self.name, self.kept = name, kept
        self.is_usual = False

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells have it: 130 for Ctrl-C; 0 where that is usual."""
        if self.is_usual and self.name == "SIGINT":
            return 0
        return 128 + int(getattr(signal, self.name))


@contextmanager
def signals_raise() -> Iterator[list[str]]:
    """Within, the signals that end a command raise :class:`Interrupted`, once; after that they end
    the process at once.  Those that were being ignored, as after ``nohup``, still are.  Yields the
    list of the names of those that arrived."""
    before: dict[int, Any] = {}
    received: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_DFL)
        received.append(signal.Signals(number).name)
        raise Interrupted(received[0])

    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            with suppress(ValueError):  # in another thread than the main one there are no signals
                before[number] = signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        atexit.unregister(_end_quietly)
        atexit.register(_end_quietly)  # Python's own handler would show a traceback


def _end_quietly() -> None:
    for name in _SIGNALS:
        with suppress(AttributeError, ValueError):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


@contextmanager
def kept(say: Callable[[], str]) -> Iterator[None]:
    """Where what is within is interrupted, ``say()`` tells what of it is kept."""
    try:
        yield
    except Interrupted as end:
        end.kept = end.kept or say()
        raise


def show_interruption(end: Interrupted, arguments: Sequence[str]) -> None:
    """One message on stderr: what is kept, and the command that goes on."""
    from mfv_dsl.interruption import kept_steps

    command = shlex.join(["mfv", *(word for word in arguments if word not in _FRESH)])
    kept = end.kept or kept_steps()
    lines = f"{_SIGNALS[end.name]}: {kept}\n  to go on: {command}\n"
    with suppress(OSError, ValueError):  # the terminal may be gone
        sys.stderr.write(lines)
        sys.stderr.flush()


def drop_output() -> None:
    """What stdout still holds goes nowhere: it cannot be written, and Python would say so again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
