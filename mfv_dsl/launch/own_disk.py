"""Folders that machines are to share and that only one of them has."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

#: File systems that are in one machine's memory.
_IN_MEMORY = {"tmpfs", "ramfs"}
_SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")


def warn_of_own_disk(folder: str | Path, who: str) -> None:
    """Warn where other machines cannot see a folder, as far as that can be told from here."""
    if "://" in str(folder):
        return
    path = Path(os.path.realpath(folder))
    if (why := own_disk(path)) is not None:
        warnings.warn(
            f"{folder} is {why}, which other machines do not see; {who} share finished steps and "
            "orders by it: let MFV_HOME name a folder that all of them see",
            stacklevel=2,
        )


def own_disk(path: Path) -> str | None:
    """Why a folder is this machine's alone, None where nothing says so.

    >>> own_disk(Path("/tmp/store")), own_disk(Path("/home/lab/store"))
    ('below /tmp', None)
    """
    scratch = [*_SCRATCH, tempfile.gettempdir(), *filter(None, [os.environ.get("SLURM_TMPDIR")])]
    for place in dict.fromkeys(scratch):
        if path.is_relative_to(os.path.realpath(place)) or path.is_relative_to(place):
            return f"below {place}"
    kind = _file_system(path)
    return f"on a file system in memory ({kind})" if kind in _IN_MEMORY else None


def _file_system(path: Path) -> str | None:
    """The kind of the file system of a path, yet to be made or there; None where the system does
    not tell."""
    try:
        with open("/proc/mounts", encoding="utf-8", errors="replace") as file:
            mounts = [line.split()[1:3] for line in file]
    except (OSError, IndexError):
        return None
    found = [(point, kind) for point, kind in mounts if path.is_relative_to(point)]
    return max(found, key=lambda mount: len(mount[0]), default=(None, None))[1]
