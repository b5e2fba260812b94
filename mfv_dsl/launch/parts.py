"""Parts of long steps, which several workers make side by side."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from mfv_dsl.execute.claims import Claims
from mfv_dsl.execute.session import Makes
from mfv_dsl.execute.store import StoredParts
from mfv_dsl.launch.units import Unit
from mfv_dsl.plan.steps import Step

#: Where the claims of parts are.
_PARTS = "claims/parts"


class Helped(BaseException):
    """Who helps with a step leaves it: there is nothing more for it to do."""


class SharedParts:
    """The parts of the unit that a worker is at; those that another makes are waited for.

    Args:
        stored: Where parts are kept.
        claims: What this worker has claimed.
        job: The name of the run, where nothing of other runs may be taken, else empty.
    """

    def __init__(self, stored: StoredParts, claims: Claims, job: str) -> None:
        self._stored, self._claims, self._job = stored, claims, job
        self._unit: Unit | None = None
        self._is_over: Callable[[], bool] | None = None
        self._unkept: set[str] = set()
        self._looked = float("-inf")  # when it last looked at what others hold
        #: How many parts were made while helping.
        self.helped = 0

    def at(self, unit: Unit, is_over: Callable[[], bool] | None = None) -> None:
        """Go to a unit: as the one who holds it, or to help until ``is_over``."""
        self._unit, self._is_over = unit, is_over
        self.helped = 0

    def keep(self, step: Step, name: str, make: Callable[[], Any]) -> Any:
        """The part ``name`` of ``step``, which only its holder makes."""
        if self._is_over is not None:
            raise Helped
        return self._stored.keep(step, self._named(name), make)

    def keep_all(self, step: Step, makes: Makes, had: Callable[[int], None]) -> list[Any]:
        """All parts of ``step``, in their order, whoever makes them.  Who helps leaves when all
        that are missing are being made."""
        if len(makes) == 1:
            if self._is_over is not None:
                raise Helped
            return [makes[0][1]()]
        by_name = {self._named(name): place for place, (name, _) in enumerate(makes)}
        values: dict[str, Any] = {}
        waits = _waits()
        while missing := self._missing(step, by_name, values):
            made = 0
            claimed = self._claimed_by_others()
            for name in missing:
                if self._claim_of(step, name) not in claimed:
                    made += self._make(step, name, makes[by_name[name]][1], values)
            if made:
                waits = _waits()
            elif self._is_over is not None:
                raise Helped
            else:
                time.sleep(next(waits))
        found = []
        for name, place in by_name.items():
            if name not in values:
                had(place)
                try:
                    values[name] = self._stored.get(step, name)
                except KeyError:  # damaged; or it is over, and they are gone
                    if self._is_over is not None:
                        raise Helped from None
                    values[name] = makes[place][1]()
            found.append(values[name])
        return found

    def _missing(self, step: Step, names: Any, values: dict[str, Any]) -> list[str]:
        missing = [
            name
            for name in self._stored.missing(step, names)
            if name not in values and not (self._is_over is not None and name in self._unkept)
        ]
        # whoever helps begins at the other end, so that the two seldom want the same
        return missing if self._is_over is None else missing[::-1]

    def _make(self, step: Step, name: str, make: Callable[[], Any], values: dict[str, Any]) -> int:
        """Make a part if nobody else does; how many were made.  What this process made of one that
        cannot be kept is left in ``values``."""
        claim = self._claims.claim(self._claim_of(step, name))
        if claim is None:
            return 0
        with claim:
            if self._is_over is not None and self._is_over():
                raise Helped
            if not self._stored.missing(step, [name]):
                return 0
            value = make()
            if not self._stored.offer(step, name, value):
                self._unkept.add(name)
            if self._is_over is None:
                values[name] = value
            else:
                self.helped += 1
        return 1

    def _claim_of(self, step: Step, name: str) -> str:
        """What a part is claimed by."""
        assert self._unit is not None
        digest = hashlib.sha256(f"{step.key} {name}".encode()).hexdigest()[:32]
        return f"parts/{self._unit.digest}.{digest}"

    def _claimed_by_others(self) -> set[str]:
        """The parts of all units that somebody has claimed, by one request; none now and then, so
        that it is seen whether their holders live."""
        now = time.monotonic()
        if now - self._looked >= self._claims.stale_after / 3:
            self._looked = now
            return set()
        return {name.removeprefix("claims/") for name in self._claims.storage.names(_PARTS)}

    def _named(self, name: str) -> str:
        return f"{name} in {self._job}" if self._job else name


def _waits() -> Iterator[float]:
    """Seconds to wait, ever longer."""
    wait = 0.02
    while True:
        yield wait
        wait = min(1.5 * wait, 1.0)
