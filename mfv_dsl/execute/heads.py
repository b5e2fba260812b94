"""The heads that a run ranked, with what they were ranked by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfv_dsl.methods.mediation import bootstrap_effects
from mfv_dsl.plan.steps import Plan

Interval = tuple[float, float]


@dataclass(frozen=True)
class HeadEffect:
    """A chosen head; its score on every relation with a 95 % bootstrap interval over prompts, where
    the score is a mean over prompts, and the mean of these scores.

    Heads that were drawn at random have none.
    """

    layer: int
    head: int
    mean: float | None
    by_relation: dict[str, tuple[float, Interval | None]]


def ranked_heads(plan: Plan, values: Mapping[str, Any]) -> tuple[list[HeadEffect], np.ndarray]:
    """The heads of the plan's only set of heads, best first, and the mean score of all heads
    (layers, heads), empty where they were drawn at random."""
    (step,) = (step for step in plan.steps if step.operation in ("top", "head_set"))
    keys = step.inputs.get("scores", ())
    scores = [values[key] for key in keys]
    bounds = [
        None if len(score.cie) < 2 else bootstrap_effects(score.cie, plan[key].parameters["seed"])
        for key, score in zip(keys, scores, strict=True)
    ]
    means = np.mean([score.aie for score in scores], axis=0) if scores else np.empty((0, 0))
    chosen = [
        HeadEffect(
            layer,
            head,
            float(means[layer, head]) if scores else None,
            {
                score.relation: (float(score.aie[layer, head]), _at(bound, layer, head))
                for score, bound in zip(scores, bounds, strict=True)
            },
        )
        for layer, head in values[step.key].chosen
    ]
    return chosen, means


def _at(bounds: tuple[np.ndarray, np.ndarray] | None, layer: int, head: int) -> Interval | None:
    if bounds is None:
        return None
    low, high = bounds
    return float(low[layer, head]), float(high[layer, head])
