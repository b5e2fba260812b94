"""What runs left in the store whose processes are gone, and a store that is emptied."""

from __future__ import annotations

import shutil
from contextlib import suppress
from itertools import chain

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.claims import BEATS, CLAIMS, Claims, Owner
from mfv_dsl.execute.storage import FolderStorage
from mfv_dsl.execute.store import Store
from mfv_dsl.launch.job import JOBS, Job


def remove_leftovers(claims: Claims) -> None:
    """Release what processes of this machine hold that are gone, which otherwise takes until they
    give no sign of life for long enough, and remove the files of runs that nobody watches any
    more, as far as that is known of this machine."""
    with suppress(OSError):
        for owner in {owner for owner in _holders(claims) if owner.is_gone}:
            claims.release_all_of(owner)
        for job, watchers in Job.all_of(claims.storage):
            if all(owner.is_gone for owner in watchers):
                job.remove()


def empty(store: Store, claims: Claims | None = None) -> int:
    """Remove every finished step and whatever unfinished ones left, parts, claims and reports; how
    many steps there were.

    Raises MfvError: MFV5681 while a run on workers is under way, of which nothing is removed.
    """
    claims = claims or Claims(store.storage, Owner())
    watchers = chain.from_iterable(owners for _, owners in Job.all_of(store.storage))
    alive = claims.alive({*watchers, *_holders(claims)})
    if alive:
        raise MfvError(
            "MFV5681", f"a run on workers is under way in this store: {alive[0]}",
            help="wait for it or end it; it would lose what it has finished",
        )  # fmt: skip
    count = store.clear()
    for folder in (CLAIMS, BEATS, JOBS):
        store.storage.remove(*store.storage.names(folder))
        if isinstance(store.storage, FolderStorage):  # what was being written when a process died
            shutil.rmtree(store.storage.path(folder), ignore_errors=True)
    return count


def _holders(claims: Claims) -> set[Owner]:
    """Who holds claims."""
    names = (file.removeprefix(f"{CLAIMS}/") for file in claims.storage.names(CLAIMS))
    return {owner for name in names if (owner := claims.holder(name)) is not None}
