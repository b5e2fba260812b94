"""Pictures a second: rendered, and decoded for the vision tower.

``python benchmarks/data.py`` makes its images in a temporary folder and prints what it measures;
``--json`` prints the measurements behind the medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mfv_dsl.data import open_dataset
from mfv_dsl.data.items import Dataset
from mfv_dsl.data.loading import ahead
from mfv_dsl.data.make import Order, make

IMAGES = 96  # in each set
TERA = 1e12


def vit_multiply_adds(
    layers: int = 24, width: int = 1024, patch: int = 14, size: int = 224, mlp: int = 4096
) -> int:
    """Multiply-adds of one image through a vision transformer (defaults: CLIP ViT-L/14): the patch
    embedding, and in each layer four projections, two matrix products of attention, and the MLP."""
    patches = (size // patch) ** 2
    tokens = patches + 1
    layer = tokens * (4 * width**2 + 2 * width * mlp) + 2 * tokens**2 * width
    return patches * 3 * patch**2 * width + layers * layer


def fit_picture(dataset: Dataset, image: str, size: int = 224) -> np.ndarray:
    """What a model's preprocessing does to a picture, the arithmetic left out."""
    (picture,) = dataset.pictures([image], size)
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))


def decode(dataset: Dataset, threads: int) -> None:
    """Load all images as they are loaded for a model."""
    images = [item.image for split in dataset.splits for item in dataset.items("left", split)]
    for _ in ahead(partial(fit_picture, dataset), images, threads):
        pass


def silent(units: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Measured:
    """Images a second by the clock, and milliseconds of processor time an image."""

    rate: float
    processor: float


def processor_seconds() -> float:
    """User and system time of this process and of its finished children."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def timed(work: Callable[[], None], number: int) -> Measured:
    cpu_before, started = processor_seconds(), time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return Measured(number / seconds, 1000 * (processor_seconds() - cpu_before) / number)


def measure(folder: Path, rounds: int) -> dict[str, list[Measured]]:
    """What is measured, by what is done; all in turns."""
    measurements: dict[str, list[Measured]] = {}
    datasets = {}
    for format in ("png", "jpg"):
        make(Order(folder / format, IMAGES, format=format), 1, silent)
        datasets[format] = open_dataset("metadata_csv", folder=str(folder / format))
    for number in range(rounds):
        for workers, name in ((1, "1 process"), (2, "2 processes")):
            order = Order(folder / f"{number}-{workers}", 2 * IMAGES, seed=number)
            work = partial(make, order, workers, silent)
            measurements.setdefault(f"render and write, {name}", []).append(
                timed(work, order.count)
            )
        for format, dataset in datasets.items():
            for threads, name in ((1, "1 thread"), (2, "2 threads")):
                work = partial(decode, dataset, threads)
                measurements.setdefault(f"decode and shrink, {format}, {name}", []).append(
                    timed(work, IMAGES)
                )
    return measurements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measurements = measure(Path(folder), arguments.rounds)
    if arguments.json:
        rows = {name: [asdict(row) for row in measured] for name, measured in measurements.items()}
        print(json.dumps(rows, indent=2))
        return
    print(f"images of 800 by 800 pixels, median (range) of {arguments.rounds}")
    print(f"{'':<36}{'images a second':<30}processor time an image, ms")
    for name, measured in measurements.items():
        columns = (summary([m.rate for m in measured]), summary([m.processor for m in measured]))
        print(f"  {name:<34}{columns[0]:<30}{columns[1]}")
    for name in ("render and write", "decode and shrink, png", "decode and shrink, jpg"):
        one, two = (measured for key, measured in measurements.items() if key.startswith(name))
        ratios = [b.rate / a.rate for a, b in zip(one, two, strict=True)]
        print(f"  {name}, two against one: {summary(ratios)}")
    multiply_adds = vit_multiply_adds()
    print(
        f"ViT-L/14 at 224: {multiply_adds / 1e9:.1f} G multiply-adds an image, "
        f"{2 * multiply_adds / 1e9:.0f} GFLOP"
    )
    per_thread = {
        format: 1000 / statistics.median(m.processor for m in measured)
        for format in ("png", "jpg")
        for measured in [measurements[f"decode and shrink, {format}, 1 thread"]]
    }
    for teraflops in (1, 10, 100, 400):
        need = teraflops * TERA / (2 * multiply_adds)
        threads = ", ".join(f"{need / rate:.1f} of {name}" for name, rate in per_thread.items())
        print(f"  {teraflops:>4} TFLOP/s reached: {need:7,.0f} images a second; threads: {threads}")


def summary(numbers: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(numbers):.2f} ({min(numbers):.2f} to {max(numbers):.2f})"


if __name__ == "__main__":
    main()
