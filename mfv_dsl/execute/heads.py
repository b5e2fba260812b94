"""The heads that a run ranked, with what they were ranked by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfv_dsl.methods.means import effect_intervals
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.methods.statistics import LEVEL, holm, sign_flip_test
from mfv_dsl.plan.steps import Plan

Interval = tuple[float, float]


@dataclass(frozen=True)
class HeadEffect:
    """A chosen head; its score on every relation with a 95 % interval over prompts, where the score
    is a mean over prompts, and the mean of these scores.

    ``holds`` names the relations on which the score is not zero when all heads on all relations are
    tested together at 5 % (sign-flip tests, Holm's correction).  Heads that were drawn at random
    have no score.
    """

    layer: int
    head: int
    mean: float | None
    by_relation: dict[str, tuple[float, Interval | None]]
    holds: tuple[str, ...]


def ranked_heads(plan: Plan, values: Mapping[str, Any]) -> tuple[list[HeadEffect], np.ndarray]:
    """The heads of the plan's only set of heads, best first, and the mean score of all heads
    (layers, heads), empty where they were drawn at random."""
    (step,) = (step for step in plan.steps if step.operation in ("top", "head_set"))
    keys = step.inputs.get("scores", ())
    scores = [values[key] for key in keys]
    bounds = [None if len(score.cie) < 2 else effect_intervals(score.cie) for score in scores]
    holds = _holding(plan, dict(zip(keys, scores, strict=True)))
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
            tuple(name for name, held in holds.items() if held[layer, head]),
        )
        for layer, head in values[step.key].chosen
    ]
    return chosen, means


def _holding(plan: Plan, scores: Mapping[str, Mediation]) -> dict[str, np.ndarray]:
    """For every relation whose scores are means over prompts, which heads' scores (layers, heads)
    are not zero when all are tested together."""
    tests = {
        score.relation: sign_flip_test(score.cie, plan[key].parameters["seed"])
        for key, score in scores.items()
        if len(score.cie) > 1
    }
    tested = [np.isfinite(p_values) for p_values in tests.values()]
    together = [p_values[there] for p_values, there in zip(tests.values(), tested, strict=True)]
    rejected = iter(holm([p for p_values in together for p in p_values.tolist()]) <= LEVEL)
    holds = {}
    for relation, there in zip(tests, tested, strict=True):
        holds[relation] = np.zeros(there.shape, dtype=bool)
        holds[relation][there] = [next(rejected) for _ in range(there.sum())]
    return holds


def _at(bounds: tuple[np.ndarray, np.ndarray] | None, layer: int, head: int) -> Interval | None:
    if bounds is None:
        return None
    low, high = bounds
    return float(low[layer, head]), float(high[layer, head])
