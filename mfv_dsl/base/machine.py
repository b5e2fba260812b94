"""What this machine has, as the system tells."""

from __future__ import annotations

import os


def free_memory() -> int | None:
    """Bytes of memory that are free, with those of the system's cache of files; None where the
    system does not tell."""
    try:
        with open("/proc/meminfo", "rb") as file:
            return 1024 * int(file.read().partition(b"MemAvailable:")[2].split(maxsplit=1)[0])
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every system tells
        return os.cpu_count() or 1
