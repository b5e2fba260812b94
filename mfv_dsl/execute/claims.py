"""Who works at what: claims in a store that several processes and machines share.

A claim is a file, created atomically, that names its owner.  An owner shows that it is alive by a
counter, in one file for all of its claims, that a thread of it writes every few seconds.  Clocks of
machines are never compared: a claim is stale to an observer when the counter has stood still for
some time by the observer's own clock.

Claims save work and nothing else rests on them: where two hold the same, for a disk that failed or
a machine that slept, both do the same work, and either result is the same.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mfv_dsl.base.names import checked_name
from mfv_dsl.execute.storage import Storage
from mfv_dsl.version import __version__

CLAIMS, BEATS = "claims", "beats"


def _processes() -> str:
    """What tells the processes that this system numbers from those of others: hosts may have one
    name, and containers of one host number theirs apart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not every system tells
        return ""


@dataclass(frozen=True)
class Owner:
    """Who holds claims: a process of a host, the version of mfv-dsl that it runs, a word that no
    other process has, and what tells among which processes its number counts."""

    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)
    version: str = __version__
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    among: str = field(default_factory=_processes)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"

    @property
    def is_near(self) -> bool:
        """Whether its process number counts among those of this process."""
        return self.host == socket.gethostname() and self.among == _processes()

    @property
    def is_gone(self) -> bool:
        """Whether its process ran on this machine and is there no more; False where that cannot be
        told."""
        if not self.is_near or os.name == "nt":  # there the question would end it
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


class Claim:
    """Work that is claimed; a context manager that releases it."""

    def __init__(self, claims: Claims, name: str, content: bytes) -> None:
        self.name = name
        #: Who held it before and gave no sign of life any more; None where nobody did.
        self.taken_from: Owner | None = None
        self._claims, self._content = claims, content
        self._lost, self._looked = False, time.monotonic()

    def __repr__(self) -> str:
        return f"Claim({self.name!r})"

    @property
    def is_lost(self) -> bool:
        """Whether another took it over, or it was released; looked up every few seconds."""
        now = time.monotonic()
        if not self._lost and now - self._looked >= self._claims.beat_every:
            self._looked = now
            with suppress(OSError):  # a storage that fails now has taken nothing away
                self._lost = self._claims._content(self.name) != self._content
        return self._lost

    def release(self) -> None:
        """Give it up; nothing where another took it over."""
        self._claims._release(self, self._content)
        self._lost = True

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class Claims:
    """The claims of one process on a storage; a context manager that releases all of them.

    Args:
        storage: What all who work together share.
        owner: This process.
        beat_every: Seconds between two signs of life.
        stale_after: Seconds without one after which a claim may be taken over.

    >>> from tempfile import TemporaryDirectory
    >>> from mfv_dsl.execute.storage import FolderStorage
    >>> with TemporaryDirectory() as folder:
    ...     mine = Claims(FolderStorage(folder), Owner(host="a"))
    ...     yours = Claims(FolderStorage(folder), Owner(host="b"))
    ...     with mine, yours, mine.claim("steps/x") as claim:
    ...         print(claim, yours.claim("steps/x"), yours.holder("steps/x").host)
    Claim('steps/x') None a
    """

    def __init__(
        self, storage: Storage, owner: Owner, *, beat_every: float = 5.0, stale_after: float = 30.0
    ) -> None:
        self.storage, self.owner = storage, owner
        self.beat_every, self.stale_after = beat_every, stale_after
        self._held: dict[str, Claim] = {}
        #: what was last seen of others' claims and counters, and when, by this process's clock
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._counters: dict[str, tuple[bytes | None, float, float]] = {}
        self._lock = threading.Lock()
        self._beating: threading.Thread | None = None
        self._closed = threading.Event()
        self._beat = 0

    # -- claiming ---------------------------------------------------------------------------------
    def claim(self, name: str) -> Claim | None:
        """Claim work; None while someone alive holds it, this process included.

        Who asks for a name again and again until it is free learns after ``stale_after`` seconds
        that its holder died.
        """
        if name in self._held and not self._held[name].is_lost:
            return None
        self.show_life()
        content = self._made(name)
        if name not in self._seen and self.storage.create(_file(name), content):
            return self._hold(name, content)
        found = self._content(name)
        if found is None:
            self._seen.pop(name, None)
            created = self.storage.create(_file(name), content)
            return self._hold(name, content) if created else None
        if self._is_stale(name, found) and self.storage.replace(_file(name), found, content):
            claim = self._hold(name, content)
            claim.taken_from = _owner(found)
            return claim
        return None

    def holder(self, name: str) -> Owner | None:
        """Who holds a claim, alive or not; None where nobody does."""
        found = self._content(name)
        return None if found is None else _owner(found)

    def alive(self, owners: Iterable[Owner]) -> list[Owner]:
        """Those of ``owners`` that are alive: of this machine those whose process is there, of
        others those that count while this waits for it, for a little more than two beats."""
        there = {owner.nonce: owner for owner in owners if not owner.is_gone}
        found = [owner for owner in there.values() if owner.is_near and os.name != "nt"]
        far = [owner for owner in there.values() if owner not in found]
        counts = {owner.nonce: self._counter(owner) for owner in far}
        until = time.monotonic() + 2.2 * self.beat_every
        while far and time.monotonic() < until:
            time.sleep(self.beat_every / 20)
            moved = [owner for owner in far if self._counter(owner) != counts[owner.nonce]]
            found += moved
            far = [owner for owner in far if owner not in moved]
        return found

    def held(self) -> list[str]:
        """The names of what this process has claimed and not released."""
        return sorted(self._held)

    def release_all_of(self, owner: Owner) -> int:
        """Release what another process holds, of which it is known that it died; how many claims
        that were."""
        count = 0
        for file in self.storage.names(CLAIMS):
            name = file.removeprefix(f"{CLAIMS}/")
            found = self._content(name)
            if found is not None and _owner(found) == owner:
                self.storage.remove(file)
                self._seen.pop(name, None)
                count += 1
        self.storage.remove(_beat_file(owner))
        return count

    def close(self) -> None:
        """Release all claims and give no sign of life any more."""
        self._closed.set()
        for claim in list(self._held.values()):
            claim.release()
        if self._beating is not None:
            self._beating.join()
            with suppress(OSError):
                self.storage.remove(_beat_file(self.owner))

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _made(self, name: str) -> bytes:
        """The content of a claim of this process, like no other."""
        claim = {"owner": asdict(self.owner), "name": name, "nonce": secrets.token_hex(8)}
        return json.dumps(claim, sort_keys=True).encode()

    def _hold(self, name: str, content: bytes) -> Claim:
        self._seen.pop(name, None)
        self._held[name] = claim = Claim(self, name, content)
        return claim

    def _release(self, claim: Claim, content: bytes) -> None:
        if self._held.get(claim.name) is claim:
            del self._held[claim.name]
            with suppress(OSError):  # it goes stale
                if self._content(claim.name) == content:
                    self.storage.remove(_file(claim.name))

    def _content(self, name: str) -> bytes | None:
        try:
            return self.storage.read(_file(name))
        except KeyError:
            return None

    # -- who is alive -----------------------------------------------------------------------------
    def _is_stale(self, name: str, found: bytes) -> bool:
        """Whether a claim and its owner's counter have stood still for long enough, as this process
        saw them."""
        now = time.monotonic()
        seen, since = self._seen.get(name, (b"", now))
        if seen != found:
            since = now
        self._seen[name] = found, since
        owner = _owner(found)
        if owner is not None:  # of a claim that cannot be read the content alone counts
            since = max(since, self._still_since(owner, now))
        return now - since >= self.stale_after

    def _still_since(self, owner: Owner, now: float) -> float:
        """Since when an owner's counter stands where it stands; read no more often than it is
        written."""
        count, since, looked = self._counters.get(owner.nonce, (b"", now, -self.beat_every))
        if now - looked >= self.beat_every:
            found = self._counter(owner)
            if found != count:
                since = now
            self._counters[owner.nonce] = found, since, now
        return since

    def _counter(self, owner: Owner) -> bytes | None:
        """Where an owner's counter stands; None where there is none."""
        try:
            return self.storage.read(_beat_file(owner))
        except KeyError:
            return None

    def show_life(self) -> None:
        """Give signs of life from now on, as who claims does: see to it that the counter is there
        and the thread runs that counts."""
        with self._lock:
            if self._beating is not None and self._beating.is_alive():
                return
            self._closed.clear()
            self._count()
            self._beating = threading.Thread(target=self._count_on, name="claims", daemon=True)
            self._beating.start()

    def _count_on(self) -> None:
        while not self._closed.wait(self.beat_every):
            with suppress(OSError):  # the next may reach it
                self._count()

    def _count(self) -> None:
        self._beat += 1
        self.storage.write(_beat_file(self.owner), str(self._beat).encode(), durable=False)


def _file(name: str) -> str:
    return checked_name(f"{CLAIMS}/{name}")


def _beat_file(owner: Owner) -> str:
    return checked_name(f"{BEATS}/{owner.nonce}")


def read_owner(data: Any) -> Owner | None:
    """An owner as plain data; None where that is of another form, as of another version."""
    try:
        return Owner(**{item.name: data[item.name] for item in fields(Owner)})
    except (KeyError, TypeError):
        return None


def _owner(content: bytes) -> Owner | None:
    """The owner that a claim names; None where it cannot be read."""
    try:
        return read_owner(json.loads(content)["owner"])
    except (ValueError, KeyError, TypeError):
        return None
