"""How long the playground takes: until it answers, and a question.

    python benchmarks/serving.py

The server is started as a user does it.  Questions are asked without a browser, as the page asks
them: one without a vector, one with a vector that was computed before, at all layers, and each with
eight tokens more.  ``--json`` prints every time.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mfv_dsl.playground.pictures import FromDataset
from mfv_dsl.playground.studio import Request, Settings, Studio

ROOT = Path(__file__).parents[1]
VECTOR = "sum_of_above_left - 0.5 * tuned_left"


def start() -> float:
    """Seconds from the command to the line that says where the page is."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "mfv_dsl", "serve"], cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**_environment()},
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - begin
        process.send_signal(signal.SIGTERM)
        process.wait()
        if not re.search(r"http://", line):
            raise RuntimeError(f"the page did not start: {line}")
        return seconds


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


def questions(studio: Studio, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of question, in turns."""
    kinds = {
        "without a vector": Request(FromDataset("left", 1)),
        "with a vector, all layers": Request(FromDataset("left", 1), expression=VECTOR),
        "the same and 8 tokens": Request(FromDataset("left", 1), expression=VECTOR, tokens=8),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for request in kinds.values():
        studio.ask(request)
    for number in range(rounds):
        for name, request in kinds.items():
            begin = time.perf_counter()
            studio.ask(Request(FromDataset("left", number), "", request.expression, None, 1.0,
                               request.tokens))  # fmt: skip
            times[name].append(1000 * (time.perf_counter() - begin))
    return times


def check(studio: Studio, rounds: int) -> list[float]:
    """Milliseconds of checking an expression."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        studio.check(f"{VECTOR} + fv(lft)")
        times.append(1000 * (time.perf_counter() - begin))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds = [start() for _ in range(options.starts)]
    studio = Studio.open(Settings())
    times = {"an expression is checked": check(studio, options.rounds)}
    times |= questions(studio, options.rounds)
    if options.json:
        print(json.dumps({"start": seconds, "milliseconds": times}))
        return
    print(f"{'the page is there':<28}{statistics.median(seconds):6.1f} s")
    for name, values in times.items():
        print(f"{name:<28}{statistics.median(values):6.0f} ms")


if __name__ == "__main__":
    main()
