"""Runs that are killed, whose store is damaged, or that might call home."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.execute.store import Store, StoredStep
from tests.warm import Warm

ROOT = Path(__file__).parents[2]
RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=30)
defaults { heads = top(2, on=[left]), trials = 8, items = 10, layer = 2 }
eval e { add = fv(each), layer = [1, 2], choose = [layer] }
tune t { start = fv(each), items = 8, select_items = 8, epochs = 2 }
save "made" { vectors = [fv(each), t(each)] }
"""
RESULTS = ("results.json", "results.csv", "choices.csv", "confusion.csv")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "mfv_dsl", *words]


def environment(store: Path) -> dict[str, str]:
    return {**os.environ, "MFV_HOME": str(store), "PYTHONPATH": str(ROOT)}


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


@pytest.mark.slow
def test_kills_at_random_moments_cost_nothing(tmp_path: Path):
    """A run is killed ten times, each time at another moment; what ends at last is the same."""
    (tmp_path / "r.mfv").write_text(RECIPE)

    def run_to(out: str, store: str) -> Warm:
        return Warm(tmp_path, "run", "r.mfv", "-q", "--out", out, env=environment(tmp_path / store))

    assert run_to("warmed", "0").wait() == 0  # once something is imported, the others are alike
    shutil.rmtree(tmp_path / "made")
    began = time.monotonic()
    assert run_to("alone", "1").wait() == 0
    seconds = time.monotonic() - began
    made = visible(tmp_path / "made")
    shutil.rmtree(tmp_path / "made")
    chance = random.Random(0)
    killed = 0
    for _ in range(10):
        process = run_to("out", "2")
        time.sleep(chance.uniform(0.2, 0.7) * seconds)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        for path in (tmp_path / "2").glob("steps/*/*"):  # so that there is something left to do
            if chance.random() < 0.5:
                path.unlink()
    assert killed >= 3
    assert run_to("out", "2").wait() == 0
    assert results(tmp_path / "out") == results(tmp_path / "alone")
    assert visible(tmp_path / "made") == made
    assert all(isinstance(entry, StoredStep) for entry in Store(tmp_path / "2").entries())


def visible(folder: Path) -> set[str]:
    """The names in a folder, but for what a writer that was killed may leave for a while."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


# -- damaged stores -------------------------------------------------------------------------------
def cut(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def put_another(path: Path, chance: random.Random) -> None:
    """Another step's file, which is whole, in this one's place."""
    others = sorted(other for other in path.parents[1].glob("*/*.safetensors") if other != path)
    shutil.copyfile(chance.choice(others), path)


def put_folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def put_pipe(path: Path, chance: random.Random) -> None:
    """A named pipe, which is never read to its end."""
    path.unlink()
    os.mkfifo(path)


def put_circle(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    cut, flip, put_another, put_folder, put_pipe, put_circle,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_store_changes_no_result(
    damage: Callable[[Path, random.Random], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    recipe = mfv.Recipe(RECIPE)
    recipe.run("alone")
    wanted = results(tmp_path / "alone")
    for number in range(6):
        paths = sorted((tmp_path / "store").glob("steps/*/*.safetensors"))
        for path in chance.sample(paths, 1 + number % 3):
            damage(path, chance)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a step is made again
            recipe.run(f"again_{number}")
        assert results(tmp_path / f"again_{number}") == wanted
    entries = list(Store(tmp_path / "store").entries())
    assert len(entries) == len(paths)
    assert all(isinstance(entry, StoredStep) for entry in entries)


# -- calls to the outside -------------------------------------------------------------------------
#: Nothing else that a process calls is stopped at, which takes as long as the process itself.
TRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto"]


def can_trace() -> bool:
    """Whether strace is there and may look at other processes."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run([*TRACE, "-o", os.devnull, "true"], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_trace(), reason="strace is not installed or may not be used")
@pytest.mark.parametrize(
    "words",
    [
        ("run", "r.mfv", "--quiet"),
        ("plan", "quickstart"),
        ("ask",),
        ("vectors", "list"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_nothing_calls_home(words: tuple[str, ...], tmp_path: Path):
    """No command on bundled models opens a connection to another machine."""
    (tmp_path / "r.mfv").write_text(
        RECIPE.replace("defaults {", 'model o = tiny("llava")\ndefaults { model = m,')
        + "eval l { model = o, shots = 1 }\n"
    )
    log = tmp_path / "calls"
    done = subprocess.run(
        [*TRACE, "-o", log, *command(*words)], cwd=tmp_path, env=environment(tmp_path / "store"),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.findall(r".*AF_INET6?,.*", log.read_text()) == []
