"""Workers as jobs of Slurm, by submitit: one array, a job for each worker.

submitit writes the script and the orders, sends them, and queues a job again that was pre-empted or
that ran out of its time.  A worker keeps nothing but what the store has, so that a job that is
queued again goes on where others are.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.launch.executors import State
from mfv_dsl.launch.orders import WorkerOrder
from mfv_dsl.launch.worker import work

if TYPE_CHECKING:
    from submitit.core.core import Job, PicklingExecutor

    from mfv_dsl.launch.options import SlurmOptions

#: Seconds between two questions to Slurm's accounting, one for all jobs.
ASK_EVERY = 20.0
#: Seconds that a result may take to be seen here after Slurm says that its job is done, and that a
#: job that was pre-empted may take to be queued again.
_SEEN_AFTER, _QUEUED_AFTER = 30.0, 600.0
#: Seconds for workers to leave by themselves when they are told to.
_TO_LEAVE = 20.0
_GIGABYTES = 64.0  # of orders at most; submitit refuses more than one otherwise

_WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "READY", "CONFIGURING",
            "SUSPENDED"}  # fmt: skip
_RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED"}


class WorkerJob:
    """What a job calls.  When its time is over or its place is wanted, submitit asks it what is to
    be done next: the same order again."""

    def __call__(self, order: WorkerOrder) -> None:
        if os.environ.get("SUBMITIT_EXECUTOR") == "local":  # Slurm's comes before a pre-emption
            signal.signal(signal.SIGTERM, _leave)
        work(order)

    def checkpoint(self, order: WorkerOrder) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, order)


def _leave(number: int, frame: Any) -> None:
    """End in an orderly way: what is held is released."""
    sys.exit(128 + number)


class SlurmWorker:
    """A worker that is a job."""

    def __init__(self, number: int, job: Job[None], launcher: SlurmLauncher) -> None:
        self.number = number
        self.job = job
        self._launcher = launcher
        self._over: tuple[str, float] | None = None  # the state that it may have died in, and since

    def __repr__(self) -> str:
        return f"SlurmWorker({self.number}, job {self.job.job_id})"

    def state(self) -> State:
        """How it is: by its result, which submitit writes, else as Slurm says."""
        if self._result() is not None:
            return "ended" if self._result() == "" else "died"
        told = self._launcher.told(self.job)
        if told in _RUNNING:
            return "running"
        if told in _WAITING:
            return "waiting"
        if told == "UNKNOWN":  # not known yet, or there is no accounting
            return "running" if self.job.paths.stderr.exists() else "waiting"
        if self._over is None or self._over[0] != told:
            self._over = told, time.monotonic()
        since = time.monotonic() - self._over[1]
        if told == "PREEMPTED":
            return "waiting" if since < _QUEUED_AFTER else "died"
        if told in ("COMPLETED", "FINISHED") and since < self._launcher.seen_after:
            return "running"
        return "ended" if self._result() == "" else "died"

    def log(self) -> str:
        """The file of what it printed as errors."""
        paths = self.job.paths
        return str(paths.stderr if paths.stderr.exists() else paths.stdout)

    def reason(self) -> str:
        """What it raised, or the state that it ended in."""
        if (result := self._result()) is not None:
            return result
        state = self._over[0] if self._over is not None else ""
        if state in ("", "FINISHED", "COMPLETED"):
            return "its process is gone: it was killed, or memory ran out"
        return f"Slurm says {state}"

    def _result(self) -> str | None:
        """What it raised, empty where it ended as it should, None where nothing is known."""
        from submitit.core.utils import pickle_load

        try:
            outcome, value = pickle_load(self.job.paths.result_pickle)
        except (OSError, EOFError):
            return None
        return "" if outcome == "success" else raised(str(value))


class SlurmLauncher:
    """Starts workers as an array of jobs.

    Args:
        options: What submitit and Slurm are told.
        gpus: GPUs of each worker.
        folder: Where scripts, orders and logs go: one that no other run uses, seen by all nodes.

    Raises:
        MfvError: MFV5643 where submitit is missing, MFV5645 where there is no Slurm.
    """

    name = "slurm"

    def __init__(self, options: SlurmOptions, gpus: int, folder: Path) -> None:
        _need_submitit()
        if options.cluster == "slurm":
            _need_slurm()
        self.options, self.gpus, self.folder = options, gpus, folder.absolute()
        #: A result is on this machine when its process is gone, elsewhere a little later.
        self.seen_after = _SEEN_AFTER if options.cluster == "slurm" else 0.5
        self._workers: list[SlurmWorker] = []
        self._asked = 0.0

    def start(self, orders: Sequence[WorkerOrder]) -> Sequence[SlurmWorker]:
        """Submit a job for each order.

        Raises MfvError: MFV5646 where Slurm refuses them.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            jobs = self._submitted(orders)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise MfvError(
                "MFV5646", f"the jobs could not be submitted: {str(error).strip() or error!r}",
                help="see what `mfv run --dry-run --launcher slurm` prints, "
                "and the options of `sbatch` on this cluster",
            ) from error  # fmt: skip
        started = [
            SlurmWorker(order.number, job, self) for order, job in zip(orders, jobs, strict=True)
        ]
        self._workers += started
        return started

    def stop(self) -> None:
        """Let workers leave, and cancel the jobs of those that do not."""
        left = [worker for worker in self._workers if worker._result() is None]
        jobs = [worker.job for worker in left]
        if not jobs:
            return
        if self.options.cluster == "local":
            _end_here(jobs)
            return
        arrays = sorted({job.job_id.split("_")[0] for job in jobs})
        _quietly("scancel", "--signal=INT", "--state=RUNNING", *arrays)
        until = time.monotonic() + _TO_LEAVE
        running = [worker for worker in left if worker.job.paths.stderr.exists()]
        while time.monotonic() < until and any(worker._result() is None for worker in running):
            time.sleep(0.2)
        _quietly("scancel", *arrays)

    def told(self, job: Job[None]) -> str:
        """The state of a job in Slurm's words; all jobs are asked about at once, and not often."""
        if self.options.cluster == "local":
            return str(job.state)
        now = time.monotonic()
        if now - self._asked >= ASK_EVERY:
            self._asked = now
            job.watcher.update()
        return str(job.watcher.get_state(job.job_id, mode="cache")).split(" ")[0].upper()

    def _submitted(self, orders: Sequence[WorkerOrder]) -> list[Job[None]]:
        executor = submitit_executor(self.options, self.gpus, self.folder)
        if self.options.cluster == "slurm":
            return executor.map_array(WorkerJob(), orders)
        jobs = []
        for order in orders:  # submitit would give all of them the same GPUs
            visible = _gpus_of(order.number, self.gpus)
            executor.update_parameters(gpus_per_node=len(visible), visible_gpus=visible)
            with _without_ctrl_c():
                jobs.append(executor.submit(WorkerJob(), order))
        return jobs


def submitit_executor(options: SlurmOptions, gpus: int, folder: Path) -> PicklingExecutor:
    """submitit's executor with everything that it is told."""
    from submitit import LocalExecutor, SlurmExecutor

    known: dict[str, Any] = {
        "max_num_timeout": options.max_num_timeout, "max_pickle_size_gb": _GIGABYTES,
        "python": options.python,
    }  # fmt: skip
    executor: PicklingExecutor
    if options.cluster == "local":
        executor = LocalExecutor(folder, **known)
        executor.update_parameters(
            timeout_min=options.time, signal_delay_s=options.signal_delay_s,
            stderr_to_stdout=options.stderr_to_stdout, setup=list(options.setup),
        )  # fmt: skip
        return executor
    executor = SlurmExecutor(folder, **known)
    executor.update_parameters(**slurm_parameters(options, gpus))
    return executor


def slurm_parameters(options: SlurmOptions, gpus: int) -> dict[str, Any]:
    """What submitit is told of the jobs; GPUs per node unless they are asked for otherwise.

    >>> from mfv_dsl.launch.options import SlurmOptions
    >>> told = slurm_parameters(SlurmOptions(partition="gpu"), 1)
    >>> told["partition"], told["gpus_per_node"], told["time"]
    ('gpu', 1, 240)
    """
    of_call = ("cluster", "folder", "python", "max_num_timeout")
    told = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(options).items()
        if name not in of_call and value not in (None, (), {})
    }
    asked = ("gpus_per_node", "gpus_per_task", "gres")
    if gpus and not any(name in told for name in asked):
        told["gpus_per_node"] = gpus
    return told


def sbatch_script(options: SlurmOptions, gpus: int, workers: int, folder: Path) -> str:
    """The script that submitit sends for so many workers; Slurm need not be on this machine.

    Raises MfvError: MFV5643 where submitit is missing.
    """
    _need_submitit()
    from submitit import SlurmExecutor

    class Writing(SlurmExecutor):
        """One that does not look for Slurm, since it sends nothing."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    executor = Writing(folder.absolute(), python=options.python)
    executor.update_parameters(**slurm_parameters(options, gpus))
    if workers > 1:
        executor.parameters["map_count"] = workers  # as `map_array` does
    script: str = executor._make_submission_file_text(executor._submitit_command_str, "")
    return script


def raised(trace: str) -> str:
    """The exception at the end of a traceback, without the calls that led to it.

    >>> raised("Traceback (most recent call last):\\n  File …\\nValueError: no\\n  = help: yes")
    'ValueError: no\\n  = help: yes'
    """
    lines = trace.strip().split("\n")
    starts = [i for i, line in enumerate(lines) if line[:1] not in ("", " ", "\t")]
    calls = [i for i, line in enumerate(lines) if line.startswith("  File ")]
    last = calls[-1] if calls else -1
    first = next((i for i in starts if i > last), 0)
    name, colon, text = "\n".join(lines[first:]).partition(": ")
    return text if colon and name.endswith("MfvError") else f"{name}{colon}{text}"


def _need_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise MfvError(
            "MFV5643", "jobs of Slurm are started by submitit, which is not installed",
            help="pip install 'mfv-dsl[slurm]'",
        ) from None  # fmt: skip


def _need_slurm() -> None:
    missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if missing:
        raise MfvError(
            "MFV5645", f"there is no Slurm on this machine: `{missing[0]}` is not found",
            help="run it where `sbatch` is; or take processes on this machine, `--launcher local`; "
            "or try it without Slurm, `--launcher slurm --launcher-option cluster=local`",
        )  # fmt: skip


def _gpus_of(number: int, count: int) -> list[int]:
    """The GPUs of this machine that worker ``number`` has: its own where there are enough."""
    if not count:
        return []
    import torch

    there = torch.cuda.device_count()
    return [((number - 1) * count + i) % there for i in range(count)] if there else []


def _quietly(*command: str) -> None:
    """Call a command of Slurm; a job that is gone already is none to cancel."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=60, check=False)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that are started within do not get a terminal's Ctrl-C: they are told to leave, and
    submitit's own would leave workers behind if both came."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_here(jobs: Sequence[Any]) -> None:
    """Tell workers of submitit's stand-in to leave, which their process passes on, and wait."""
    processes = [job._process for job in jobs if job._process is not None]
    for process in processes:
        process.terminate()
    until = time.monotonic() + _TO_LEAVE
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, until - time.monotonic()))
            continue
        process.kill()
        process.wait()
