"""The heads of a run with their intervals, on effects that are made up."""

from __future__ import annotations

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.execute.heads import ranked_heads
from mfv_dsl.methods.mediation import Mediation, bootstrap_effects
from mfv_dsl.methods.selection import Heads

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, above], count=40)
eval e { ablate = top(2, on=[left, above], trials=6, seed=5), items = 4, on = [left] }
"""


def test_scores_means_and_intervals():
    """Few prompts have an interval; its draws are those of the ranking's seed."""
    plan = mfv.Recipe(RECIPE).plan()
    rng = np.random.default_rng(0)
    effects = {
        step.key: Mediation(
            step.parameters["relation"], rng.normal(size=(6, 10, 8)).astype(np.float32), np.zeros(6)
        )
        for step in plan.steps
        if step.operation == "mediation"
    }
    (ranking,) = (step for step in plan.steps if step.operation == "top")
    heads, mean = ranked_heads(plan, {**effects, ranking.key: Heads(((4, 1), (0, 7)))})
    left, above = (effects[key] for key in ranking.inputs["scores"])
    np.testing.assert_allclose(mean, (left.aie + above.aie) / 2)
    assert [(head.layer, head.head) for head in heads] == [(4, 1), (0, 7)]
    for head in heads:
        at = (head.layer, head.head)
        assert head.mean == pytest.approx(mean[at])
        for effect in (left, above):
            score, interval = head.by_relation[effect.relation]
            low, high = bootstrap_effects(effect.cie, seed=5)
            assert score == pytest.approx(effect.aie[at])
            assert interval == (low[at], high[at])
