"""What the front end costs: ``mfv check`` from a cold process, parsing, and formatting.

    python benchmarks/front_end.py [--runs 11] [--json]

A cold check is CPU time (user and system) of the whole process ``python -m mfv_dsl check`` on a
recipe of 60 lines, next to that of ``python -c "import lark, typer"`` and of a Typer command that
takes files and does nothing: what a checker on these two libraries costs before its own first line.
They are run in turns, so that all meet the same load.  Modules are compiled beforehand, and
``interegular``, a tool of the tests that slows Lark down where it is installed, is hidden.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LINES = 60
REPEATS = 20  # of parsing and formatting, in a process that is warm
COMMAND = """
import lark, typer
app = typer.Typer(add_completion=False)
@app.command()
def check(recipes: list[str], as_json: bool = False) -> None: ...
app()
"""


def recipe() -> str:
    """A recipe of 60 lines that uses most of the language."""
    head = """\
mfv 1

# Written by a benchmark: many small conditions on one model and one dataset.
model   flamingo = tiny()
dataset shapes   = scenes(relations=[left, right, above, below], seed=0)

heads spatial = top(8, by=aie, on=[left, right, above, below])
heads early   = spatial & layers(0..4) | {L4H1, L5H2}

defaults {
  shots = 4
  heads = spatial
}

vector pure(r) = fv(r) - mean(fv(left), fv(right), fv(above), fv(below))
"""
    lines = head.splitlines()
    number = 0
    while len(lines) + 7 <= LINES - 1:
        number += 1
        lines += [
            f"vector steer_{number} = fv(left) - {number} * fv(right) + pure(above) / 2",
            f"eval raw_{number} {{",
            f"  add   = steer_{number} + norm(fv(each)) * normalize(pure(each))",
            "  layer = 0..5              # a sweep",
            "  scale = [0.5, 1, 2]",
            "}",
            "",
        ]
    rest = LINES - 1 - len(lines)
    lines += [f"eval shots_{shots} {{ shots = {shots} }}" for shots in range(rest)]
    lines.append('save "vectors/mine" { vectors = [fv(each), pure(each), steer_1] }')
    assert len(lines) == LINES
    return "\n".join(lines) + "\n"


def cpu_time(command: list[str], environment: dict[str, str]) -> float:
    """Seconds of CPU time, user and system, that a process takes from start to end."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return spent() - before


def cold(runs: int) -> dict[str, list[float]]:
    """CPU seconds of each kind of process, run in turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.mfv")
        path.write_text(recipe(), encoding="utf-8")
        hidden = Path(folder, "hidden")
        hidden.mkdir()
        Path(hidden, "interegular.py").write_text("raise ImportError\n", encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {
            "PYTHONPATH": str(hidden),
            "PYTHONPYCACHEPREFIX": str(Path(folder, "compiled")),
        }
        commands = {
            "check": [sys.executable, "-m", "mfv_dsl", "check", str(path)],
            "imports": [sys.executable, "-c", "import lark, typer"],
            "command": [sys.executable, "-c", COMMAND, str(path)],
            "python": [sys.executable, "-c", "pass"],
        }
        for command in commands.values():
            cpu_time(command, environment)  # compiles what it imports
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                times[name].append(cpu_time(command, environment))
    return times


def warm(work: Callable[[], object]) -> float:
    """Median CPU seconds of ``work`` in this process, after a first time that does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times)


def throughput() -> dict[str, float]:
    """Lines per second of CPU time in a process that has built its parser."""
    sys.modules["interegular"] = None  # type: ignore[assignment]
    from mfv_dsl.base.source import Source
    from mfv_dsl.lang.checker import load_recipe
    from mfv_dsl.lang.format import format_source
    from mfv_dsl.lang.parser import parse

    source = Source(recipe())
    load_recipe(source)
    return {
        "parse": LINES / warm(lambda: parse(source)),
        "check": LINES / warm(lambda: load_recipe(source)),
        "format": LINES / warm(lambda: format_source(source)),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--runs", type=int, default=11, help="cold processes of each kind")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args()
    times, lines = cold(options.runs), throughput()
    ratios = {name: ratio(times["check"], times[name]) for name in ("imports", "command")}
    if options.json:
        print(json.dumps({"cpu_seconds": times, "ratios": ratios, "lines_per_second": lines}))
        return
    labels = {
        "check": f"python -m mfv_dsl check, {LINES} lines",
        "imports": 'python -c "import lark, typer"',
        "command": "the same and an empty Typer command",
        "python": 'python -c "pass"',
    }
    for name, label in labels.items():
        print(f"{label:36} {spread(times[name], '.3f')} s of CPU time")
    for name, values in ratios.items():
        print(f"{'check / ' + name:36} {spread(values, '.2f')}")
    for name, rate in lines.items():
        print(f"{name:36} {rate:,.0f} lines/s of CPU time, warm")


def ratio(above: list[float], below: list[float]) -> list[float]:
    """Quotients of neighbours."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: list[float], digits: str) -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{digits}} ({low:{digits}} to {high:{digits}})"


if __name__ == "__main__":
    main()
