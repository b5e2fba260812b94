"""Workers as jobs of submitit and as tasks of Ray, on this machine: what comes out is what one
process gives, to the bit, also where a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.run import perform as perform_here
from mfv_dsl.launch.driver import Crew, perform
from mfv_dsl.launch.executors import Executor
from mfv_dsl.launch.options import RayOptions, SlurmOptions
from mfv_dsl.launch.orders import WorkerOrder
from mfv_dsl.launch.ray_tasks import RayLauncher
from mfv_dsl.launch.slurm import SlurmLauncher, raised
from mfv_dsl.plan.steps import Plan

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=200)
defaults { heads = {L3H1}, trials = 70, shots = 1, layer = 2 }
eval plain { items = 130 }
eval raw { add = fv(each), items = 130, scale = [1, 2] }
"""
SMALL = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=200)
eval plain { items = 130, on = [left] }
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return mfv.Recipe(RECIPE).plan()


@pytest.fixture(scope="module")
def alone(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The finished steps that one process leaves."""
    home = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MFV_HOME", str(home))
        perform_here(plan)
    return stored(home)


def stored(home: Path) -> dict[str, bytes]:
    """The finished steps, without files that were being written when their process was killed."""
    return {path.name: path.read_bytes() for path in home.glob("steps/*/[!.]*")}


@pytest.fixture(scope="module")
def with_ray() -> Iterator[RayLauncher]:
    """A launcher that is connected to a Ray of two cores, which is started once."""
    launcher = RayLauncher(RayOptions(), 0)
    assert launcher.automatic() >= 2
    yield launcher
    launcher.stop()


def killed_run(plan: Plan, home: Path, executor: Executor) -> int:
    """Run a plan with two workers, of which one is killed at work; the process that was."""
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + 200
        while not killed and time.monotonic() < end:
            if any(home.glob("claims/steps/*")):
                for path in home.glob("jobs/*/workers/*/*"):
                    process = int(json.loads(path.read_text())["process"])
                    if process != os.getpid():
                        os.kill(process, signal.SIGKILL)
                        killed.append(process)
                        return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    (result,) = perform([plan], Crew(executor, 2, 0, 1))
    killer.join()
    assert not isinstance(result, MfvError) and not result.failures
    return killed[0]


@pytest.mark.slow
def test_a_job_that_is_killed_changes_nothing(
    plan: Plan, alone: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "home"))
    executor = SlurmLauncher(SlurmOptions(cluster="local"), 0, tmp_path / "logs")
    assert killed_run(plan, tmp_path / "home", executor)
    assert stored(tmp_path / "home") == alone
    assert not list((tmp_path / "home").glob("claims/*/*"))


@pytest.mark.slow
def test_a_task_that_is_killed_changes_nothing(
    plan: Plan, alone: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    with_ray: RayLauncher,
):  # fmt: skip
    import ray

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "home"))
    executor = RayLauncher(RayOptions(), 0)  # on the Ray that is there, and leaves it
    assert killed_run(plan, tmp_path / "home", executor)
    assert stored(tmp_path / "home") == alone
    assert not list((tmp_path / "home").glob("claims/*/*"))
    assert ray.is_initialized() and signal.getsignal(signal.SIGTERM) == before


def an_order(tmp_path: Path) -> WorkerOrder:
    return WorkerOrder("0.0.1", "job", 1, 1, str(tmp_path), str(tmp_path / "home"), 0, 1, b"")


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_workers_of_another_version_say_both(tmp_path: Path, with_ray: RayLauncher):
    launchers = (SlurmLauncher(SlurmOptions(cluster="local"), 0, tmp_path / "logs"), with_ray)
    for launcher in launchers:
        (worker,) = launcher.start([an_order(tmp_path)])
        wait_for(lambda worker=worker: worker.state() == "died")
        assert "MFV5672" in worker.reason()
        assert mfv.__version__ in worker.reason() and "0.0.1" in worker.reason()
        path = worker.log().removeprefix(f"{socket.gethostname()}:")
        assert Path(path).exists()


@pytest.mark.slow
def test_a_job_whose_place_is_wanted_leaves_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """submitit's signal, as of a scheduler: the claim is released, and the job is queued again."""
    home = tmp_path / "home"
    monkeypatch.setenv("MFV_HOME", str(home))
    executor = SlurmLauncher(SlurmOptions(cluster="local"), 0, tmp_path / "logs")
    signalled: list[int] = []

    def want() -> None:
        wait_for(lambda: any(home.glob("claims/steps/*")))
        for path in home.glob("jobs/*/workers/1/*"):
            signalled.append(int(json.loads(path.read_text())["process"]))
            os.kill(signalled[0], signal.SIGUSR2)

    scheduler = threading.Thread(target=want)
    scheduler.start()
    plan = mfv.Recipe(SMALL).plan()
    (result,) = perform([plan], Crew(executor, 1, 0, 1))
    scheduler.join()
    assert not isinstance(result, MfvError) and not result.failures
    assert len(signalled) == 1 and len(executor._workers) == 1  # it was not replaced by another
    assert "Requeued" in Path(executor._workers[0].job.paths.stdout).read_text()
    assert len(stored(home)) == len(plan.steps) and not list(home.glob("claims/*/*"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:99999"])
def test_a_ray_that_is_not_there_is_told_at_once(address: str):
    started = time.monotonic()
    with pytest.raises(MfvError) as caught:
        RayLauncher(RayOptions(address=address), 0).connect(1)
    assert caught.value.code == "MFV5647" and address in caught.value.message
    assert time.monotonic() - started < 30  # Ray itself would wait longer


@pytest.mark.slow
def test_what_answers_and_is_no_ray_is_told_soon():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(MfvError, match="no Ray answers there within 1 s") as caught:
            RayLauncher(RayOptions(address=address, connect_s=1.0), 0).connect(1)
    assert caught.value.code == "MFV5647"


def test_of_a_traceback_the_error_is_told():
    error = MfvError("MFV5672", "worker 1 has mfv-dsl 1", help="install")
    text = "".join(traceback.format_exception(type(error), error, None))
    calls = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    assert raised(text) == raised(calls + text) == str(error)
    assert raised(calls + "ValueError: no: not") == "ValueError: no: not"
    assert raised("") == ""
