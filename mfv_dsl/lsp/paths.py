"""Files, folders and stored vectors that a text in quotes may name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mfv_dsl.base.places import bundled, user_path
from mfv_dsl.library.sources import library_at

_MOST = 500  # entries of a folder


def vectors_at(path: str) -> list[str]:
    """The names of the vectors of a library on this machine; none of one on the Hub."""
    try:
        return [] if "://" in path else library_at(path).names()[:_MOST]
    except (OSError, ValueError):
        return []


def paths_from(
    written: str, libraries: bool = False, beside: Path | None = None
) -> Iterator[tuple[str, bool]]:
    """What goes on from a path as far as it is written, each with whether it is a folder.

    Paths are from the current folder, in which recipes are run, or from the folder ``beside``;
    ``libraries`` also offers those that come with mfv-dsl.
    """
    folder, slash, _ = written.rpartition("/")
    shown = f"{folder}{slash}"
    roots = [user_path(shown or ".") if beside is None else beside / shown]
    if libraries and not shown:
        roots.append(bundled("vectors").parent)
    elif libraries and shown.startswith("vectors/"):
        roots.append(bundled("vectors") / shown.removeprefix("vectors/"))
    for root in roots:
        try:
            with os.scandir(root) as entries:
                found = sorted((entry.name, entry.is_dir()) for entry in entries)
        except (OSError, ValueError):
            continue
        for name, is_folder in found[:_MOST]:
            if not name.startswith("."):
                yield f"{shown}{name}{'/' if is_folder else ''}", is_folder
