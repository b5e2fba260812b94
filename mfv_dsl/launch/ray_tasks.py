"""Workers as tasks of Ray: on a Ray that is started here for the run, or on a cluster's.

A task tells first where it runs, and at last what became of it; one whose process is gone tells
nothing, and Ray says why.  Whether a worker is started again is for whoever watches the run, so
Ray itself tries no task twice.
"""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.launch.executors import State
from mfv_dsl.launch.orders import WorkerOrder
from mfv_dsl.launch.worker import work

if TYPE_CHECKING:
    from mfv_dsl.launch.options import RayOptions

_STORE = 128 << 20  # bytes for objects: orders are all that a Ray of our own carries
#: What a Ray of our own is told: to send nothing to its makers, and not to give its workers less of
#: the processor than other programs have, as it does otherwise.
_OF_OUR_OWN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
#: Seconds for workers to leave by themselves when they are told to.
_TO_LEAVE = 5.0
_PORT = re.compile(r"(?:[\w.+-]+://)?(?P<host>\[[^]]+\]|[^:/\[]+):(?P<port>\d+)")


def worker_task(order: WorkerOrder) -> Iterator[str]:
    """A task: its place, and then what it raised, empty where it ended as it should."""
    yield _log_here()
    try:
        work(order)
    except Exception as error:
        yield str(error) if isinstance(error, MfvError) else f"{type(error).__name__}: {error}"
    else:
        yield ""


class RayWorker:
    """A worker that is a task."""

    def __init__(self, number: int, told: Any) -> None:
        self.number = number
        self.told = told  # what Ray gives of it, one after the other
        self._state: State = "waiting"
        self._log, self._reason = "", ""

    def __repr__(self) -> str:
        return f"RayWorker({self.number}, {self._state})"

    def state(self) -> State:
        """How it is, by what it told."""
        import ray

        while self._state in ("waiting", "running"):
            if not ray.wait([self.told], timeout=0)[0]:
                break
            try:
                text = ray.get(next(self.told))
            except StopIteration:
                self._state, self._reason = "died", "it ended without a word"
            except Exception as error:  # of Ray: the process or its machine is gone
                self._state, self._reason = "died", _why(error)
            else:
                if self._state == "waiting":
                    self._state, self._log = "running", text
                else:
                    self._state, self._reason = ("died" if text else "ended"), text
        return self._state

    def log(self) -> str:
        """Where Ray writes what it prints."""
        return self._log or "the logs of Ray: the task had not begun"

    def reason(self) -> str:
        """What it raised, or what Ray knows."""
        return self._reason


class RayLauncher:
    """Starts workers as tasks of Ray.

    Args:
        options: Which Ray, and what a worker reserves.
        gpus: GPUs of each worker.

    Raises:
        MfvError: MFV5644 where Ray is missing.
    """

    name = "ray"

    def __init__(self, options: RayOptions, gpus: int) -> None:
        _need_ray()
        self.options, self.gpus = options, gpus
        self._address = options.address or os.environ.get("RAY_ADDRESS") or "local"
        self._workers: list[RayWorker] = []
        self._is_ours = False  # the connection, and the Ray behind it if it was started here

    @property
    def is_here(self) -> bool:
        """Whether Ray is started on this machine for the run."""
        return self._address == "local"

    def start(self, orders: Sequence[WorkerOrder]) -> Sequence[RayWorker]:
        """Start a task for each order, on the Ray that the options name, or that this process is
        connected to already.

        Raises MfvError: MFV5647 where it cannot be reached, MFV5648 where no machine has what a
        worker reserves.
        """
        import ray

        if not ray.is_initialized():
            self._is_ours = True
            self.connect(len(orders))
        task = ray.remote(max_calls=1)(worker_task).options(
            num_returns="streaming", **self._reserved()
        )
        started = [RayWorker(order.number, task.remote(order)) for order in orders]
        self._workers += started
        return started

    def stop(self) -> None:
        """Let workers leave, end those that do not, and leave Ray as it was."""
        import ray

        if not ray.is_initialized():
            return
        left = [worker for worker in self._workers if worker.state() in ("waiting", "running")]
        for force in (False, True):
            for worker in left:
                with suppress(Exception):  # it may be gone meanwhile
                    ray.cancel(worker.told, force=force)
            until = time.monotonic() + _TO_LEAVE
            while left and time.monotonic() < until:
                left = [one for one in left if one.state() in ("waiting", "running")]
                time.sleep(0.1)
        if self._is_ours:
            with _signals_kept():
                ray.shutdown()
            self._is_ours = False

    def automatic(self) -> int:
        """How many workers there is room for on the Ray that the options name, which is connected
        to for it.  Raises MfvError as :meth:`start`."""
        import ray

        if not ray.is_initialized():
            self._is_ours = True
            self.connect(1)
        return max(1, self.places())

    def places(self) -> int:
        """How many workers the Ray that is connected has room for at once."""
        return sum(_room(node, self._needs()) for node in _nodes())

    def connect(self, workers: int) -> None:
        """Connect to the Ray that the options name, or start one with cores for so many workers."""
        import ray

        address = self._address
        more: dict[str, Any] = {}
        if self.is_here:
            cores = max(os.cpu_count() or 1, math.ceil(workers * self.options.num_cpus))
            more = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _STORE}
            for name, value in _OF_OUR_OWN.items():
                os.environ.setdefault(name, value)
        else:
            _reach(address, self.options.connect_s)
        try:
            with _signals_kept():
                ray.init(
                    address, log_to_driver=False, logging_level=logging.ERROR,
                    namespace=self.options.namespace, **more,
                )  # fmt: skip
        except Exception as error:
            raise _unreachable(address, str(error).strip() or repr(error)) from error
        if not self.places():
            self._refuse_or_warn()

    def _needs(self) -> dict[str, float]:
        """What a worker reserves, as machines name it."""
        needs = {"CPU": self.options.num_cpus, "GPU": float(self.gpus),
                 "memory": float(self.options.memory or 0), **self.options.resources}  # fmt: skip
        if self.options.accelerator_type is not None:
            needs[f"accelerator_type:{self.options.accelerator_type}"] = 0.001
        return {name: amount for name, amount in needs.items() if amount}

    def _reserved(self) -> dict[str, Any]:
        """What a worker reserves, as Ray is told."""
        options = self.options
        told: dict[str, Any] = {
            "num_cpus": options.num_cpus, "num_gpus": self.gpus, "max_retries": 0,
            "resources": options.resources, "scheduling_strategy": options.scheduling_strategy,
            "memory": options.memory, "accelerator_type": options.accelerator_type,
            "runtime_env": options.runtime_env,
        }  # fmt: skip
        return {name: value for name, value in told.items() if value not in (None, {})}

    def _refuse_or_warn(self) -> None:
        needs = ", ".join(f"{name} {amount:g}" for name, amount in self._needs().items())
        there = "; ".join(
            ", ".join(f"{name} {node.get(name, 0):g}" for name in self._needs())
            for node in _nodes()
        )
        text = f"no machine of Ray has what a worker reserves: {needs}; there is {there or 'none'}"
        if self.is_here:
            self.stop()
            raise MfvError("MFV5648", text, help="reserve less: `--gpus-per-worker 0`, "
                           "`num_cpus`, `memory` and `resources` of Ray's options")  # fmt: skip
        warnings.warn(f"{text}; the run waits until one has", stacklevel=2)


def _need_ray() -> None:
    try:
        import ray  # noqa: F401
    except ImportError:
        raise MfvError(
            "MFV5644", "tasks of Ray need the package ray, which is not installed",
            help="pip install 'mfv-dsl[ray]'",
        ) from None  # fmt: skip


def _reach(address: str, seconds: float) -> None:
    """Make sure that a Ray answers at an address: it is asked by a process of its own, since Ray
    tries for minutes."""
    if address == "auto":
        return  # Ray itself knows at once
    found = _PORT.fullmatch(address)
    if found is None:
        raise _unreachable(address, "it is no address", "write host:port, or auto")
    try:
        with socket.create_connection((found["host"].strip("[]"), int(found["port"])), seconds):
            pass
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from None
    if "://" in address:
        return
    code = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
    command = [sys.executable, "-c", code, address]
    try:
        subprocess.run(command, capture_output=True, timeout=seconds + 5, check=True)
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"no Ray answers there within {seconds:g} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise _unreachable(address, lines[-1] if lines else "no Ray answers there") from None


def _unreachable(address: str, why: str, help: str | None = None) -> MfvError:
    return MfvError(
        "MFV5647", f"Ray cannot be reached at {address}: {why}",
        help=help or "see whether it runs there (`ray status --address …`), with the same versions "
        "of Ray and Python as here; without `address`, Ray is started on this machine",
    )  # fmt: skip


def _nodes() -> list[Mapping[str, float]]:
    """What each machine of the connected Ray has."""
    import ray

    nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _room(has: Mapping[str, float], needs: Mapping[str, float]) -> int:
    return min((int(has.get(name, 0) / amount) for name, amount in needs.items()), default=1)


def _why(error: Exception) -> str:
    """What Ray says of a process that is gone: the sentence that says it."""
    text = " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())
    name = type(error).__name__
    if name in ("WorkerCrashedError", "LocalRayletDiedError"):
        return "its process is gone: it was killed, or memory ran out"
    return f"{name}: {text[:500]}"


def _log_here() -> str:
    """The file that holds what this process prints, with its machine."""
    with suppress(OSError):
        return f"{socket.gethostname()}:{os.readlink('/proc/self/fd/2')}"
    return f"the logs of Ray on {socket.gethostname()}, process {os.getpid()}"


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; it is given back."""
    try:
        before = signal.getsignal(signal.SIGTERM)
        yield
    finally:
        with suppress(ValueError, TypeError):  # not in the main thread
            signal.signal(signal.SIGTERM, before)
