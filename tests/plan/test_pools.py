"""Pools of relations in plans: what a key holds, and what a plan says."""

from __future__ import annotations

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.plan.explain import explain_plan, plan_text
from mfv_dsl.plan.steps import Plan

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above], count=40)
"""


def plan(options: str, text: str = "eval e {{ add = fv(left{}), layer = 1, on = [left] }}") -> Plan:
    return mfv.Recipe(HEAD + text.format(options)).plan()


def mediation(options: str) -> tuple[str, object]:
    (step,) = (step for step in plan(options).steps if step.operation == "mediation")
    return step.key, step.parameters["pool"]


def test_a_pool_is_in_the_key_where_it_is_not_the_whole_dataset():
    plain, pool = mediation("")
    assert pool is None
    assert mediation(", pool=[left, right, above]") == (plain, None)
    others, pool = mediation(", pool=others")
    assert pool == ("right", "above") and others != plain
    assert mediation(", pool=[right, above]") == (others, pool)
    assert mediation(", pool=[above, right]")[0] not in (plain, others)
    assert mediation(", corrupt=same_images, pool=others")[0] not in (plain, others)


def test_a_pool_enters_no_key_where_twins_take_no_turns():
    for corrupt in ("shuffle", "none"):
        assert mediation(f", corrupt={corrupt}, pool=others") == mediation(f", corrupt={corrupt}")


def test_others_are_those_of_each_relation():
    text = "eval e {{ ablate = top(3{}) }}"
    steps = plan(", pool=others", text).steps
    pools = {s.parameters["relation"]: s.parameters["pool"] for s in steps
             if s.operation == "mediation"}  # fmt: skip
    assert pools == {"left": ("right", "above"), "right": ("left", "above"),
                     "above": ("left", "right")}  # fmt: skip


def test_a_pool_of_the_tested_relation_alone_is_refused():
    with pytest.raises(MfvError, match="`left` needs demonstrations of other relations") as caught:
        plan(", pool=[left]")
    assert caught.value.code == "MFV5365"


def test_the_plan_says_the_pool_and_which_items_are_measured():
    made = plan(", pool=others", "eval e {{ add = fv(left{}), layer = 1, on = [left], "
                "correct_with = 4 }}")  # fmt: skip
    text = plan_text(made, explain_plan(made, ()))
    assert "from extract, corrupted by mix of right, above\n" in text
    assert "from test; only what is answered correctly with 4 shots\n" in text
    whole = plan(", corrupt=same_images")
    text = plan_text(whole, explain_plan(whole, ()))
    assert "corrupted by same_images of left, right, above\n" in text


def test_all_items_are_counted():
    made = mfv.Recipe(
        HEAD + "tune t { start = random, layer = 1, items = all, batch = 8, on = [left] }"
    ).plan()
    text = plan_text(made, explain_plan(made, ()))
    assert "reads  40 0-shot prompts of left from train" in text
    assert "learned in 50 steps of 8 prompts" in text
    (step,) = made.steps
    assert step.parameters["items"] == 40
