"""A computation that is stopped by hand: what of it is kept is said, and how to go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import store_name
from mfv_dsl.execute.storage import finished


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or a notebook's stop button, in the midst of a computation; its text says what is
    kept."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message, and no line of the code that was stopped."""
        return str(self).split("\n")


def kept_steps(keys: Iterable[str] = ()) -> str:
    """What of the steps with these keys, if they are known, an interrupted run leaves behind."""
    steps = list(dict.fromkeys(keys))
    try:
        done = len(finished(steps))
    except (OSError, MfvError):  # a store that cannot be reached any more
        steps = []
    if not steps:
        return f"finished steps are kept in {store_name()}"
    return f"{done} of {len(steps)} steps are finished and kept in {store_name()}"


@contextmanager
def interruptible(keys: Iterable[str]) -> Iterator[None]:
    """Where what is within is stopped by hand, say what of the steps with these keys is kept.

    Raises:
        Interrupted: In place of a plain KeyboardInterrupt, of which it is one.
    """
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        text = f"interrupted: {kept_steps(keys)}\n  to go on: run it again"
        raise Interrupted(text) from None
