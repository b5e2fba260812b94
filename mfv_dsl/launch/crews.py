"""From settings of a launcher to workers."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.machine import cores
from mfv_dsl.execute.folder import Performance
from mfv_dsl.execute.run import By
from mfv_dsl.execute.settings import Listener, RunSettings
from mfv_dsl.launch.driver import Crew, perform
from mfv_dsl.launch.local import LocalExecutor, automatic_workers, visible_gpus
from mfv_dsl.launch.options import RayOptions, SlurmOptions
from mfv_dsl.launch.settings import LaunchSettings
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

        if workers == "auto":
            raise MfvError(
                "MFV5678", "how many workers Slurm has room for is not known beforehand",
                help="say how many jobs there are to be: `--workers 8`",
            )  # fmt: skip
        return Crew(SlurmLauncher(options, gpus or 0, logs), workers, gpus or 0, None, logs)
    if isinstance(options, RayOptions):
        from mfv_dsl.launch.ray_tasks import RayLauncher

        ray = RayLauncher(options, gpus or 0)
        return Crew(ray, ray.automatic() if workers == "auto" else workers, gpus or 0)
    if workers == "auto":
        workers, gpus = automatic_workers(gpus, device)
    elif gpus is None:
        gpus = 0 if device == "cpu" else len(visible_gpus()) // workers
    return Crew(LocalExecutor(gpus, logs), workers, gpus, max(1, cores() // workers), logs)


def _folder_of_logs(asked: LaunchSettings) -> Path:
    """A folder of the run's own for what workers print."""
    home = shared_home()
    root = getattr(asked.options, "folder", None) or (
        Path.cwd() / ".mfv" / "logs" if "://" in home else Path(home) / "logs"
    )
    return Path(root) / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
