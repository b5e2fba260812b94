"""The vectors that a plan loads: fetched before anything runs, and held against ``mfv.lock``."""

from __future__ import annotations

from pathlib import Path

from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.lang.checked import Checked
from mfv_dsl.library.address import hub_address
from mfv_dsl.library.header import read_file
from mfv_dsl.library.lock import NAME, NO_LOCK, Lock, Pin, write_lock
from mfv_dsl.library.sources import file_of
from mfv_dsl.plan.steps import Plan

Key = tuple[str, "str | None"]


def fetch_loads(plan: Plan, lock: Lock = NO_LOCK) -> bool:
    """Download what ``plan`` loads and is not on this machine yet; whether there was anything, and
    so whether the plan must be made anew.  MFV6001 for what is nowhere."""
    missing = [key for key, content in _loads(plan).items() if content is None]
    for key in missing:
        file_of(*key, revision=lock.pins[key].revision if key in lock.pins else None)
    return bool(missing)


def check_lock(plan: Plan, checked: Checked, lock: Lock, recipe: str) -> None:
    """MFV6020 names what ``plan`` loads and ``lock`` does not pin, or pins otherwise."""
    mismatches = []
    for key in _loads(plan):
        shown, facts, pin = "/".join(filter(None, key)), checked.loads[key], lock.pins.get(key)
        assert facts is not None  # it was fetched
        if pin is None:
            mismatches.append(f"{shown} is not pinned")
        elif pin.content != facts.content:
            mismatches.append(f"{shown} is {facts.content[:12]}, pinned is {pin.content[:12]}")
    if mismatches:
        raise MfvError(
            "MFV6020",
            f"{lock.path or NAME} does not pin what {recipe} loads",
            notes=mismatches,
            help=f"if it is what you want: `mfv lock {recipe}`",
        )


def pin_loads(checked: Checked, lock: Lock) -> dict[Key, Pin]:
    """Pin every vector that the recipe loads, read whole and checked, in the file of ``lock``; the
    pins of other recipes beside it stay.  A branch on the Hub is looked up anew."""
    if lock.path is None:
        raise MfvError("MFV6023", "only a recipe that is a file can be locked")
    pins = {}
    for path, name in checked.loads:
        file = file_of(path, name)
        content = read_file(file)[0].metadata["content_sha256"]
        pins[path, name] = Pin(content, _commit(path, file))
    with disk_trouble(lock.path, what="cannot write", code="MFV6023"):
        write_lock(lock.path, {**lock.pins, **pins})
    return pins


def _commit(path: str, file: Path) -> str | None:
    """The commit that a file of the Hub's cache belongs to: its folder there."""
    return file.parent.name if hub_address(path) else None


def _loads(plan: Plan) -> dict[Key, str | None]:
    """The content of every vector that ``plan`` loads, None where it is not on this machine."""
    steps = (step.parameters for step in plan.steps if step.operation == "load")
    return {(p["path"], p["name"]): p["content"] for p in steps}
