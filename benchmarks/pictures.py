"""Prompts with pictures made into tensors: by the processor each time, and from what is kept.

    python benchmarks/pictures.py [--prompts 64] [--shots 4] [--side 256]

A small Qwen3-VL with random weights, on the CPU with one thread.  Three ways, side by side in each
round: every picture encoded and every prompt read by the model's own processor with all pixels;
every picture encoded, and prompts read without pixels; and prompts of pictures that were seen.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from mfv_dsl.models.features import FeatureCache
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.load import load_folder
from tests.models.vlm import zoo


def seconds(model: VisionLanguageModel, prompts: int, shots: int, side: int) -> list[float]:
    """Of the three ways, with new pictures."""
    mark = model.architecture.mark
    text = f"{mark}Q:mug. A: plate.\n" * shots + f"{mark}Q:table. A:"
    rng = np.random.default_rng()
    shown = [
        [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(shots + 1)]
        for _ in range(prompts)
    ]
    times, tokens = [], []
    for reads_alone, forgets in ((False, True), (True, True), (True, False)):
        model.inputs.reads_alone = reads_alone
        if forgets:
            model.features.cache = FeatureCache()
        start = time.process_time()
        batch = model.texts([text] * prompts, shown)
        times.append(time.process_time() - start)
        tokens.append(batch.tokens)
    assert all(torch.equal(tokens[0], other) for other in tokens)
    return times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        zoo.save_checkpoint("qwen3_vl", Path(folder))
        pixels = arguments.side**2
        model = load_folder(Path(folder), "random", "fp32", "cpu", pixels=pixels)
    seconds(model, 8, arguments.shots, arguments.side)  # and the comparison of the first batches
    seconds(model, 8, arguments.shots, arguments.side)
    rounds = [
        seconds(model, arguments.prompts, arguments.shots, arguments.side)
        for _ in range(arguments.rounds)
    ]
    every_time, encoded, seen = (statistics.median(way) for way in zip(*rounds, strict=True))
    print(json.dumps({
        "picture_tokens": model.facts.picture_tokens, "pixels_every_time": round(every_time, 3),
        "encoded_once": round(encoded, 3), "seen_before": round(seen, 3),
        "ratio_encoded": round(every_time / encoded, 2), "ratio_seen": round(every_time / seen, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
