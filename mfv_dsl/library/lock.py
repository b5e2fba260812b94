"""``mfv.lock``: what the ``load()`` of the recipes beside it resolved to.

One entry for each path and name: the revision on the Hub, if it came from there, and the content
hash of the vector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.base.short import Short
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json, reason

NAME = "mfv.lock"
_VERSION = 1


@dataclass(frozen=True)
class Pin:
    """What one ``load()`` resolved to: the vector's content hash, and a commit of the Hub."""

    content: str
    revision: str | None = None


@dataclass(frozen=True, repr=False)
class Lock(Short):
    """Pins by path and name, as the recipe writes them; ``path`` is the file they stand in."""

    pins: Mapping[tuple[str, str | None], Pin] = field(default_factory=dict)
    path: Path | None = None


NO_LOCK = Lock()


def read_lock(path: Path) -> Lock:
    """The lock file at ``path``; without pins where there is none.  MFV6021 for another file."""
    try:
        tree = read_json(path, LARGEST_CONFIG)
    except FileNotFoundError:
        return Lock(path=path)
    except (OSError, BadText) as error:
        raise _lock_error(path, reason(error)) from None
    try:
        if tree["version"] != _VERSION:
            raise _lock_error(path, f"it is of version {tree['version']}")
        return Lock({_key(entry): _pin(entry) for entry in tree["loads"]}, path)
    except (KeyError, TypeError):
        raise _lock_error(path, "it is not what `mfv lock` writes") from None


def write_lock(path: Path, pins: Mapping[tuple[str, str | None], Pin]) -> None:
    """Write ``pins`` sorted, one line each, so that versions of it are easily compared."""
    loads = [
        {"path": at, "name": name, "revision": pin.revision, "content_sha256": pin.content}
        for (at, name), pin in sorted(pins.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    ]
    lines = ",\n".join("    " + json.dumps(entry) for entry in loads)
    text = f'{{\n  "version": {_VERSION},\n  "loads": [\n{lines}\n  ]\n}}\n'
    write_atomically(path, text.encode())


def _key(entry: Mapping[str, Any]) -> tuple[str, str | None]:
    at, name = entry["path"], entry["name"]
    if not isinstance(at, str) or not isinstance(name, str | None):
        raise TypeError
    return at, name


def _pin(entry: Mapping[str, Any]) -> Pin:
    content, revision = entry["content_sha256"], entry["revision"]
    if not isinstance(content, str) or not isinstance(revision, str | None):
        raise TypeError
    return Pin(content, revision)


def _lock_error(path: Path, why: str) -> MfvError:
    return MfvError("MFV6021", f"cannot read {path}: {why}", help="make it anew: `mfv lock RECIPE`")
