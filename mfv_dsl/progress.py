"""How far a computation is, shown in Python: in an output of a notebook's cell, else by bars of
tqdm on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeAlias

from mfv_dsl.base.arguments import ArgumentError, shown, truth

if TYPE_CHECKING:
    from mfv_dsl.execute.settings import Listener

#: Whether progress is shown; None: in notebooks.
Progress: TypeAlias = "bool | None"


def in_notebook() -> bool:
    """Whether this is a notebook's process, which shows what is written as it comes."""
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    return "ZMQInteractiveShell" in [kind.__name__ for kind in type(running).__mro__]


@contextmanager
def listening(progress: Progress, listener: Listener | None = None) -> Iterator[Listener | None]:
    """Who is told how far a computation is: ``listener``, or bars where ``progress`` is shown.

    Raises ArgumentError (MFV5119) for a ``progress`` that is neither a truth value nor None, and
    for what is no listener.
    """
    visible = in_notebook() if progress is None else truth(progress, "progress")
    if listener is not None and not callable(getattr(listener, "begin", None)):
        raise ArgumentError(f"a listener has a method `begin`, and this is {shown(listener)}")
    if listener is not None or not visible:
        yield listener
    elif in_notebook():
        from mfv_dsl.notebook.bars import Bars

        bars = Bars()
        try:
            yield bars
        except BaseException:
            bars.settle("stopped after")
            raise
        bars.settle("done in")
    else:
        with ExitStack() as open_bars:
            yield _Bars(open_bars)


class _Bars:
    """A bar on stderr for each piece of work under way, gone when it is done."""

    def __init__(self, open_bars: ExitStack) -> None:
        self._open_bars = open_bars

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        """A bar of ``total`` units; call the result with units as they finish."""
        from tqdm import tqdm

        bar = tqdm(desc=label, total=total, leave=False)
        self._open_bars.callback(bar.close)

        def advance(units: int) -> None:
            bar.update(units)
            if bar.n >= total:
                bar.close()

        return advance
