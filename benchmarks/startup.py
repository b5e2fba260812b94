"""What commands cost that run no model: CPU time of whole processes, next to an empty command.

    python benchmarks/startup.py [--rounds 9] [--ask] [--json]

Each command is a process of its own, all in turns in every round, so that all meet the same load;
ratios are taken round by round, against a Typer command that takes files and does nothing.  The
run is of a small recipe that has been run before: all its steps are in the store, and its folder
holds its results.  Modules are compiled beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from front_end import COMMAND, cpu_time, ratio, spread

RECIPE = """\
mfv 1

model   flamingo = tiny()
dataset shapes   = scenes(relations=[left, right], seed=0)
heads   best     = top(5, by=aie, on=[left, right], trials=4)

defaults {
  heads = best
  items = 6
}

eval zero { shots = 0 }
eval raw {
  add     = fv(each)
  layer   = 1..2
  shots   = 0
  against = [zero]
}
save "vectors/mine" { vectors = [fv(left), fv(right)] }
"""
QUESTION = ("--with", "fv(left)", "--heads", "{L4H2}", "--shots", "4", "--trials", "10")
EMPTY = "an empty Typer command"


def commands(recipe: Path, ask: bool) -> dict[str, list[str]]:
    """The processes to compare, by what the table calls them."""
    mfv = [sys.executable, "-m", "mfv_dsl"]
    found = {
        EMPTY: [sys.executable, "-c", COMMAND, str(recipe)],
        "check, a small recipe": [*mfv, "check", str(recipe)],
        "check quickstart": [*mfv, "check", "quickstart"],
        "plan quickstart": [*mfv, "plan", "quickstart"],
        "models": [*mfv, "models"],
        "import torch": [sys.executable, "-c", "import torch"],
        "run, all steps in the store": [*mfv, "run", str(recipe), "--quiet"],
    }
    return {**found, "ask, all steps in the store": [*mfv, "ask", *QUESTION]} if ask else found


def measured(rounds: int, ask: bool) -> dict[str, list[float]]:
    """CPU seconds, user and system, of every process in every round."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder, "recipe.mfv")
        recipe.write_text(RECIPE, encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        package = Path(__file__).resolve().parents[1]
        environment |= {
            "PYTHONPYCACHEPREFIX": str(Path(folder, "compiled")),
            "PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]),
            "MFV_HOME": str(Path(folder, "store")),
            "HF_HOME": str(Path(folder, "hub")),
            "OMP_NUM_THREADS": "1",
        }
        os.chdir(folder)
        processes = commands(recipe, ask)
        for command in processes.values():  # compiles what it imports, and keeps its steps
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        times: dict[str, list[float]] = {name: [] for name in processes}
        for _ in range(rounds):
            for name, command in processes.items():
                times[name].append(cpu_time(command, environment))
        os.chdir(package)
    return times


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=9, help="processes of each kind")
    arguments.add_argument("--ask", action="store_true", help="ask too, which loads the model")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args()
    times = measured(options.rounds, options.ask)
    ratios = {name: ratio(values, times[EMPTY]) for name, values in times.items()}
    if options.json:
        print(json.dumps({"cpu_seconds": times, "ratios": ratios}))
        return
    print(f"{'':30} {'s of CPU time':24} to the empty command")
    for name, values in times.items():
        print(f"{name:30} {spread(values, '.3f'):24} {spread(ratios[name], '.2f')}")


if __name__ == "__main__":
    main()
