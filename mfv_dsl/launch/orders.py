"""What a worker is told to do, in a form that every launcher can send."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.plan.steps import Plan
from mfv_dsl.version import __version__


@dataclass(frozen=True)
class WorkerOrder:
    """What one worker does: the fields are plain, so that any version of mfv-dsl can read them, and
    ``payload`` is read only by the version that wrote it.

    Attributes:
        version: The version of mfv-dsl that wrote it.
        job: The name of the run in the store, the same for all its workers.
        number: Which worker this is, from 1.
        workers: How many there are.
        folder: The folder that relative paths of the recipe are meant from.
        home: The store: an absolute folder, or the address of an object storage.
        gpus: How many GPUs the worker has.
        threads: How many threads it computes with on a processor, None for those of
            :func:`~mfv_dsl.execute.threads.threads_for`.
        payload: The plans and how they are run, pickled.
        beat_every: Seconds between the beats of a claim.
        stale_after: Seconds without a beat after which a claim is another's to take.
    """

    version: str
    job: str
    number: int
    workers: int
    folder: str
    home: str
    gpus: int
    threads: int | None
    payload: bytes
    beat_every: float = 5.0
    stale_after: float = 30.0


@dataclass(frozen=True)
class Work:
    """What all workers do together: the steps of ``plans``, as ``settings`` say; those of ``had``,
    which the store had when the run began, are done."""

    plans: tuple[Plan, ...]
    settings: RunSettings
    had: frozenset[str] = frozenset()


def packed(work: Work) -> bytes:
    """``work`` as a worker's payload.

    Raises MfvError: MFV5670 for models that are loaded already, MFV5671 for what cannot be sent.
    """
    held = [name for name in work.settings.given if any(name in plan.models for plan in work.plans)]
    if held:
        raise MfvError(
            "MFV5670", f"the model `{held[0]}` is loaded in this process, and workers are others",
            help="name the model as text, so that each worker loads it, or run without workers",
        )  # fmt: skip
    try:
        return pickle.dumps(work)
    except Exception as error:
        names = ", ".join(f"`{name}`" for name in work.settings.given) or "the recipe"
        raise MfvError(
            "MFV5671", f"{names} cannot be sent to workers: {error}",
            help="name the dataset as text, or make it of what can be pickled; "
            "or run without workers",
        ) from error  # fmt: skip


def opened(order: WorkerOrder) -> Work:
    """The work of an order.

    Raises MfvError: MFV5672 where another version of mfv-dsl wrote it, MFV5671 where it cannot be
    read here.
    """
    if order.version != __version__:
        raise MfvError(
            "MFV5672", f"worker {order.number} has mfv-dsl {__version__}, and the run was started "
            f"by mfv-dsl {order.version}",
            help="install the same version wherever workers run",
        )  # fmt: skip
    try:
        work: Any = pickle.loads(order.payload)
    except Exception as error:
        raise MfvError(
            "MFV5671", f"worker {order.number} cannot read what it is to do: {error!r}",
            help="what a dataset in memory is made of has to be importable on every worker",
        ) from error  # fmt: skip
    assert isinstance(work, Work)
    return work


def orders_for(template: WorkerOrder, numbers: Sequence[int]) -> list[WorkerOrder]:
    """The same order for each of several workers."""
    return [replace(template, number=number) for number in numbers]
