"""Names of vectors: safe as file names on every system."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mfv_dsl.base.errors import MfvError

SUFFIX = ".safetensors"
LONGEST = 100

_FORM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
#: names that Windows keeps for devices, whatever follows after a dot
DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}


def is_vector_file(path: str) -> bool:
    """Whether a path names a vector's file, not a library's folder.

    >>> is_vector_file("vectors/LEFT.SAFETENSORS"), is_vector_file("vectors/left")
    (True, False)
    """
    return path.lower().endswith(SUFFIX)


def check_name(name: str) -> str:
    """``name``, if a file may be called so on every system.

    Raises MfvError (MFV6005) otherwise, which says what a name must be.
    """
    reason = None
    if not name or len(name) > LONGEST:
        reason = f"it is {len(name)} characters long" if name else "it is empty"
    elif not _FORM.fullmatch(name) or name.endswith("."):
        reason = "it has other characters, or a dot at an end"
    elif name.split(".")[0].lower() in DEVICES:
        reason = "Windows keeps it for a device"
    if reason is None:
        return name
    excerpt = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    raise MfvError(
        "MFV6005",
        f"a vector cannot be called `{excerpt}`: {reason}",
        help=f"use up to {LONGEST} letters, digits, `_`, `-` and `.`, none of the last two first",
    )


def check_clash(name: str, others: Iterable[str]) -> None:
    """Raises MfvError (MFV6006) where one of ``others`` differs from ``name`` by capitals alone."""
    for other in others:
        if other != name and other.lower() == name.lower():
            raise MfvError(
                "MFV6006",
                f"`{name}` and `{other}` differ by capitals alone, and some systems keep one file "
                "for both",
                help="give one of them another name",
            )


def plain(text: str) -> str:
    """``text`` with ``_`` for all but letters and digits, as far as a name may be long.

    >>> plain("fv(left) - fv(right)")
    'fv_left_fv_right'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:LONGEST] or "unnamed"


def checked_name(name: str) -> str:
    """``name``, a relative path with ``/`` between its parts; ValueError if it could lead out of
    the folder that it is relative to, or if a part of it begins with a full stop.

    >>> checked_name("steps/ab/abcd.safetensors")
    'steps/ab/abcd.safetensors'
    """
    parts = name.split("/")
    if any(not part or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        raise ValueError(f"no name of a storage: {name!r}")
    return name
