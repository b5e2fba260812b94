"""Hashes of files' contents, each made once for as long as the file is as it was.

A file is as it was where size, moments of change and number (inode) are the same; the moment at
which a file's status changed (``ctime``) cannot be set by hand.  Hashes are kept in
``hashes-<host>.sqlite`` beside the finished steps, where that can be written: SQLite's locks do not
reach other machines, and files are told apart by numbers of this one.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from mfv_dsl.base.files import hash_whole
from mfv_dsl.base.places import store_root

NAME = f"hashes-{re.sub('[^A-Za-z0-9.-]', '_', platform.node())}.sqlite"
#: A file that was changed within so many nanoseconds is hashed anew the next time: clocks of disks
#: are coarse, and it may be changed again within the same moment.
_SETTLED = 3_000_000_000
_THREADS = 8
#: Hashes of fewer files make no store where there is none.
_FEW = 200

#: What tells whether a file is as it was.
State = str

#: What was hashed by this process, by path.
_known: dict[str, tuple[State, str]] = {}


def content_hashes(files: Mapping[Path, os.stat_result]) -> dict[Path, str]:
    """SHA-256 of the contents of regular files, by path; their statuses are the caller's.

    Raises OSError where one cannot be read.
    """
    here = os.getcwd()
    names = {path: os.path.join(here, path) for path in files}
    states = {names[path]: _state(status) for path, status in files.items()}

    def known(entries: Mapping[str, tuple[State, str]], wanted: Iterable[str]) -> dict[str, str]:
        """The hashes in ``entries`` of files that are as they were."""
        return {
            name: entries[name][1]
            for name in wanted
            if name in entries and entries[name][0] == states[name]
        }

    hashes = known(_known, states)
    hashes |= known(_kept(states.keys() - hashes.keys()), states.keys() - hashes.keys())
    missing = {name: None for name in states if name not in hashes}
    if missing:
        settled = time.time_ns() - _SETTLED
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            hashes |= zip(missing, pool.map(hash_whole, missing), strict=True)
        _keep({
            names[path]: (states[names[path]], hashes[names[path]])
            for path, status in files.items()
            if names[path] in missing
            and max(status.st_mtime_ns, status.st_ctime_ns) < settled
        })  # fmt: skip
    return {path: hashes[name] for path, name in names.items()}


def _state(status: os.stat_result) -> State:
    return " ".join(
        map(str, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino,
                  status.st_dev))
    )  # fmt: skip


# -- kept between processes -----------------------------------------------------------------------
def _kept(names: Iterable[str]) -> dict[str, tuple[State, str]]:
    """What is kept of files; nothing where it cannot be read."""
    path = store_root() / NAME
    if not path.is_file():
        return {}
    kept: dict[str, tuple[State, str]] = {}
    try:
        with closing(sqlite3.connect(path, timeout=10)) as base:
            for name in names:
                for state, digest in base.execute(
                    "SELECT state, sha256 FROM files WHERE path = ?", (name,)
                ):
                    kept[name] = state, digest
    except (OSError, ValueError, sqlite3.Error):
        return {}
    return kept


def _keep(entries: Mapping[str, tuple[State, str]]) -> None:
    """Keep hashes; a store that cannot be written keeps none."""
    _known.update(entries)
    path = store_root() / NAME
    if len(entries) < _FEW and not path.parent.is_dir():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=10)) as base, base:
            base.execute(
                "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, state TEXT, sha256 TEXT)"
            )
            base.executemany(
                "REPLACE INTO files VALUES (?, ?, ?)",
                [(name, state, digest) for name, (state, digest) in entries.items()],
            )
    except (OSError, ValueError, sqlite3.Error):
        return
