"""A sweep of seeds by one worker and by two, side by side: seconds, and whether results are equal.

    python -m benchmarks.workers [--recipe quickstart] [--seeds 5] [--rounds 3] [--workers 2]
                                 [--launchers local slurm ray]

Each round runs the sweep in turns, each time in an empty store: in one process, by one worker of
this machine, and by several of each launcher (Slurm's by submitit's stand-in on this machine, Ray's
by a Ray that is started for it).  What is measured is wall-clock time of whole commands, start of
all processes included, so that it takes a machine with as many free cores as there are workers.
Beside it, what a forecast (``mfv plan --workers``) makes of the seconds that each step took in one
process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mfv_dsl.launch.forecast import forecast
from mfv_dsl.plan.estimate import Estimate
from mfv_dsl.sweeping.sweep import planned

ROOT = Path(__file__).resolve().parents[1]


def sweep(recipe: str, seeds: int, launcher: str, workers: int, folder: Path) -> float:
    """Run the sweep in an empty store, by workers if there are any; the seconds it takes."""
    shutil.rmtree(folder, ignore_errors=True)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "MFV_HOME": str(folder / "home"), "PYTHONPATH": path}
    command = [sys.executable, "-m", "mfv_dsl", "sweep", _named(recipe), "--quiet",
               "--over", f"defaults.seed=0..{seeds - 1}", "--out", str(folder / "out")]  # fmt: skip
    if workers:
        command += ["--launcher", launcher, "--workers", str(workers)]
    if launcher == "slurm":
        command += ["--launcher-option", "cluster=local"]
    started = time.monotonic()
    folder.mkdir(parents=True)
    done = subprocess.run(  # there, as recipes save libraries where they are run
        command, env=environment, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started


def _named(recipe: str) -> str:
    """A recipe as it is named from another folder."""
    return str(Path(recipe).resolve()) if Path(recipe).is_file() else recipe


def results(folder: Path) -> dict[str, object]:
    """The results of all variants, times and paths aside."""
    found: dict[str, object] = {}
    for path in sorted((folder / "out").rglob("results.json")):
        found[str(path.relative_to(folder / "out"))] = json.loads(path.read_text())
    for path in folder.glob("home/steps/*/*"):
        found[path.name] = path.read_bytes()
    return found


def foretold(recipe: str, seeds: int, workers: int, folder: Path, alone: float) -> float:
    """The seconds that a forecast has for ``workers`` from those of each step in one process, whose
    sweep is in ``folder``; what one worker needs beside its steps, of the ``alone`` seconds that it
    took, is taken for what all need."""
    taken: dict[str, float] = {}
    for path in sorted((folder / "out").glob("*/manifest.json")):
        for key, value in json.loads(path.read_text())["seconds"].items():
            taken.setdefault(key, value)  # those behind it had it from the store
    variants = planned(recipe, {"defaults.seed": range(seeds)})
    plans = [variant.plan for variant in variants.all]
    estimate = Estimate(taken, 0, "the steps' own seconds")
    one, several = (forecast(plans, (), count, estimate).seconds or 0.0 for count in (1, workers))
    return several + max(0.0, alone - one)


def main() -> int:
    parser = argparse.ArgumentParser(description="A sweep of seeds by one worker and by several.")
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--launchers", nargs="+", default=["local"])
    asked = parser.parse_args()
    alone, one, several = ("local", 0), ("local", 1), (asked.launchers[0], asked.workers)
    ways = (alone, one, *((launcher, asked.workers) for launcher in asked.launchers))
    seconds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    told = []
    with tempfile.TemporaryDirectory() as name:
        for _ in range(asked.rounds):
            found = {}
            for way in ways:
                folder = Path(name, "-".join(map(str, way)))
                seconds[way].append(sweep(asked.recipe, asked.seeds, *way, folder))
                found[way] = results(folder)
                assert found[way] == found[alone], f"results of {way} differ"
            expected = foretold(
                asked.recipe, asked.seeds, asked.workers, Path(name, "local-0"), seconds[one][-1]
            )
            told.append(expected / seconds[several][-1])
    print(f"{asked.recipe}, {asked.seeds} seeds: seconds, median of {asked.rounds} rounds")
    for way, taken in seconds.items():
        launcher, count = way
        who = f"{launcher}, {count} worker{'s' * (count > 1)}" if count else "one process"
        shown = " ".join(f"{value:.1f}" for value in taken)
        pairs = zip(taken, seconds[one], strict=True)
        ratio = statistics.median(value / other for value, other in pairs)
        print(f"{who:18} {statistics.median(taken):6.1f}   {ratio:.2f} of one worker   ({shown})")
    print(f"a forecast has {statistics.median(told):.2f} of the seconds of {asked.workers} workers")
    print("all results are equal to the last bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
