"""Claims: who works at what, between processes that pretend to be hosts of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mfv_dsl.execute.claims import Claims, Owner, read_owner
from mfv_dsl.execute.storage import FolderStorage, Storage

#: where those who are waited for are dead
QUICK = {"beat_every": 0.05, "stale_after": 0.4}
#: where one who lives must not count as dead, however busy the machine is
CALM = {"beat_every": 0.05, "stale_after": 2.0}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return FolderStorage(tmp_path)


def until(holds: Callable[[], object], seconds: float = 60.0) -> object:
    """What ``holds`` gives as soon as it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := holds()) is not None and found is not False:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about in time")


def test_one_holds_what_another_waits_for(storage: Storage):
    with Claims(storage, Owner("a")) as mine, Claims(storage, Owner("b")) as yours:
        claim = mine.claim("steps/x")
        assert claim is not None and mine.claim("steps/x") is None
        assert yours.claim("steps/x") is None and yours.holder("steps/x") == mine.owner
        other = yours.claim("steps/y")
        assert other is not None and mine.holder("steps/y") == yours.owner
        assert mine.held() == ["steps/x"] and yours.held() == ["steps/y"]
        claim.release()
        assert claim.is_lost and yours.holder("steps/x") is None
        with yours.claim("steps/x") as again:
            claim.release()  # a second time it is nobody's
            assert again is not None and yours.holder("steps/x") == yours.owner
    assert storage.names("") == []  # who ends leaves nothing


@pytest.mark.slow
def test_who_lives_keeps_its_claim_however_long(storage: Storage):
    with Claims(storage, Owner("a"), **CALM) as mine, Claims(storage, Owner("b"), **CALM) as b:
        claim = mine.claim("x")
        end = time.monotonic() + 1.5 * CALM["stale_after"]
        while time.monotonic() < end:
            assert b.claim("x") is None
            time.sleep(0.03)
        assert claim is not None and not claim.is_lost


@pytest.mark.slow
def test_a_claim_that_was_taken_over_is_lost(storage: Storage):
    slow = Claims(storage, Owner("slept"), beat_every=3600, stale_after=3600)
    claim = slow.claim("x")
    assert claim is not None
    slow.beat_every = 0.0  # of its looks at the claim; the thread sleeps on
    assert not claim.is_lost
    with Claims(storage, Owner("b"), **QUICK) as quick:
        assert quick.claim("x") is None
        until(lambda: quick.claim("x"))
        assert claim.is_lost
        claim.release()  # of what is another's nothing is removed
        assert quick.holder("x") == quick.owner


@pytest.mark.slow
def test_of_many_who_wait_for_a_dead_one_a_single_one_takes_over(storage: Storage):
    storage.write("claims/x", b"what a dead one left, and nobody can read")
    waiting = [Claims(storage, Owner(f"host{i}"), **QUICK) for i in range(5)]
    won: list[Claims] = []

    def look() -> bool:
        won.extend(one for one in waiting if one.claim("x") is not None)
        return bool(won)

    until(look)
    assert len(won) == 1 and won[0].holder("x") == won[0].owner
    for one in waiting:
        one.close()


HOLDER = """
import sys, time
from mfv_dsl.execute.claims import Claims, Owner, read_owner
from mfv_dsl.execute.storage import FolderStorage
shift = float(sys.argv[2])
if shift:  # a machine whose clock is wrong
    now = time.time
    time.time = lambda: now() + shift
claims = Claims(FolderStorage(sys.argv[1]), Owner("far away"), beat_every=0.05, stale_after=2.0)
print(claims.claim("x") is not None, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Starts a process of another host that claims ``x`` and holds it until it is killed."""
    processes = []

    def start(shift: float = 0.0) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), str(shift)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, -86400.0, 86400.0])
def test_a_killed_process_is_taken_over_and_a_wrong_clock_changes_nothing(
    storage: Storage, tmp_path: Path, holder: Callable[..., subprocess.Popen[str]], shift: float
):
    process = holder(shift)
    with Claims(storage, Owner("here"), **CALM) as claims:
        end = time.monotonic() + 1.25 * CALM["stale_after"]
        while time.monotonic() < end:  # the file's times are those of another machine too
            os.utime(tmp_path / "claims" / "x", (time.time() + shift,) * 2)
            assert claims.claim("x") is None
            time.sleep(0.03)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = time.monotonic()
        with until(lambda: claims.claim("x")):
            assert time.monotonic() - killed > CALM["stale_after"] / 2
            assert claims.holder("x") == claims.owner


def test_a_driver_frees_what_its_dead_worker_held(storage: Storage, holder):
    process = holder()
    with Claims(storage, Owner("here")) as driver:  # by waiting it would take half a minute
        owner, own = driver.holder("x"), driver.claim("y")
        assert owner is not None and owner.process == process.pid and own is not None
        process.kill()
        process.wait()
        assert driver.release_all_of(owner) == 1
        assert driver.claim("x") is not None and driver.holder("y") == driver.owner


def test_owners_of_other_hosts_of_one_name_are_not_near():
    own = Owner()
    assert own.is_near
    assert not replace(own, host="elsewhere").is_near
    assert not replace(own, among="another boot, another container").is_near
    data = {**asdict(own), "of a newer version": 1}
    assert read_owner(data) == own and read_owner({"host": "old"}) is None
