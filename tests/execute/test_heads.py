"""The heads of a run with their intervals, on effects that are made up."""

from __future__ import annotations

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.execute.heads import ranked_heads
from mfv_dsl.methods.means import effect_intervals
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.methods.selection import Heads
from mfv_dsl.plan.steps import Step
from mfv_dsl.report.tables import heads_table

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, above], count=40)
eval e { ablate = top(2, on=[left, above], trials=6, seed=5), items = 4, on = [left] }
"""


def test_scores_means_and_intervals():
    """Few prompts have an interval too."""
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
            low, high = effect_intervals(effect.cie)
            assert score == pytest.approx(effect.aie[at])
            assert interval == (low[at], high[at])
        assert head.holds == ()  # no test on 6 prompts can hold among 160


def made_up(step: Step, prompts: int, strong: float) -> Mediation:
    """Effects without rhyme, but for head 1 of layer 4; head 0 of layer 9 is not there."""
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 0.1, size=(prompts, 10, 8)).astype(np.float32)
    effects[:, 4, 1] += strong
    effects[:, 9, 0] = np.nan
    return Mediation(step.parameters["relation"], effects, np.zeros(prompts))


def test_what_holds_when_all_heads_are_tested_together():
    plan = mfv.Recipe(RECIPE).plan()
    strong = {"left": 0.4, "above": 0.0}
    effects = {
        step.key: made_up(step, 40, strong[step.parameters["relation"]])
        for step in plan.steps
        if step.operation == "mediation"
    }
    (ranking,) = (step for step in plan.steps if step.operation == "top")
    heads, _ = ranked_heads(plan, {**effects, ranking.key: Heads(((4, 1), (0, 7), (9, 0)))})
    assert [head.holds for head in heads] == [("left",), (), ()]
    assert np.isnan(heads[2].by_relation["left"][1]).all()
    # one of all is 5 % likely to be this far out; of 159 tests 0.05 / 159 is asked for
    table = heads_table(heads)
    assert [str(cell).endswith("]*") for cell in table.columns[3]._cells] == [True, False, False]
    assert "tested together" in table.caption
    assert heads_table(heads[1:]).caption is None
