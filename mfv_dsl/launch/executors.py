"""What starts workers: the part of a launcher that is its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from mfv_dsl.launch.orders import WorkerOrder

#: Of a worker that is not started yet, works, has ended as it should, or has died.
State = Literal["waiting", "running", "ended", "died"]


class Worker(Protocol):
    """A worker that was started."""

    @property
    def number(self) -> int:
        """The number in its order."""

    def state(self) -> State:
        """How it is; asked for about once a second, so it should not take long."""

    def log(self) -> str:
        """Where what it printed lies, for errors."""

    def reason(self) -> str:
        """Why it died, as far as is known: `killed (SIGKILL)`; empty where nothing is."""


class Executor(Protocol):
    """What starts workers, each of which calls :func:`mfv_dsl.launch.worker.work` with its order.

    A worker that :func:`~mfv_dsl.launch.worker.work` lets return has ended; one whose process is
    gone without that, or in which it raised, has died.  A worker that is told to stop in an orderly
    way, as by a scheduler that wants its place, may leave at any moment: nothing is lost but the
    part that it was making.
    """

    name: str

    def start(self, orders: Sequence[WorkerOrder]) -> Sequence[Worker]:
        """Start a worker for each order; it does not wait for them.  It is called again, with the
        order of a worker that died, to put another in its place."""

    def stop(self) -> None:
        """End all workers that were started, and everything that was started for them."""
