"""What whoever watches a run shows of its workers: how far each is with what it does."""

from __future__ import annotations

from collections.abc import Callable

from mfv_dsl.execute.settings import Listener
from mfv_dsl.launch.job import Job, Seen


class Shown:
    """Shows the progress of the workers of ``job`` to a listener."""

    def __init__(self, job: Job, listener: Listener) -> None:
        self._job, self._listener = job, listener
        self._tasks: dict[tuple[str, str], _Task] = {}

    def show(self, seen: Seen) -> None:
        """Show how far every worker is."""
        current: set[tuple[str, str]] = set()
        for number in seen["progress"]:
            for label, total, done in self._job.progress(number):
                current.add((number, label))
                if (number, label) not in self._tasks:
                    text = f"worker {number}: {label}"
                    self._tasks[number, label] = _Task(self._listener.begin(text, total), total)
                self._tasks[number, label].reach(done)
        for gone in self._tasks.keys() - current:
            self._tasks.pop(gone).finish()

    def finish(self) -> None:
        """All is over."""
        for task in self._tasks.values():
            task.finish()


class _Task:
    """A piece of work that is shown."""

    def __init__(self, advance: Callable[[int], None], total: int) -> None:
        self._advance, self._total, self._done = advance, total, 0

    def reach(self, done: int) -> None:
        """So many units are done."""
        done = min(done, self._total)
        if done > self._done:
            self._advance(done - self._done)
            self._done = done

    def finish(self) -> None:
        """It is over."""
        self.reach(self._total)
