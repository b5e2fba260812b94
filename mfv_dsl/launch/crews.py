"""From settings of a launcher to workers."""

from __future__ import annotations

import secrets
import time
import warnings
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.machine import cores
from mfv_dsl.execute.folder import Performance
from mfv_dsl.execute.run import By
from mfv_dsl.execute.settings import Listener, RunSettings
from mfv_dsl.execute.threads import threads_asked
from mfv_dsl.launch.driver import Crew, perform
from mfv_dsl.launch.local import LocalExecutor, automatic_workers, visible_gpus
from mfv_dsl.launch.options import RayOptions, SlurmOptions
from mfv_dsl.launch.own_disk import warn_of_own_disk
from mfv_dsl.launch.settings import LaunchSettings, Workers
from mfv_dsl.launch.shared import shared_home
from mfv_dsl.plan.steps import Plan


def performer(asked: LaunchSettings) -> By:
    """What performs the steps of a plan by workers, as they are asked for."""

    def by(plan: Plan, listener: Listener | None, settings: RunSettings) -> Performance:
        (result,) = perform([plan], crew_of(asked, settings.device), listener, settings)
        if isinstance(result, MfvError):
            raise result
        return result

    return by


def crew_of(asked: LaunchSettings, device: str | None = None) -> Crew:
    """The workers that are asked for, not started yet; ``device`` is where models are to run, if
    that is said.

    Raises MfvError: MFV5677 for GPUs that are not there, MFV5678 where a number of workers is to be
    found that cannot be; and what the launcher raises.
    """
    logs = _folder_of_logs(asked)
    options, workers, gpus = asked.options, asked.workers, asked.gpus_per_worker
    if isinstance(options, SlurmOptions):
        from mfv_dsl.launch.slurm import SlurmLauncher

        workers = _said(workers)
        launcher = SlurmLauncher(options, gpus or 0, logs)
        if options.cluster == "slurm":
            for folder in {shared_home(), str(logs.parent)}:
                warn_of_own_disk(folder, "jobs of Slurm")
        return Crew(launcher, workers, gpus or 0, threads_asked(), logs)
    if isinstance(options, RayOptions):
        from mfv_dsl.launch.ray_tasks import RayLauncher

        ray = RayLauncher(options, gpus or 0)
        if not ray.is_here:
            warn_of_own_disk(shared_home(), "tasks of Ray")
        workers = ray.automatic() if workers == "auto" else workers
        return Crew(ray, workers, gpus or 0, threads_asked())
    if workers == "auto":
        workers, gpus = automatic_workers(gpus, device)
    elif gpus is None:
        gpus = 0 if device == "cpu" else len(visible_gpus()) // workers
    if workers > cores() and not gpus and (device == "cpu" or not visible_gpus()):
        warnings.warn(
            f"{workers} workers share {cores()} cores, which is slower than {cores()} workers",
            stacklevel=2,
        )
    return Crew(LocalExecutor(gpus, logs), workers, gpus, threads_asked(), logs)


def script_of(asked: LaunchSettings) -> str | None:
    """The script that Slurm would be sent; None where nothing is sent to Slurm.

    Raises MfvError: MFV5643 where submitit is missing, MFV5678 where it is not said how many
    workers there are to be.
    """
    if not isinstance(asked.options, SlurmOptions) or asked.options.cluster != "slurm":
        return None
    from mfv_dsl.launch.slurm import sbatch_script

    workers, gpus = _said(asked.workers), asked.gpus_per_worker or 0
    return sbatch_script(asked.options, gpus, workers, _folder_of_logs(asked))


def _said(workers: Workers) -> int:
    """The number of workers that Slurm is to start."""
    if workers == "auto":
        raise MfvError(
            "MFV5678", "how many workers Slurm has room for is not known beforehand",
            help="say how many jobs there are to be: `--workers 8`",
        )  # fmt: skip
    return workers


def _folder_of_logs(asked: LaunchSettings) -> Path:
    """A folder of the run's own for what workers print."""
    home = shared_home()
    root = getattr(asked.options, "folder", None) or (
        Path.cwd() / ".mfv" / "logs" if "://" in home else Path(home) / "logs"
    )
    return Path(root) / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
