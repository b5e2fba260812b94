"""The files of a run on workers in the store: ``jobs/<its name>/...``.

They are few and small, and each is written by one worker, or created once::

    done/<unit>            what came of a unit: seconds, what the store had, devices
    failed/<unit>          the same of one of which steps, or conditions of steps, failed
    partial/<step>         the value of a step of which conditions failed
    deaths/<unit>/<owner>  that a worker died at it
    workers/<number>/<owner>    that a worker has begun; 0 is the one who watches
    progress/<number>      how far a worker is
    warnings/<digest>      what is to be said once
    fatal/<plan>           why a plan, or ``all``, cannot be run
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.claims import Owner, read_owner
from mfv_dsl.execute.storage import FolderStorage, Storage
from mfv_dsl.launch.units import Unit

JOBS = "jobs"
#: The name, in place of a plan's number, of what ends the whole run.
ALL = "all"


@dataclass(frozen=True)
class Report:
    """What came of a unit, by the keys of its steps.

    Attributes:
        seconds: How long each took that has a value.
        had: Those that the store had, made by another run meanwhile.
        partial: Those of which some conditions failed: their values are parts of the run.
        failures: Why the others have none.
        devices: Where the models run that the worker has loaded, by name.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    had: Sequence[str] = ()
    partial: Sequence[str] = ()
    failures: Mapping[str, MfvError] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As the content of a file."""
        failures = {key: error_data(error) for key, error in self.failures.items()}
        return json.dumps({**vars(self), "failures": failures}, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Report:
        """Of the content of a file."""
        content = json.loads(data)
        failures = {key: error_of(one) for key, one in content["failures"].items()}
        return cls(**{**content, "failures": failures})


def error_data(error: MfvError) -> dict[str, Any]:
    """An error as plain data."""
    return {"code": error.code, "message": error.message, "help": error.help,
            "notes": list(error.notes)}  # fmt: skip


def error_of(data: Mapping[str, Any]) -> MfvError:
    """An error of plain data."""
    return MfvError(data["code"], data["message"], data["help"], data["notes"])


@dataclass(frozen=True)
class Seen:
    """The names of a job's files at one moment, by their kind."""

    names: Mapping[str, frozenset[str]]

    def __getitem__(self, kind: str) -> frozenset[str]:
        return self.names.get(kind, frozenset())

    def deaths(self, unit: Unit) -> list[str]:
        """Who died at a unit."""
        return sorted(name for name in self["deaths"] if name.split("/")[0] == str(unit.number))


class Job:
    """The files of one run."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage, self.name = storage, name

    def look(self) -> Seen:
        """What is there: one request."""
        names: dict[str, set[str]] = {}
        folder = f"{JOBS}/{self.name}"
        for file in self.storage.names(folder):
            kind, _, rest = file.removeprefix(f"{folder}/").partition("/")
            names.setdefault(kind, set()).add(rest)
        return Seen({kind: frozenset(rest) for kind, rest in names.items()})

    # -- units ------------------------------------------------------------------------------------
    def is_done(self, unit: Unit) -> bool:
        """Whether something came of a unit."""
        return any(
            self.storage.exists(self._file(kind, unit.number)) for kind in ("done", "failed")
        )

    def report(self, unit: Unit, report: Report) -> None:
        """Say what came of a unit."""
        kind = "failed" if report.failures or report.partial else "done"
        self.storage.write(self._file(kind, unit.number), report.to_bytes(), durable=False)

    def reported(self, kind: str, unit: Unit) -> Report:
        """What came of a unit, which is done or failed."""
        return Report.from_bytes(self.storage.read(self._file(kind, unit.number)))

    def note_death(self, unit: Unit, owner: Owner, told: str) -> None:
        """Note that a worker died at a unit; ``told`` is what is known of it."""
        name = self._file("deaths", unit.number, owner.nonce)
        self.storage.write(name, told.encode(), durable=False)

    def told_of_deaths(self, unit: Unit, seen: Seen) -> list[str]:
        """What is known of those who died at a unit."""
        told = []
        for name in seen.deaths(unit):
            with suppress(KeyError):
                told.append(self.storage.read(self._file("deaths", name)).decode())
        return told

    def partial(self, key: str) -> str:
        """The name of the file with the value of a step of which some conditions failed."""
        return self._file("partial", f"{key}.safetensors")

    # -- workers ----------------------------------------------------------------------------------
    def begin(self, number: int, owner: Owner) -> None:
        """Say that a worker has begun."""
        data = json.dumps(asdict(owner)).encode()
        self.storage.write(self._file("workers", number, owner.nonce), data, durable=False)

    def owners(self, number: int) -> list[Owner]:
        """The processes that began as worker ``number``."""
        folder = self._file("workers", number)
        found = []
        for name in self.storage.names(folder):
            with suppress(KeyError):  # who watched the run has removed it meanwhile
                found.append(read_owner(json.loads(self.storage.read(name))))
        return [owner for owner in found if owner is not None]

    @classmethod
    def all_of(cls, storage: Storage) -> list[tuple[Job, list[Owner]]]:
        """The runs that have files in a store, each with who watches it: nobody where it is over,
        as whoever watches removes these files and a worker may write some after that."""
        watchers: dict[str, list[Owner]] = {}
        for name in storage.names(JOBS):
            _, job, *rest = name.split("/")
            known = watchers.setdefault(job, [])
            if rest[:2] == ["workers", "0"]:
                with suppress(KeyError):  # it is over meanwhile
                    owner = read_owner(json.loads(storage.read(name)))
                    known.append(owner or Owner("another host", 0, "?", rest[2], ""))
        return [(cls(storage, name), owners) for name, owners in sorted(watchers.items())]

    def forget(self, number: int, owner: Owner) -> None:
        """A process that began as worker ``number`` is gone, and that was seen to."""
        self.storage.remove(self._file("workers", number, owner.nonce))

    def tell_progress(self, number: int, tasks: Sequence[tuple[str, int, int]]) -> None:
        """Say how far a worker is: of each piece of work the label, its units, and those done."""
        data = json.dumps(tasks).encode()
        self.storage.write(self._file("progress", number), data, durable=False)

    def progress(self, number: str) -> list[tuple[str, int, int]]:
        """How far a worker is."""
        with suppress(KeyError):
            return [
                tuple(task)
                for task in json.loads(self.storage.read(self._file("progress", number)))
            ]
        return []

    # -- what is said -----------------------------------------------------------------------------
    def warn(self, text: str) -> None:
        """Have something said, once."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.storage.create(self._file("warnings", digest), text.encode())

    def warning(self, digest: str) -> str:
        """What is to be said."""
        return self.storage.read(self._file("warnings", digest)).decode()

    def end(self, plan: int | str, error: MfvError) -> None:
        """Have a plan, or all, end with an error; the first counts."""
        data = json.dumps(error_data(error)).encode()
        self.storage.create(self._file("fatal", plan), data)

    def ended(self, plan: str) -> MfvError:
        """The error that a plan ends with."""
        return error_of(json.loads(self.storage.read(self._file("fatal", plan))))

    def remove(self) -> None:
        """Remove all of it."""
        folder = f"{JOBS}/{self.name}"
        for name in self.storage.names(folder):
            self.storage.remove(name)
        if isinstance(self.storage, FolderStorage):  # folders that are empty now
            shutil.rmtree(self.storage.path(folder), ignore_errors=True)
            with suppress(OSError):
                self.storage.path(JOBS).rmdir()

    def _file(self, kind: str, *names: object) -> str:
        return "/".join([JOBS, self.name, kind, *map(str, names)])
