"""Kills workers, and the one who started them, at random moments, and compares what comes out.

    python -m benchmarks.kills [--moments 30] [--launcher local] [--recipe FILE] [--seed 0] [--json]

A recipe is run once in one process, and then again and again by two workers in an empty store.  In
each run one of two things is killed (SIGKILL) at a moment drawn at random between the start and the
time that an undisturbed run takes: a worker, after which the run has to end by itself; or the
driver, after which no worker may be left, and the same command is given again.  Results have to be
those of the one process to the last bit, times and paths aside, and every entry of the store the
same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Head outputs, effects, evaluations in parts, a training, a condition that fails.
RECIPE = """\
mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=400)
heads best = top(5, by=aie, trials=70)
defaults { heads = best, trials = 70, shots = 1, layer = 2 }
eval plain { items = 130 }
eval raw { add = fv(each), items = 130, scale = [1, 1e25] }
tune trained { start = random, items = 32, epochs = 2, on = [left] }
"""
_AFTER = 20.0  # seconds in which processes have to be gone whose driver was killed


@dataclass
class Kill:
    """One run: what was killed, after how many seconds, at what, and whether the rest was right."""

    killed: str
    after: float
    at: str
    same: bool
    orphans: int
    seconds: float


def command(recipe: Path, out: Path, launcher: str) -> list[str]:
    """A run of a recipe, by workers where a launcher is named."""
    workers = ["--launcher", launcher, "--workers", "2"] if launcher else []
    if launcher == "slurm":
        workers += ["--launcher-option", "cluster=local"]
    return [sys.executable, "-m", "mfv_dsl", "run", str(recipe), "--quiet", "--out", str(out),
            *workers]  # fmt: skip


def environment(home: Path) -> dict[str, str]:
    """That of a run with a store of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "MFV_HOME": str(home), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run(recipe: Path, out: Path, home: Path, launcher: str = "") -> float:
    """Run to the end; the seconds it takes."""
    started = time.monotonic()
    done = subprocess.run(
        command(recipe, out, launcher), env=environment(home), capture_output=True, text=True
    )
    assert done.returncode in (0, 4), done.stderr
    return time.monotonic() - started


def results(out: Path, home: Path) -> dict[str, bytes]:
    """What a run leaves, but for times and what was in the store before."""
    names = ("results.json", "results.csv", "items.csv", "plan.json")
    found = {name: (out / name).read_bytes() for name in names if (out / name).exists()}
    return found | {path.name: path.read_bytes() for path in home.glob("steps/*/[!.]*")}


def workers_of(home: Path) -> Iterator[int]:
    """The processes of workers of the run that is under way."""
    for path in home.glob("jobs/*/workers/*/*"):
        if path.parent.name != "0":
            yield int(json.loads(path.read_text())["process"])


def is_running(process: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def where(home: Path) -> str:
    """What is claimed: what a kill interrupts."""
    claims = [path.parent.name for path in home.glob("claims/*/*")]
    return ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(claims).items())) or "nothing"


def killed(
    what: str, after: float, recipe: Path, folder: Path, launcher: str, wanted: dict[str, bytes]
) -> Kill:
    """One run in which something is killed."""
    home, out = folder / "home", folder / "out"
    for path in (home, out):
        shutil.rmtree(path, ignore_errors=True)
    started = time.monotonic()
    driver = subprocess.Popen(
        command(recipe, out, launcher), env=environment(home), stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while time.monotonic() - started < after and driver.poll() is None:
        time.sleep(0.01)
    at, orphans = where(home), 0
    known = sorted(workers_of(home))
    if what == "driver":
        driver.kill()
        driver.communicate()
        if launcher == "local":  # jobs of a cluster go on
            end = time.monotonic() + _AFTER
            while any(map(is_running, known)) and time.monotonic() < end:
                time.sleep(0.05)
            orphans = sum(map(is_running, known))
        run(recipe, out, home, launcher)
    else:
        victims = [process for process in known if is_running(process)]
        if victims:
            os.kill(random.choice(victims), signal.SIGKILL)
        else:
            at = "before the workers began"
        _, said = driver.communicate()
        assert driver.returncode in (0, 4), said.decode()
    same = results(out, home) == wanted
    return Kill(what, round(after, 2), at, same, orphans, round(time.monotonic() - started, 1))


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill workers and drivers at random moments.")
    parser.add_argument("--moments", type=int, default=30, help="how many runs are killed")
    parser.add_argument("--launcher", default="local", choices=("local", "slurm", "ray"))
    parser.add_argument("--recipe", type=Path, help="another recipe than the script's own")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true", help="print every kill")
    asked = parser.parse_args()
    random.seed(asked.seed)
    kills = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "kills.mfv"
        recipe.write_text(asked.recipe.read_text() if asked.recipe else RECIPE)
        run(recipe, folder / "alone", folder / "alone-home")
        wanted = results(folder / "alone", folder / "alone-home")
        whole = run(recipe, folder / "out", folder / "home", asked.launcher)
        assert results(folder / "out", folder / "home") == wanted, "without any kill"
        for number in range(asked.moments):
            what = "driver" if number % 3 == 2 else "worker"
            after = random.uniform(0.1, 1.0) * whole
            kills.append(killed(what, after, recipe, folder, asked.launcher, wanted))
            print(kills[-1], file=sys.stderr, flush=True)
    if asked.json:
        print(json.dumps([asdict(kill) for kill in kills], indent=1))
    print(f"{asked.launcher}, an undisturbed run of {whole:.1f} s")
    for what in ("worker", "driver"):
        own = [kill for kill in kills if kill.killed == what]
        idle = sum(kill.at.startswith(("nothing", "before")) for kill in own)
        print(
            f"{what} killed: {len(own)} times, {idle} of them while nothing was claimed; "
            f"{sum(kill.same for kill in own)} with the same results, "
            f"{sum(kill.orphans for kill in own)} processes left over"
        )
    return 0 if all(kill.same and not kill.orphans for kill in kills) else 1


if __name__ == "__main__":
    sys.exit(main())
