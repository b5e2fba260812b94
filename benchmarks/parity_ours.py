"""What ``parity.py`` compares others with: the measurements of mfv-dsl on the bundled model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.mediation import mediate
from mfv_dsl.methods.selection import top_heads
from mfv_dsl.models.openflamingo import OpenFlamingo

SCENES = Scenes(seed=11, count=240)
RELATION, K, LAYER, SHOTS = "left", 10, 1, 4


@dataclass(frozen=True)
class Ours:
    """What mfv-dsl measures; ``seconds`` by quantity."""

    intact: list[Prompt]
    mean: torch.Tensor
    correct: tuple[bool, ...]
    twins: list[Prompt]
    cie: np.ndarray
    heads: tuple[tuple[int, int], ...]
    vector: torch.Tensor
    questions: list[Prompt]
    log_p: torch.Tensor
    said: torch.Tensor
    gradient: torch.Tensor
    seconds: dict[str, float]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What ``work`` gives, and its CPU seconds."""
    started = time.process_time()
    value = work()
    return value, time.process_time() - started


def measure_ours(model: OpenFlamingo, prompts: int) -> Ours:
    """Everything by mfv-dsl, pictures included each time as with the others."""
    seconds: dict[str, float] = {}
    intact = draw_prompts(SCENES, RELATION, "extract", prompts, SHOTS)
    task, seconds["mean activations"] = timed(
        lambda: task_mean(model, [model.batch(intact, SCENES)], RELATION)
    )
    twins = [
        corrupt(prompt, "mix", SCENES, "extract")
        for prompt, correct in zip(intact, task.correct, strict=True)
        if correct
    ]
    effects, seconds["CIE"] = timed(
        lambda: mediate(model, [model.batch(twins, SCENES)], RELATION, task.mean)
    )
    heads = top_heads([effects.aie], K)
    vector, seconds["function vector"] = timed(
        lambda: function_vector(model, task.mean, heads, "per_head").residual
    )
    questions = draw_prompts(SCENES, RELATION, "test", prompts, 0)

    def inject() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            prefix = encode_prefix(model, model.batch(questions, SCENES))
            edit = Edit("lm.resid", LAYER, "add", vector)
            scores = prefix.scores([[edit]], logits=True)
        return scores.logits[:, 0].log_softmax(-1), scores.likeliest[:, 0]

    (log_p, said), seconds["injected answers"] = timed(inject)

    def step() -> torch.Tensor:
        value = vector.clone().requires_grad_()
        prefix = encode_prefix(model, model.batch(questions[:1], SCENES))
        loss = -Injection([prefix]).log_p([[Edit("lm.resid", LAYER, "add", value)]]).mean()
        (gradient,) = torch.autograd.grad(loss, value)
        return gradient

    gradient, seconds["tuning gradient"] = timed(step)
    return Ours(
        intact, task.mean, task.correct, twins, effects.cie, heads, vector, questions, log_p, said,
        gradient, seconds,
    )  # fmt: skip
