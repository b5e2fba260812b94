"""The Hugging Face Hub's cache on this machine; nothing is asked over the network."""

from __future__ import annotations

import os
from pathlib import Path


def cached_revision(repository: str, revision: str | None = None) -> str | None:
    """The revision under which the cache has a model's files.

    A cache that was copied, or filled by commit, does not say which snapshot is the main branch:
    where none is asked for by name and it has a single one, that is meant.  All else stays as it
    is.
    """
    if revision not in (None, "main") or _is_known(repository, "main"):
        return revision
    commits = snapshots(repository)
    return commits[0] if len(commits) == 1 else revision


def snapshots(repository: str) -> tuple[str, ...]:
    """The commits of a model's repository that the cache has files of."""
    try:
        return tuple(sorted(os.listdir(folder_of(repository) / "snapshots")))
    except OSError:
        return ()


def folder_of(repository: str) -> Path:
    """The folder of a model's repository in the cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def choice_of(repository: str, revision: str | None = None) -> str | None:
    """What to do where the cache has several snapshots and does not say which is the main branch;
    None where that is not so."""
    commits = snapshots(repository)
    if revision not in (None, "main") or _is_known(repository, "main") or len(commits) < 2:
        return None
    return (
        f"the Hub's cache ({folder_of(repository)}) does not say which of these is its main "
        f"branch: {', '.join(commits)}; write the one that is meant into refs/main there"
    )


def _is_known(repository: str, name: str) -> bool:
    return os.path.isfile(folder_of(repository) / "refs" / name)
