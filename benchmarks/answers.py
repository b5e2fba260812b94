"""A sweep over layers under every way of asking for an answer, against the first token's.

    python benchmarks/answers.py [--model tiny|llava] [--shots 0 4] [--prompts 64] [--rounds 3]

What is timed is what an eval does: prompts rendered and their pictures encoded, then all
conditions measured: one vector added at each of ten layers (at every layer of the small LLaVA).
The names of the bundled models' objects are single tokens; ``full, two tokens`` scores each with
every token that the model writes behind it (the Flamingo another name, the LLaVA a full stop), and
``full, another end`` with one that it does not: no answer is likely then, and no beginning can be
left out.  The plain way runs each
prompt anew for each condition, with a cache, whole answers as a tree.  All ways run in one process
on one thread, in turns; ratios are taken round by round, and the middle one is printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.candidates import likeliest_sequences
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.execute.session import batched
from mfv_dsl.methods.answers import measure_answers, object_names
from mfv_dsl.models import load
from mfv_dsl.models.base import Backend, PromptBatch
from mfv_dsl.models.features import FeatureCache
from mfv_dsl.models.vlm.backend import VisionLanguageModel

SCENES = Scenes(seed=11, count=400)
MODELS: dict[str, Callable[[], Backend]] = {
    "tiny": lambda: load("tiny", device="cpu"),
    "llava": lambda: load("tiny", name="llava", device="cpu"),
}


def endings(model: Any, first: list[int]) -> tuple[list[int], list[int]]:
    """Tokens that the model writes behind a name, one of ``first``, and one that it does not."""
    if isinstance(model, VisionLanguageModel):
        return [model.answer_tokens(["red ring."])[0][-1]], first[:1]
    return first, [model.model.eoc_token_id]


def sweep(model: Backend) -> list[list[Edit]]:
    """A vector as long as a usual one, added at each of at most ten layers."""
    layers, width = model.facts.n_layers, model.facts.d_model
    vector = 0.3 * torch.randn(width, generator=torch.Generator().manual_seed(0))
    places = dict.fromkeys(round(i * (layers - 1) / 9) for i in range(10))
    return [[Edit("lm.resid", layer, "add", vector)] for layer in places]


def ways(model: Backend, batches: list[PromptBatch]) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    names, variants = object_names(SCENES, "test"), sweep(model)
    short = model.answer_tokens(names)
    usual, other = endings(model, [tokens[0] for tokens in short])
    places = {name: number for number, name in enumerate(names)}

    def targets(batch: PromptBatch, each: int) -> np.ndarray:
        return np.array([places[prompt.query.answer] * each for prompt in batch.prompts])

    def with_ends(ends: list[int]) -> list[tuple[int, ...]]:
        return [(*tokens, end) for tokens in short for end in ends]

    def whole(ends: list[int]) -> Callable[[], object]:
        sequences = with_ends(ends)
        return lambda: [
            likeliest_sequences(
                encode_prefix(model, batch), sequences, targets(batch, len(ends)), variants
            )
            for batch in batches
        ]

    def asked(how: str) -> Callable[[], object]:
        return lambda: measure_answers(model, batches, variants, how, names)

    def each(run: Callable[[PromptBatch, list[Edit]], object]) -> Callable[[], object]:
        return lambda: [run(batch, edits) for batch in batches for edits in variants]

    return {
        "first_token": asked("first_token"),
        "full": asked("full"),
        "full, two tokens": whole(usual),
        "full, another end": whole(other),
        "generate": asked("generate"),
        "full, plain": each(lambda batch, edits: sequence_log_p(model, batch, short, edits)),
        "full, two tokens, plain": each(
            lambda batch, edits: sequence_log_p(model, batch, with_ends(usual), edits)
        ),
        "generate, plain": each(lambda batch, edits: generate(model, batch, 2, edits)),
    }


def measured(model: Backend, shots: int, prompts: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every way by round; the first round warms up and is left out."""
    drawn = draw_prompts(SCENES, "left", "test", prompts, shots)
    seconds: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        model.features.cache = FeatureCache()  # pictures are encoded in every round
        started = time.process_time()
        batches = list(batched(model, SCENES, drawn))
        encoding = time.process_time() - started
        for name, run in ways(model, batches).items():
            started = time.process_time()
            run()
            if number:
                taken = encoding + time.process_time() - started
                seconds.setdefault(name, []).append(taken)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=list(MODELS), action="append")
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | shots | way | CPU seconds | × first_token |\n| --- | --- | --- | --- | --- |")
    for name in options.model or MODELS:
        model = MODELS[name]()
        for shots in options.shots:
            seconds = measured(model, shots, options.prompts, options.rounds)
            for way, values in seconds.items():
                ratios = [a / b for a, b in zip(values, seconds["first_token"], strict=True)]
                print(
                    f"| {name} | {shots} | {way} | {statistics.median(values):.2f} "
                    f"| {statistics.median(ratios):.2f} |"
                )


if __name__ == "__main__":
    main()
