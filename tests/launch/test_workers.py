"""Workers that share a store: what comes out is what one process gives, to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mfv_dsl
import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.machine import cores
from mfv_dsl.execute.claims import Claims, Owner
from mfv_dsl.execute.run import perform as perform_here
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.execute.storage import FolderStorage
from mfv_dsl.execute.store import Store, StoredParts
from mfv_dsl.launch.crews import crew_of
from mfv_dsl.launch.driver import Crew, perform
from mfv_dsl.launch.job import ALL, Job
from mfv_dsl.launch.leftovers import empty, remove_leftovers
from mfv_dsl.launch.local import LocalExecutor, automatic_workers
from mfv_dsl.launch.orders import Work, WorkerOrder, packed
from mfv_dsl.launch.partial_values import kept_partial
from mfv_dsl.launch.settings import launch_settings
from mfv_dsl.launch.units import units_of
from mfv_dsl.launch.worker import DEATHS, work
from mfv_dsl.plan.steps import Plan
from mfv_dsl.version import __version__

#: Steps in parts, a condition that fails and a step that does, with what follows from it.
RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=200)
defaults { heads = {L3H1}, trials = 70, shots = 1, layer = 2 }
eval plain { items = 130 }
eval raw { add = fv(each), items = 130, scale = [1, 1e25] }
eval lost { add = fv(left), items = 1, correct_with = 0, on = [right], shots = 0 }
"""
SMALL = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=200)
eval plain { items = 130, on = [left] }
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def plan_of(text: str) -> Plan:
    return mfv.Recipe(text).plan()


def an_order(plan: Plan, home: Path, **changes: object) -> WorkerOrder:
    order = WorkerOrder(
        __version__, "job", 1, 2, os.getcwd(), str(home), 0, 1,
        packed(Work((plan,), RunSettings())), 0.05, 0.3,
    )  # fmt: skip
    return replace(order, **changes)  # type: ignore[arg-type]


def stored(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.glob("steps/*/[!.]*")}


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# -- what a worker does, in this process ----------------------------------------------------------
@pytest.mark.slow
def test_a_worker_does_all_steps_and_leaves_what_one_process_leaves(home: Path, tmp_path: Path,
                                                                    monkeypatch):  # fmt: skip
    plan = plan_of(SMALL)
    work(an_order(plan, home))
    seen = Job(FolderStorage(home), "job").look()
    assert len(seen["done"]) == len(units_of([plan])) and not seen["failed"]
    assert not list(home.glob("parts/*/*")) and not list(home.glob("claims/*/*"))
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "here"))
    perform_here(plan)
    assert stored(home) == stored(tmp_path / "here")


@pytest.mark.slow
def test_a_claim_whose_owner_shows_no_life_is_taken_over_and_told(home: Path):
    plan = plan_of(SMALL)
    unit = units_of([plan])[0]
    storage = FolderStorage(home)
    gone = Claims(storage, Owner(host="elsewhere"), beat_every=1000)
    assert gone.claim(unit.name)
    work(an_order(plan, home))
    job = Job(storage, "job")
    assert job.is_done(unit)
    (told,) = job.told_of_deaths(unit, job.look())
    assert "on elsewhere gave no sign of life" in told


def test_a_unit_at_which_three_workers_died_is_given_up(home: Path):
    plan = plan_of(SMALL)
    first, *_, last = units_of([plan])
    job = Job(FolderStorage(home), "job")
    for number in range(DEATHS):
        job.note_death(first, Owner(), f"worker {number}: killed; its log is here.log")
    work(an_order(plan, home))
    for unit in (first, last):  # what follows from it is left out
        (error,) = job.reported("failed", unit).failures.values()
        assert error.code == "MFV5673" and "its log is here.log" in error.notes[0]
    assert not stored(home)


@pytest.mark.slow
def test_long_steps_are_helped_with(home: Path):
    """Of a unit that another holds, and does nothing at, all parts are made."""
    plan = plan_of(SMALL)
    unit = next(unit for unit in units_of([plan]) if unit.is_divided)
    with Claims(FolderStorage(home), Owner(host="elsewhere"), beat_every=0.05) as holder:
        claim = holder.claim(unit.name)
        assert claim is not None
        order = an_order(plan, home, stale_after=60.0)  # however busy this machine is
        helper = threading.Thread(target=work, args=(order,))
        helper.start()
        wait_for(lambda: len(list(home.glob("parts/*/*.safetensors"))) == 3)  # 64, 64 and 2 prompts
        time.sleep(0.2)
        assert not stored(home)
        claim.release()
    helper.join()
    assert len(stored(home)) == len(plan.steps)


def test_a_worker_of_another_version_says_so(home: Path):
    with pytest.raises(MfvError, match=r"0\.0\.1"):
        work(an_order(plan_of(SMALL), home, version="0.0.1"))
    error = Job(FolderStorage(home), "job").ended(ALL)
    assert error.code == "MFV5672" and __version__ in error.message and "0.0.1" in error.message


def test_what_dead_processes_of_this_machine_left_goes(home: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    storage = FolderStorage(home)
    dead, elsewhere = Owner(process=gone.pid), Owner(host="elsewhere", process=gone.pid)
    for owner, name in ((dead, "a"), (elsewhere, "b"), (Owner(), "c")):
        Claims(storage, owner, beat_every=1000).claim(f"steps/{name}")
        Job(storage, f"job-{name}").begin(0, owner)
    with Claims(storage, Owner()) as claims:
        remove_leftovers(claims)
    assert storage.names("claims") == ["claims/steps/b", "claims/steps/c"]
    assert [job.name for job, _ in Job.all_of(storage)] == ["job-b", "job-c"]


# -- units ----------------------------------------------------------------------------------------
def test_a_step_of_several_plans_is_made_once_in_the_company_of_the_first():
    first = plan_of(RECIPE)
    second = plan_of(RECIPE.replace("scale = [1, 1e25]", "scale = 3"))
    alone, both = units_of([first]), units_of([first, second])
    assert both[: len(alone)] == alone
    made = [key for unit in both for key in unit.ours]
    assert len(made) == len(set(made))
    assert set(made) == {step.key for plan in (first, second) for step in plan.steps}
    done: set[str] = set()
    for unit in both:
        assert unit.waits_for <= done
        done |= unit.ours
    had = {alone[0].steps[0].key}
    assert {key for unit in units_of([first], had) for key in unit.ours} == {
        step.key for step in first.steps
    } - had


def test_workers_without_gpus_are_one_for_each_few_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    count, gpus = automatic_workers(None)
    assert count >= 1 and gpus == 0
    with pytest.raises(MfvError) as caught:
        automatic_workers(1)
    assert caught.value.code == "MFV5677"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    assert automatic_workers(None) == (3, 1)
    assert automatic_workers(2) == (1, 2)
    assert automatic_workers(None, "cpu")[1] == 0


def test_more_workers_than_cores_are_warned_of(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.warns(UserWarning, match=f"{cores() + 1} workers share {cores()} cores"):
        crew_of(launch_settings(Path("nowhere"), workers=cores() + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crew_of(launch_settings(Path("nowhere"), workers=cores()))


def test_more_workers_than_memory_holds_are_refused(home: Path):
    orders = [an_order(plan_of(SMALL), home, number=number) for number in (1,)] * 1_000_000
    with pytest.raises(MfvError, match="1000000 workers need") as caught:
        LocalExecutor(0, home / "logs").start(orders)
    assert caught.value.code == "MFV5680" and not (home / "logs").exists()


def test_what_needs_one_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    crew = Crew(LocalExecutor(0, tmp_path), 2)
    with pytest.raises(MfvError) as caught:
        perform([plan_of(SMALL)], crew, settings=RunSettings(trace=True))
    assert caught.value.code == "MFV5675"
    with pytest.raises(MfvError) as caught:
        perform([plan_of(SMALL)], crew, settings=RunSettings(given={"m": object()}))
    assert caught.value.code == "MFV5670"
    monkeypatch.setenv("MFV_HOME", "memory://store")
    with pytest.raises(MfvError) as caught:
        perform([plan_of(SMALL)], crew)
    assert caught.value.code == "MFV5679"


def test_what_needs_one_process_is_not_put_on_workers_by_a_file(tmp_path: Path):
    (tmp_path / "mfv.toml").write_text("[launcher]\nworkers = 2\n")
    recipe = mfv.Recipe(SMALL.replace("130", "4"))
    assert recipe.run("out", trace=True).rows
    with pytest.raises(MfvError) as caught:
        recipe.run("out", trace=True, fresh=True, workers=2)
    assert caught.value.code == "MFV5675"


def test_datasets_in_memory_go_to_workers(home: Path):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)
    words = {"query": "cup", "answer": "lamp", "relation": "left"}
    items = [{"image": picture, **words} for picture in pictures]
    dataset = mfv.dataset(items, extract=0, train=0, validation=0, test=1)
    text = SMALL.replace("scenes(relations=[left, right], count=200)", "DATA").replace("130", "4")
    recipe = mfv.Recipe(text.replace("DATA", "scenes()")).with_objects(dataset=dataset)
    settings = RunSettings(given=recipe.given.objects)
    plan = recipe.plan()
    work(an_order(plan, home, payload=packed(Work((plan,), settings))))
    assert len(stored(home)) == len(plan.steps)


# -- processes ------------------------------------------------------------------------------------
def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mfv_dsl", "run", "r.mfv", *arguments]


def environment(store: str) -> dict[str, str]:
    root = str(Path(mfv_dsl.__file__).parents[1])
    return {**os.environ, "MFV_HOME": store, "PYTHONPATH": root}


def contents(folder: Path) -> dict[str, object]:
    """What a run's folder holds, times aside."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".csv", ".mfv", ".md"):
            found[path.name] = path.read_text()
    manifest = json.loads(str(found.pop("manifest.json")))
    del manifest["finished"], manifest["seconds"], manifest["steps"]  # which may have been cached
    return found | {"manifest": manifest}


def process_of(store: Path, number: int) -> int | None:
    """The process of a worker of the run that is under way."""
    for path in store.glob(f"jobs/*/workers/{number}/*"):
        return int(json.loads(path.read_text())["process"])
    return None


def processes(store: Path) -> set[int]:
    """The one who watches the run that is under way, and the workers that it knows of."""
    return {process for number in (0, 1, 2) if (process := process_of(store, number)) is not None}


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_killed_workers_and_killed_drivers_change_nothing(tmp_path: Path, monkeypatch):
    (tmp_path / "r.mfv").write_text(RECIPE)
    recipe = mfv.Recipe.from_file("r.mfv")
    assert recipe.run("alone").failed  # some conditions have no numbers
    store = tmp_path / "shared"
    driver = subprocess.Popen(command("--workers", "2", "-q"), cwd=tmp_path,
                              env=environment(str(store)))  # fmt: skip
    wait_for(lambda: bool(list(store.glob("claims/steps/*"))))
    worker = process_of(store, 2) or process_of(store, 1)
    assert worker is not None
    os.kill(worker, signal.SIGKILL)  # another takes its place
    wait_for(lambda: len({worker, *processes(store)}) == 4)
    workers = processes(store)
    driver.kill()  # its workers end with it
    driver.wait()
    wait_for(lambda: not any(map(is_running, workers)), 10)
    monkeypatch.setenv("MFV_HOME", str(store))
    assert recipe.run("again", workers=2).failed  # and the next run goes on
    assert contents(tmp_path / "again") == contents(tmp_path / "alone")
    assert stored(store) == stored(tmp_path / "home")
    assert not list(store.glob("jobs/*")) and not list(store.glob("claims/*/*"))


@pytest.mark.slow
def test_ctrl_c_ends_all_workers(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(RECIPE)
    driver = subprocess.Popen(
        command("--workers", "2", "-q"), cwd=tmp_path, env=environment("two"),
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: bool(list(tmp_path.glob("two/claims/steps/*"))))
    workers = [process_of(tmp_path / "two", number) for number in (1, 2)]
    os.killpg(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 130 and "interrupted: " in said and "steps are finished" in said
    assert not any(is_running(process) for process in workers if process)
    assert not list(tmp_path.glob("two/claims/*/*")) and not list(tmp_path.glob("two/jobs/*"))


@pytest.mark.slow
def test_workers_that_die_before_they_do_anything_are_told_with_their_log(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONSTARTUP", "")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MfvError, match="before they do anything") as caught:
        perform([plan_of(SMALL)], Crew(LocalExecutor(0, tmp_path / "logs"), 2))
    assert caught.value.code == "MFV5674" and "worker-" in str(caught.value.help)


@pytest.mark.slow
def test_a_plan_that_cannot_be_run_ends_with_what_one_process_says(home: Path):
    """Names that begin with the same token are refused before anything is measured."""
    plan = plan_of(SMALL)
    broken = replace(plan, models={"m": replace(plan.models["m"], arguments={"name": "gone"})})
    job = Job(FolderStorage(home), "job")
    work(an_order(broken, home))
    with pytest.raises(MfvError) as caught:
        perform_here(broken)
    assert job.ended("0").code == caught.value.code
    assert not stored(home)
    other = plan_of(SMALL.replace("on = [left]", "on = [right]"))  # of several plans others go on
    both = packed(Work((broken, other), RunSettings()))
    work(an_order(broken, home, job="both", payload=both))
    assert Job(FolderStorage(home), "both").look()["fatal"] == {"0"}
    assert len(stored(home)) == len(other.steps)


# -- what goes wrong ------------------------------------------------------------------------------
#: Of two conditions one has no numbers.
PARTIAL = RECIPE[: RECIPE.index("eval plain")].replace("trials = 70", "trials = 2") + (
    "eval raw { add = fv(left), items = 3, scale = [1, 1e25], on = [left] }\n"
)


def test_values_of_which_conditions_failed_are_the_run_s_own(home: Path):
    """Another run that finishes the step removes its parts, and not these."""
    plan = plan_of(PARTIAL)
    work(an_order(plan, home))
    job, store = Job(FolderStorage(home), "job"), Store(home)
    (unit,) = (unit for unit in units_of([plan]) if str(unit.number) in job.look()["failed"])
    (key,) = job.reported("failed", unit).partial
    store.drop_parts(key)
    step = next(step for step in plan.steps if step.key == key)
    assert kept_partial(store, job, step).failures
    job.remove()
    with pytest.raises(KeyError):
        kept_partial(store, job, step)


def test_what_ends_a_worker_counts_as_a_death_at_its_unit(home: Path, monkeypatch):
    plan = plan_of(SMALL.replace("130", "4"))
    unit = units_of([plan])[0]

    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("CUDA error: device-side assert")

    monkeypatch.setattr("mfv_dsl.launch.worker.check_answers", broken)
    job = Job(FolderStorage(home), "job")
    with pytest.raises(RuntimeError):
        work(an_order(plan, home))
    assert "device-side assert" in job.told_of_deaths(unit, job.look())[0]
    assert not FolderStorage(home).names("claims")


@pytest.mark.slow
def test_workers_end_when_whoever_watched_has_ended(home: Path):
    plan = plan_of(SMALL)
    job, watcher = Job(FolderStorage(home), "job"), Owner(host="elsewhere")
    job.begin(0, watcher)
    with Claims(FolderStorage(home), watcher, beat_every=0.05) as claims:
        for unit in units_of([plan]):
            assert claims.claim(unit.name)  # so that there is nothing to do
        worker = threading.Thread(target=work, args=(an_order(plan, home, stale_after=60.0),))
        worker.start()
        wait_for(lambda: bool(job.owners(1)))
        time.sleep(0.2)
        job.remove()
        worker.join(60)
        assert not worker.is_alive()
    remove_leftovers(Claims(FolderStorage(home), Owner()))  # what it wrote after that goes, too
    assert not Job.all_of(FolderStorage(home))


@pytest.mark.slow
def test_a_store_is_not_emptied_while_a_run_is_under_way(home: Path):
    storage, store = FolderStorage(home), Store(home)
    plan = plan_of(SMALL)
    step = plan.steps[0]
    StoredParts(store, False).put(step, "0..64", (1.0,))
    assert store.unfinished() == [(step.key, step.label, 1)]
    here, there = Owner(process=os.getppid()), Owner(host="elsewhere")
    for watcher in (here, there):
        job = Job(storage, f"job-{watcher.host}")
        job.begin(0, watcher)
        watching = Claims(storage, watcher, beat_every=0.05)
        watching.show_life()
        with pytest.raises(MfvError, match=f"process {watcher.process} on") as caught:
            empty(store, Claims(storage, Owner(), beat_every=0.2))
        assert caught.value.code == "MFV5681" and storage.names("parts")
        watching.close()
        if watcher is here:
            job.remove()
    assert empty(store, Claims(storage, Owner(), beat_every=0.2)) == 0  # it gives no sign of life
    assert storage.names("") == [] and store.unfinished() == []


class Threads:
    """Workers as threads, of which those of ``dead`` are gone at once, and no other is taken."""

    name = "threads"

    def __init__(self, dead: set[int]) -> None:
        self.dead, self.started = dead, 0

    def start(self, orders):
        self.started += 1
        if self.started > 1:
            raise MfvError("MFV5646", "the queue is full")
        return [AThread(order, order.number in self.dead) for order in orders]

    def stop(self) -> None:
        pass


class AThread:
    def __init__(self, order: WorkerOrder, is_dead: bool) -> None:
        self.number, self._is_dead = order.number, is_dead
        self._thread = threading.Thread(target=(lambda order: None) if is_dead else work,
                                        args=(order,))  # fmt: skip
        self._thread.start()

    def state(self):
        return "running" if self._thread.is_alive() else "died" if self._is_dead else "ended"

    def log(self) -> str:
        return "its.log"

    def reason(self) -> str:
        return "killed"


@pytest.mark.slow
def test_where_no_other_takes_a_place_the_others_go_on(home: Path):
    plan = plan_of(SMALL.replace("130", "4"))
    with pytest.warns(UserWarning, match=r"place of worker 2: the queue is full; 1 go on"):
        (performance,) = perform([plan], Crew(Threads({2}), 2, threads=1))
    assert performance.values.keys() == {step.key for step in plan.steps}
    with pytest.raises(MfvError, match="the queue is full"), pytest.warns(match="go on"):
        perform([plan], Crew(Threads({1, 2}), 2), settings=RunSettings(fresh=True))
    assert FolderStorage(home).names("jobs") == []
