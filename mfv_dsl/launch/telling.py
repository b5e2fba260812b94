"""What a worker tells while it works: how far it is, and what is to be said."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mfv_dsl.launch.job import Job

#: Seconds between two writings of a worker's progress, and of how many workers one a second is
#: written at most.
_EVERY, _A_SECOND = 1.0, 50.0


class Telling:
    """A listener that writes how far its worker is into the job's files, no more than once a
    second, and less often where there are many workers."""

    def __init__(self, job: Job, number: int, workers: int) -> None:
        self._job, self._number = job, number
        self._every = interval(workers)
        self._tasks: list[list[Any]] = []
        self._told = time.monotonic()

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        """A piece of work of ``total`` units starts."""
        task: list[Any] = [label, total, 0]
        self._tasks.append(task)

        def advance(units: int) -> None:
            task[2] += units
            if time.monotonic() - self._told >= self._every:
                self.tell()

        return advance

    def tell(self) -> None:
        """Write it now."""
        self._told = time.monotonic()
        tasks = [(label, total, done) for label, total, done in self._tasks if done < total]
        with suppress(OSError):  # nothing depends on it
            self._job.tell_progress(self._number, tasks)

    def clear(self) -> None:
        """What was begun is over."""
        self._tasks.clear()


def interval(workers: int) -> float:
    """Seconds between two writings of one worker's progress."""
    return max(_EVERY, workers / _A_SECOND)


@contextmanager
def warnings_told(job: Job) -> Iterator[None]:
    """Within, warnings that are for the user go to the job's files, to be said once by whoever
    watches; they are written to the worker's log, too."""
    told: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: Any = None, line: str | None = None,
        ) -> None:  # fmt: skip
            show(message, category, filename, lineno, file, line)
            text = str(message)
            if issubclass(category, UserWarning) and text not in told:
                told.add(text)
                with suppress(OSError):
                    job.warn(text)

        warnings.showwarning = tell
        yield
