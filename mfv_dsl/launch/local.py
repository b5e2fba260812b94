"""Workers as processes of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import open_log
from mfv_dsl.base.machine import cores, free_memory
from mfv_dsl.launch.executors import State
from mfv_dsl.launch.orders import WorkerOrder
from mfv_dsl.launch.process import sent

#: Cores of one worker on a processor, where there are so many: more bring one worker little.
CORES = 4
#: Bytes of memory that a worker on a processor should find free, at least.
_MEMORY = 4 << 30
#: Bytes that a worker's own program takes at least, its model aside.
_PROGRAM = 250 << 20
#: Seconds that workers have to end when they are told to.
_TO_END = 2.0


class LocalWorker:
    """A worker that is a process of this machine."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], path: Path) -> None:
        self.number = number
        self.process = process
        self._path = path

    def state(self) -> State:
        """How it is."""
        code = self.process.poll()
        return "running" if code is None else "ended" if code == 0 else "died"

    def log(self) -> str:
        """The file of what it printed."""
        return str(self._path)

    def reason(self) -> str:
        """The signal that ended it, or the last line that it printed."""
        code = self.process.poll()
        if code is not None and code < 0:
            with suppress(ValueError):
                name = signal.Signals(-code).name
                more = ", as where memory runs out" if name == "SIGKILL" else ""
                return f"killed by {name}{more}"
        with suppress(OSError):
            lines = self._path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""


class LocalExecutor:
    """Starts workers as processes; those with GPUs see their own alone.

    Args:
        gpus: GPUs of each worker.
        logs: The folder of what workers print, a file each.

    Raises:
        MfvError: MFV5677 for more GPUs than there are, MFV5680 for more workers than this machine
            has memory for, or than it lets start.
    """

    name = "local"

    def __init__(self, gpus: int, logs: Path) -> None:
        self.gpus, self.logs = gpus, logs
        self._visible = visible_gpus() if gpus else []
        self._workers: list[LocalWorker] = []

    def start(self, orders: Sequence[WorkerOrder]) -> Sequence[LocalWorker]:
        """Start a process for each order."""
        most = max(order.number for order in orders)
        if most * self.gpus > len(self._visible):
            raise MfvError(
                "MFV5677", f"{most * self.gpus} GPUs are needed, {self.gpus} for each of {most} "
                f"workers, and {len(self._visible)} are visible",
                help="take fewer workers or `--gpus-per-worker`; `--workers auto` takes as many as "
                "there are GPUs",
            )  # fmt: skip
        free = free_memory()
        if free is not None and len(orders) * _PROGRAM > free:
            raise MfvError(
                "MFV5680", f"{len(orders)} workers need {len(orders) * _PROGRAM >> 20:,} MiB of "
                f"memory for the program alone, and {free >> 20:,} MiB are free",
                help="take fewer; `--workers auto` takes as many as bring something",
            )  # fmt: skip
        self.logs.mkdir(parents=True, exist_ok=True)
        started = []
        for order in orders:
            started.append(self._start(order))
            self._workers.append(started[-1])  # at once: the next may fail, or be interrupted
        return started

    def _start(self, order: WorkerOrder) -> LocalWorker:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads may be more than cores
        if self.gpus:
            own = self._visible[(order.number - 1) * self.gpus : order.number * self.gpus]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(own)
        path = self.logs / f"worker-{order.number}.log"
        with open_log(path) as log:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "mfv_dsl.launch.process"], stdin=subprocess.PIPE,
                    stdout=log, stderr=subprocess.STDOUT, env=environment,
                )  # fmt: skip
            except OSError as error:  # no more processes, no more memory
                raise MfvError(
                    "MFV5680", f"worker {order.number} cannot be started: {error}",
                    help="take fewer workers, or raise the limit of processes (`ulimit -u`)",
                ) from error  # fmt: skip
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died already, which its state tells
            process.stdin.write(sent(order))
            process.stdin.flush()
        return LocalWorker(order.number, process, path)

    def stop(self) -> None:
        """End all workers: none holds anything that is not in the store."""
        running = [worker for worker in self._workers if worker.process.poll() is None]
        for worker in running:
            worker.process.terminate()
        for worker in running:
            try:
                worker.process.wait(_TO_END)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        for worker in self._workers:
            with suppress(OSError, AttributeError):
                worker.process.stdin.close()  # type: ignore[union-attr]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; torch is not
    imported, and no GPU is touched."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    try:
        listed = subprocess.run(
            [program, "--query-gpu=index", "--format=csv,noheader"], capture_output=True,
            text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()


def automatic_workers(gpus_per_worker: int | None, device: str | None = None) -> tuple[int, int]:
    """How many workers this machine has places for, and GPUs of each: one for every visible GPU, or
    for so many as each is to have; without GPUs, or for a processor, one for every :data:`CORES`
    cores, two at least where there are two, as far as memory suffices."""
    gpus = [] if device == "cpu" or gpus_per_worker == 0 else visible_gpus()
    if gpus:
        each = gpus_per_worker or 1
        return max(1, len(gpus) // each), each
    if gpus_per_worker:
        raise MfvError(
            "MFV5677", f"each worker is to have {gpus_per_worker} of the GPUs, and none is visible",
            help="leave `--gpus-per-worker` out to compute on the processor",
        )  # fmt: skip
    free = free_memory()
    by_memory = cores() if free is None else max(1, free // _MEMORY)
    return max(1, min(max(cores() // CORES, min(2, cores())), by_memory)), 0
