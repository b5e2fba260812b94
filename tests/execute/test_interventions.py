"""What an eval writes where: the best of several vectors, several layers together, a vector where
heads are taken away, a vector at the layer that it was made for; held against edits made by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.engine.edits import Edit
from mfv_dsl.execute.run import RunResult
from mfv_dsl.execute.session import Session
from mfv_dsl.execute.settings import AS_DECLARED, Silence
from mfv_dsl.methods.evaluation import ablating, measure
from mfv_dsl.plan.steps import Step

pytestmark = pytest.mark.slow  # one run of a few seconds, which all of these look at

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, below], count=60)
heads few = top(5, on=[left, above])
defaults { heads = few, trials = 12, items = 40, on = [left] }
tune tuned { start = fv(each), layer = 2, epochs = 2, items = 20, select_items = 20 }
vector turned(r) = 2 * tuned(r) - tuned(r)
eval trained { add = tuned(each) }
eval written { add = tuned(each), layer = 2 }
eval combined { add = turned(each) }
eval listed { add = [fv(right), fv(each), zeros()], layer = [1, 3], choose = [add] }
eval chosen {
  add = [fv(right), fv(each), zeros()], layer = [{2, 4}, 1], choose = [layer, add]
  on = [left, right], controls = [random_vector]
}
eval apart { add = [fv(right), fv(each), zeros()], layer = [1, 3], split = validation }
eval together { add = fv(each), layer = [{4, 1}, {3}], scale = [0.5, 1] }
eval cut { add = fv(each), layer = 1, ablate = few | {L0H0}, k = [2, 5], shots = 2 }
eval cut_to_mean { add = fv(each), layer = 1, ablate = {L0H0, L3H2}, ablate_with = mean }
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return mfv.Recipe(RECIPE, "e").run(tmp_path_factory.mktemp("run"))


def rows(ran: RunResult, name: str, **having: object):
    return [
        row
        for row in ran.rows
        if row.eval == name and all(getattr(row, what) == value for what, value in having.items())
    ]


def step_of(ran: RunResult, name: str, relation: str = "left") -> Step:
    (row,) = [r for r in ran.plan.rows if r.eval == name and r.relation == relation]
    return ran.plan[row.step]


def by_hand(ran: RunResult, name: str, edits: list[Edit]) -> tuple[float, float]:
    """Accuracy and mean probability under these edits, a full pass for each prompt."""
    step = step_of(ran, name)
    session = Session(ran.plan, Silence(), AS_DECLARED)
    p = step.parameters
    prompts = session.prompts(step, p["items"], p["split"], p["shots"])
    outcomes = measure(session.backend(step), list(session.batches(step, prompts)), edits)
    return outcomes.accuracy, float(outcomes.p_answer.mean())


def value(ran: RunResult, name: str, what: str):
    key = step_of(ran, name).inputs[what]
    assert isinstance(key, str)
    return ran.values[key]


def test_a_trained_vector_is_added_at_its_own_layer(ran: RunResult):
    assert step_of(ran, "trained").key == step_of(ran, "written").key
    assert [row.layer for row in rows(ran, "combined")] == [2]


def test_the_best_of_several_vectors_is_chosen_on_the_other_split(ran: RunResult):
    trials = {
        (choice["layer"], choice["vector"]): (choice["accuracy"], choice["mean_p_answer"])
        for choice in ran.choices
        if choice["eval"] == "listed"
    }
    measured = {(r.layer, r.vector): (r.accuracy, r.mean_p_answer) for r in rows(ran, "apart")}
    assert trials == measured and len(trials) == 6
    for row in rows(ran, "listed"):
        best = max((v for (layer, v) in trials if layer == row.layer),
                   key=lambda v: trials[row.layer, v])  # fmt: skip
        assert row.vector == best == "fv(each)"


def test_a_choice_of_vectors_and_layers_has_one_row_over_all_relations(ran: RunResult):
    (pooled,) = rows(ran, "chosen", relation=None, control="")
    assert (pooled.vector, pooled.layer, pooled.n) == ("chosen", "chosen", 80)
    assert len(rows(ran, "chosen", control="random_vector")) == 3


def test_layers_together_are_both_written_to(ran: RunResult):
    vector = value(ran, "together", "real").residual
    for scale in (0.5, 1):
        (row,) = rows(ran, "together", layer="{1, 4}", scale=scale)
        edits = [Edit("lm.resid", layer, "add", scale * vector) for layer in (1, 4)]
        assert (row.accuracy, row.mean_p_answer) == pytest.approx(
            by_hand(ran, "together", edits), abs=1e-5
        )
    assert {row.layer for row in rows(ran, "together")} == {"{1, 4}", 3}


def test_heads_are_taken_away_where_a_vector_is_added(ran: RunResult):
    head_dim = ran.plan.models["m"].facts.head_dim  # type: ignore[union-attr]
    for k in (2, 5):
        vector = value(ran, "cut", f"real, k = {k}").residual
        heads = value(ran, "cut", f"ablated, k = {k}").chosen
        assert len(heads) in (k, k + 1)
        edits = [*ablating(heads, head_dim), Edit("lm.resid", 1, "add", vector)]
        (row,) = rows(ran, "cut", k=k)
        assert (row.accuracy, row.mean_p_answer) == pytest.approx(
            by_hand(ran, "cut", edits), abs=1e-5
        )


def test_ablated_heads_may_put_out_their_mean(ran: RunResult):
    head_dim = ran.plan.models["m"].facts.head_dim  # type: ignore[union-attr]
    overall = value(ran, "cut_to_mean", "overall_mean")
    edits = ablating([(0, 0), (3, 2)], head_dim, overall)
    vector = value(ran, "cut_to_mean", "real").residual
    (row,) = rows(ran, "cut_to_mean")
    found = by_hand(ran, "cut_to_mean", [*edits, Edit("lm.resid", 1, "add", vector)])
    assert (row.accuracy, row.mean_p_answer) == pytest.approx(found, abs=1e-5)


def test_keys_tell_what_is_taken_away(tmp_path: Path):
    def key(eval: str) -> str:
        head = RECIPE.partition("tune")[0]
        plan = mfv.Recipe(f"{head}eval e {{ {eval} }}").plan()
        return plan.rows[0].step

    added = "add = fv(each), layer = 1"
    keys = {
        key(added), key(f"{added}, ablate = few"), key(f"{added}, ablate = {{L0H0}}"),
        key(f"{added}, ablate = few, ablate_with = mean"), key("ablate = few"),
    }  # fmt: skip
    assert len(keys) == 5
    assert key("add = fv(each), layer = {1}") == key(added)
    assert key("add = fv(each), layer = {3, 1}") == key("add = fv(each), layer = {1, 3}")
