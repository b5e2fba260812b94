"""How long figures of a large run take: processor time from its folder to a PDF, next to an empty
figure of the same size.

    python benchmarks/figures.py [--rows 10000] [--heads 64] [--rounds 5] [--json]

The run is written as ``mfv run`` writes one: ``results.json`` with so many rows, ``heads.csv`` of
as many layers as heads and 8 relations, ``confusion.csv``'s shares and ``epochs.csv`` likewise.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import middle, ratios

from mfv_dsl.base.csv_text import csv_text
from mfv_dsl.execute.tables import COLUMNS, EPOCHS, HEADS
from mfv_dsl.plots import open_run
from mfv_dsl.report.figures.saving import figure_bytes
from mfv_dsl.report.figures.style import COLUMN, finish, new_figure, styled

RELATIONS = [f"relation_{number}" for number in range(8)]
EMPTY = "an empty figure"
#: What is drawn, and with which options.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy, all relations": ("accuracy", {"relation": "all"}),
    "accuracy, every relation": ("accuracy", {}),
    "evals": ("evals", {"where": {"layer": "1"}}),
    "aie, every relation": ("aie", {}),
    "aie, the mean": ("aie", {"relation": "mean"}),
    "confusion": ("confusion", {"where": {"layer": "1"}}),
    "tuning": ("tuning", {}),
}


def write_run(folder: Path, rows: int, heads: int) -> None:
    """A run's folder of numbers that were drawn."""
    rng = np.random.default_rng(0)
    layers = max(2, rows // (4 * (len(RELATIONS) + 1)))
    lines = []
    for number in range(4):
        for relation in (*RELATIONS, None):
            for layer in range(layers):
                accuracy = float(rng.random())
                one = {"eval": f"eval_{number}", "relation": relation, "shots": 0, "layer": layer,
                       "scale": 1, "n": 100, "accuracy": accuracy, "ci_low": accuracy - 0.1,
                       "ci_high": accuracy + 0.1, "mean_p_answer": accuracy,
                       "difference": accuracy, "difference_low": accuracy - 0.1,
                       "difference_high": accuracy + 0.1}  # fmt: skip
                if relation is not None:
                    shares = rng.dirichlet(np.ones(len(RELATIONS))).tolist()
                    one |= {"answers": dict(zip(RELATIONS, shares, strict=True)),
                            "answers_other": 0.0}  # fmt: skip
                lines.append(one)
    data = {"format": 2, "rows": lines, "choices": [], "weights": [], "tunes": [], "notes": []}
    (folder / "results.json").write_text(json.dumps(data))
    effects = [
        {"step": "0" * 8, "relation": relation, "by": "aie", "layer": layer, "head": head,
         "score": float(rng.normal(0, 0.02)), "low": -0.1, "high": 0.1, "p": 0.5,
         "accuracy_change": 0.0, "n": 50}
        for relation in RELATIONS for layer in range(heads) for head in range(heads)
    ]  # fmt: skip
    (folder / HEADS).write_text(csv_text(effects, COLUMNS[HEADS]))
    epochs = [
        {"tune": "tuned", "relation": relation, "variable": "vector", "layer": 1, "epoch": epoch,
         "chosen": epoch == 50, "n": 100, "loss": 1.0, "off_task_kl": None, "accuracy": 0.5,
         "nll": 1.0 / (epoch + 1), "norm": 5.0}
        for relation in RELATIONS for epoch in range(51)
    ]  # fmt: skip
    (folder / EPOCHS).write_text(csv_text(epochs, COLUMNS[EPOCHS]))


def seconds(work: Callable[[], object]) -> float:
    """The processor time of some work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def empty() -> bytes:
    """A PDF of one empty pair of axes."""
    with styled():
        figure = new_figure(COLUMN, 2.4)
        figure.subplots()
        finish(figure)
    return figure_bytes(figure, ".pdf")


def drawn(folder: Path, kind: str, options: dict[str, Any]) -> bytes:
    """The PDF of a kind of figure, from the folder on."""
    figure, _ = open_run(folder).plot.draw(kind, **options)
    return figure_bytes(figure, ".pdf")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000, help="lines of results.csv")
    parser.add_argument("--heads", type=int, default=64, help="heads of a layer, and layers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in (EMPTY, *WAYS)}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder, asked.rows, asked.heads)
        for _ in range(asked.rounds + 1):
            times[EMPTY].append(seconds(empty))
            for way, (kind, options) in WAYS.items():
                made: list[bytes] = []
                times[way].append(seconds(lambda: made.append(drawn(folder, kind, options))))  # noqa: B023
                sizes[way] = len(made[0])
    times = {way: values[1:] for way, values in times.items()}  # the first has to find the fonts
    if asked.json:
        print(json.dumps({"seconds": times, "bytes": sizes}))
        return
    print(f"{asked.rows:,} rows, {asked.heads} x {asked.heads} heads, 8 relations")
    print(f"{'':<26}{'seconds':<26}{'multiple':<26}KiB")
    for way, multiples in ratios(times, EMPTY).items():
        size = f"{sizes[way] / 1024:.0f}" if way in sizes else ""
        print(f"{way:<26}{middle(times[way], 2):<26}{middle(multiples, 2):<26}{size}")


if __name__ == "__main__":
    main()
