"""What tests of training share."""

from __future__ import annotations

from typing import Any

import torch

from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models.base import PromptBatch


def batches(
    model: Any, data: Scenes, relation: str, split: str, n: int, size: int, shots: int = 0
) -> list[PromptBatch]:
    """``n`` prompts of a relation, ``size`` a batch."""
    prompts = draw_prompts(data, relation, split, n, shots)
    return [model.batch(prompts[i : i + size], data) for i in range(0, n, size)]


def zeros(model: Any) -> Vector:
    """The zero vector of a model."""
    facts = model.facts
    return Vector(torch.zeros(facts.d_model), Space(facts.fingerprint, facts.d_model), "zeros()")
