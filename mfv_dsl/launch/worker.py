"""What a worker does, wherever it was started."""

from __future__ import annotations

from mfv_dsl.launch.orders import WorkerOrder


def work(order: WorkerOrder) -> None:
    """Take one group of steps after another that nobody else has, until all are done.

    Raises MfvError: MFV5672 where another version of mfv-dsl wrote the order.
    """
    raise NotImplementedError
