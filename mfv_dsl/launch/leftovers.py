"""What runs left in the store whose processes on this machine are gone."""

from __future__ import annotations

import os
from contextlib import suppress

from mfv_dsl.execute.claims import Claims, Owner
from mfv_dsl.launch.job import Job


def remove_leftovers(claims: Claims) -> None:
    """Release what processes of this machine hold that are gone, which otherwise takes until they
    give no sign of life for long enough, and remove the files of runs that they watched."""
    with suppress(OSError):
        gone: dict[str, Owner] = {}
        for file in claims.storage.names("claims"):
            owner = claims.holder(file.removeprefix("claims/"))
            if owner is not None and _is_gone(owner):
                gone[owner.nonce] = owner
        for owner in gone.values():
            claims.release_all_of(owner)
        for job in Job.all_of(claims.storage):
            watchers = job.owners(0)
            if watchers and all(map(_is_gone, watchers)):
                job.remove()


def _is_gone(owner: Owner) -> bool:
    """Whether a process ran on this machine and is gone."""
    if not owner.is_near or os.name == "nt":  # there the question would end it
        return False
    try:
        os.kill(owner.process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
