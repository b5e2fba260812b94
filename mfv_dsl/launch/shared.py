"""The store that workers share, by the name that every machine has for it."""

from __future__ import annotations

from pathlib import Path

from mfv_dsl.base.places import store_root
from mfv_dsl.execute.storage import FolderStorage, Storage
from mfv_dsl.execute.store import Store


def shared_home() -> str:
    """Where the store is: an absolute folder, or an address."""
    home = str(store_root())
    return home if "://" in home else str(Path(home).absolute())


def storage_of(home: str) -> Storage:
    """The files of the store at ``home``."""
    return FolderStorage(home)


def store_of(home: str) -> Store:
    """The finished steps of the store at ``home``."""
    return Store(Path(home))
