"""Evals on the items that the model answers correctly with some demonstrations."""

from __future__ import annotations

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.execute.notes import notes
from mfv_dsl.execute.run import RunResult

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, above], count=40)
defaults { heads = {L1H6, L2H6, L1H3}, trials = 6, items = 30, layer = [0, 1] }
"""
RECIPE = f"""{HEAD}
eval plain {{ }}
eval examples {{ shots = 1 }}
eval known {{ correct_with = 0 }}
eval added {{ add = fv(each) }}
eval chosen {{
  add = fv(each), choose = [layer], controls = [random_vector]
  correct_with = 0, against = [known]
}}
eval swept {{ add = fv(each), correct_with = 0 }}
eval blended {{ add = blend([fv(left), fv(above)], by=analogy), layer = 1, correct_with = 1 }}
"""

pytestmark = pytest.mark.slow  # one run of a few seconds


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return mfv.Recipe(RECIPE, "e").run(tmp_path_factory.mktemp("run"), fresh=True)


def evaluation(ran: RunResult, name: str, relation: str):
    (row,) = (row for row in ran.plan.rows if (row.eval, row.relation) == (name, relation))
    return ran.values[row.step]


@pytest.mark.parametrize("relation", ["left", "above"])
def test_the_items_are_those_answered_correctly(ran: RunResult, relation: str):
    plain = evaluation(ran, "plain", relation)
    correct = plain.zero_shot.correct
    assert 0 < correct.sum() < 30
    known = evaluation(ran, "known", relation)
    assert known.zero_shot.correct.all() and len(known.zero_shot) == correct.sum()
    assert known.images == tuple(np.array(plain.images)[correct])
    everything, swept = evaluation(ran, "added", relation), evaluation(ran, "swept", relation)
    for all_items, some in zip(everything.conditions, swept.conditions, strict=True):
        np.testing.assert_allclose(
            all_items.outcomes.p_answer[correct], some.outcomes.p_answer, atol=1e-5
        )


def test_demonstrations_decide_which_items(ran: RunResult):
    with_one = evaluation(ran, "examples", "left").conditions[0].outcomes.correct
    blended = evaluation(ran, "blended", "left")
    assert blended.images == tuple(np.array(evaluation(ran, "plain", "left").images)[with_one])
    assert len(blended.conditions[0].weights) == with_one.sum()


def test_choosing_controls_and_comparisons_look_at_the_same_items(ran: RunResult):
    for relation in ("left", "above"):
        chosen = evaluation(ran, "chosen", relation)
        n = len(evaluation(ran, "known", relation).zero_shot)
        assert {len(condition.outcomes) for condition in chosen.conditions} == {n}
        tried = {len(condition.outcomes) for condition in chosen.trials}
        assert len(tried) == 1 and 0 < tried.pop() < 30
    rows = [row for row in ran.rows if row.eval == "chosen" and row.relation == "left"]
    assert {row.control for row in rows} == {"", "random_vector"}
    for row in rows:
        assert row.against["known"].difference == pytest.approx(row.accuracy - 1)
        assert row.difference == pytest.approx(row.accuracy - 1)


def test_a_note_says_how_many_items_were_left(ran: RunResult):
    texts = {note["eval"]: note["text"] for note in notes(ran.plan, ran.values)
             if "answers correctly" in note["text"]}  # fmt: skip
    n = sum(len(evaluation(ran, "known", relation).zero_shot) for relation in ("left", "above"))
    assert texts["known"] == (
        f"known measures the {n} of 60 items that the model answers correctly with 0 "
        "demonstrations."
    )
    assert set(texts) == {"known", "chosen", "swept", "blended"}


def test_no_item_left_is_an_error(tmp_path):
    text = HEAD.replace("count=40", "count=40, objects=novel").replace("items = 30", "items = 2")
    with pytest.raises(MfvError, match="of 2 items of `left` from test the model answers none"):
        mfv.Recipe(f"{text}eval e {{ correct_with = 0, on = [left] }}").run(tmp_path)


def test_evals_of_other_items_cannot_be_compared():
    for there in ("", "correct_with = 4"):
        with pytest.raises(RecipeError, match="do not measure the same items") as caught:
            mfv.Recipe(f"{HEAD}eval a {{ {there} }}\neval b {{ correct_with = 2, against = [a] }}")
        assert [d.code for d in caught.value.diagnostics] == ["MFV5330"]
