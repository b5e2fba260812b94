"""How time grows with the demonstrations of a prompt: all heads' effects, and a full pass.

    python benchmarks/long_prompts.py                       # 4 to 64 demonstrations
    python benchmarks/long_prompts.py --shots 4,8 --rounds 1

The bundled Flamingo, a wider one of random weights, and a small Qwen3-VL of random weights, each
with positions enough.  Pictures are encoded before anything is timed.  Time is told a prompt, and
after it how many times that of half as many demonstrations it is.

Then how many demonstrations stand behind the same leading ones as in an earlier prompt or twin, so
that their keys and values could be had from there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from benchmarks.vision_language import built
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.models import load
from tests.conftest import small_flamingo

SCENES = Scenes(seed=11, count=200)


def flamingo_batch(model: Any, prompts: int, shots: int) -> Any:
    model.max_positions = 4096  # rotations have no table
    return model.batch(draw_prompts(SCENES, "left", "test", prompts, shots), SCENES)


def qwen_batch(model: Any, prompts: int, shots: int) -> Any:
    mark = model.architecture.mark
    text = f"{mark}Q:mug. A: plate.\n" * shots + f"{mark}Q:table. A:"
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    return model.texts([text] * prompts, [[grey] * (shots + 1)] * prompts, ["plate"] * prompts)


Model = tuple[str, Callable[[], Any], Callable[[Any, int, int], Any]]
MODELS: tuple[Model, ...] = (
    ("the bundled Flamingo, 10 x 8, d = 128", lambda: load("tiny"), flamingo_batch),
    ("a Flamingo, 8 x 8, d = 512", lambda: small_flamingo(8, 8, 512), flamingo_batch),
    ("a Qwen3-VL, 8 x 8, d = 512",
     lambda: built((8, 8, 4, 64, 512, 1024), "fp32", "cpu"), qwen_batch),
)  # fmt: skip


def ways_of(model: Any, batch: Any) -> dict[str, Callable[[], object]]:
    """What is timed."""
    site = model.sites["lm.attn"]
    value = torch.randn(1, site.width, generator=torch.Generator().manual_seed(1))
    variants = [
        [Edit("lm.attn", layer, "replace", value, (head,))]
        for layer in site.layers
        for head in range(site.heads or 1)
    ]
    return {
        "all heads": lambda: encode_prefix(model, batch).scores(variants),
        "its prefix": lambda: encode_prefix(model, batch),
        "a full pass": lambda: full_pass(model, batch),
    }


@torch.no_grad()
def measure(entry: Model, shots: list[int], prompts: int, rounds: int) -> None:
    """Print one model's figures: the best of some rounds, all numbers of shots in turns."""
    name, make, batch_of = entry
    model = make()
    model.is_exact = True  # what checks that is not timed
    ways = {k: ways_of(model, batch_of(model, prompts, k)) for k in shots}
    best = {(way, k): float("inf") for k in shots for way in ways[k]}
    for _ in range(rounds):
        for k in shots:
            for way, run in ways[k].items():
                started = time.process_time()
                run()
                best[way, k] = min(best[way, k], (time.process_time() - started) / prompts)
    print(f"\n{name}; ms a prompt (times the figure before)")
    print(f"  {'shots':14}" + "".join(f"{k:<18}" for k in shots))
    for way in ways[shots[0]]:
        cells = [f"{1000 * best[way, k]:.1f}" for k in shots]
        for i in range(1, len(shots)):
            cells[i] += f" ({best[way, shots[i]] / best[way, shots[i - 1]]:.2f})"
        print(f"  {way:14}" + "".join(f"{cell:18}" for cell in cells))


def shared(count: int, prompts: int, shots: int) -> float:
    """The part of all demonstrations of drawn prompts and their corrupted twins that an earlier one
    has at the same place behind the same ones."""
    scenes = Scenes(seed=11, count=count)
    intact = draw_prompts(scenes, "left", "extract", prompts, shots)
    twins = [corrupt(prompt, "mix", scenes, "extract") for prompt in intact]
    leading = [
        prompt.demonstrations[: place + 1] for prompt in (*intact, *twins) for place in range(shots)
    ]
    return 1 - len(set(leading)) / len(leading)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shots", default="4,8,16,32,64")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    shots = [int(part) for part in asked.shots.split(",")]
    for entry in MODELS:
        measure(entry, shots, asked.prompts, asked.rounds)
    print("\ndemonstrations that an earlier prompt has behind the same ones, prompts and twins:")
    for count, prompts, k in ((60, 32, 4), (400, 64, 4), (400, 256, 4), (400, 256, 16)):
        part = 100 * shared(count, prompts, k)
        print(f"  {prompts} prompts of {k} from {count} scenes: {part:.1f} %")


if __name__ == "__main__":
    main()
