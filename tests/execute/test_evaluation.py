"""Evals with sweeps, controls and comparisons, run on the bundled model and held against runs and
computations that do one thing at a time."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mfv_dsl as mfv
from mfv_dsl.execute.conditions import Condition, Evaluation, Point
from mfv_dsl.execute.notes import comparison_notes, notes
from mfv_dsl.execute.results import ResultRow, result_rows
from mfv_dsl.execute.run import RunResult
from mfv_dsl.methods.intervals import accuracy_interval, difference_interval
from mfv_dsl.methods.outcomes import Outcomes
from mfv_dsl.plan.steps import Plan, Step
from mfv_dsl.plan.treatments import treatments
from mfv_dsl.report.columns import result_columns

pytestmark = pytest.mark.slow  # one run of a few seconds, which most of these tests look at

CARDINAL = ("left", "right", "above", "below")
HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, below], count=60)
heads spatial = top(10, on=[left, above])
defaults { heads = spatial, trials = 12, items = 40 }
"""
RECIPE = f"""{HEAD}
eval zero {{ }}
eval few {{ shots = 2 }}
eval sweep {{
  add = fv(each), k = [1, 4], layer = [0, native], on = [left, above], against = [few, zero]
}}
eval one {{ add = fv(each, heads=top(1, on=[left, above])), layer = 0, on = [left, above] }}
eval four {{ add = fv(each, heads=top(4, on=[left, above])), layer = native, on = [left, above] }}
eval controlled {{
  add = fv(each), layer = [0, 1, 5], k = [4, 10], choose = [layer, k]
  controls = [random_heads, random_vector, other_relation, shuffled]
  metrics = [accuracy, confusion]
}}
eval seen {{
  add = fv(each, heads=top(4, on=[left, above])), layer = 5, on = [left], split = validation
}}
eval listed {{
  add = [fv(each), fv(each) - fv(below)], layer = [1, 5], choose = [layer], on = [left]
}}
eval plain {{ add = fv(each) - fv(below), layer = [1, 5], choose = [layer], on = [left] }}
eval cut {{
  ablate = top(4, on=[left, above]), k = [1, 4], shots = 2, controls = [random_heads], on = [left]
}}
eval patched {{
  patch = fv(each), k = [1, 4], choose = [k], controls = [random_heads, other_relation, shuffled]
  on = [left, above], split = validation, select_on = train
}}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return mfv.Recipe(RECIPE, "e").run(tmp_path_factory.mktemp("run"))


def rows_of(ran: RunResult, name: str, relation: str | None = "any", **having: object):
    return [
        row
        for row in ran.rows
        if row.eval == name
        and relation in ("any", row.relation)
        and all(getattr(row, what) == value for what, value in having.items())
    ]


def the_row(ran: RunResult, name: str, relation: str, **having: object) -> ResultRow:
    (row,) = rows_of(ran, name, relation, **having)
    return row


def the_step(ran: RunResult, name: str, relation: str) -> Step:
    (row,) = [row for row in ran.plan.rows if (row.eval, row.relation) == (name, relation)]
    return ran.plan[row.step]


def measured(ran: RunResult, name: str, relation: str) -> Evaluation:
    return ran.values[the_step(ran, name, relation).key]


def inputs_by_control(ran: RunResult, name: str, relation: str, k: int) -> dict[str, object]:
    """What the eval wrote for each control (the real thing under "")."""
    step = the_step(ran, name, relation)
    return {
        treatment.control: ran.values[step.inputs[treatment.name]]
        for treatment in treatments(step.parameters)
        if treatment.k == k
    }


# -- sweeps ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("relation", ["left", "above"])
def test_a_sweep_of_k_is_what_evals_of_one_k_give(ran: RunResult, relation: str):
    for name, k, layer in (("one", 1, 0), ("four", 4, "native")):
        alone = the_row(ran, name, relation)
        swept = the_row(ran, "sweep", relation, k=k, layer=layer)
        assert swept.accuracy == alone.accuracy
        assert swept.mean_p_answer == pytest.approx(alone.mean_p_answer, abs=1e-6)
        assert (alone.k, alone.layer) == (None, layer)
    p = {(row.k, row.layer): row.mean_p_answer for row in rows_of(ran, "sweep", relation)}
    assert len(p) == len({round(value, 4) for value in p.values()}) == 4


def test_a_sweep_shares_what_it_can(ran: RunResult):
    """One measurement of effects and one mean for all numbers of heads and all controls."""
    made = mfv.Recipe(
        HEAD + "eval e { add = fv(each), k = 1..20, layer = 0, on = [left], "
        "controls = [random_heads] }"
    ).plan()
    count = {op: sum(step.operation == op for step in made.steps) for op in (
        "activations", "mediation", "top", "other_heads", "extract", "evaluate")}  # fmt: skip
    assert count == {"activations": 2, "mediation": 2, "top": 20, "other_heads": 20,
                     "extract": 40, "evaluate": 1}  # fmt: skip


def test_a_list_of_vectors_is_each_for_itself(ran: RunResult):
    first, second = rows_of(ran, "listed")
    assert (first.vector, second.vector) == ("fv(each)", "fv(each) - fv(below)")
    alone = the_row(ran, "plain", "left")
    assert (second.layer, second.accuracy) == (alone.layer, alone.accuracy)
    assert second.mean_p_answer == pytest.approx(alone.mean_p_answer, abs=1e-6)
    assert first.mean_p_answer != pytest.approx(second.mean_p_answer, abs=1e-4)


def test_k_of_the_default_heads_of_fv():
    """`fv` without heads takes the ten of its own relation; `k` replaces the ten."""
    head = HEAD.replace("heads = spatial, ", "")
    made = mfv.Recipe(head + "eval e { add = fv(left), k = [2, 3], layer = 0, on = [left] }").plan()
    assert [s.parameters["k"] for s in made.steps if s.operation == "top"] == [2, 3]
    plain = mfv.Recipe(head + "eval e { add = fv(left), layer = 0, on = [left] }").plan()
    assert [s.parameters["k"] for s in plain.steps if s.operation == "top"] == [10]


# -- choosing -------------------------------------------------------------------------------------
def test_what_is_chosen_is_the_best_on_validation_by_the_real_vector(ran: RunResult):
    for relation in CARDINAL:
        tried = [
            choice
            for choice in ran.choices
            if (choice["eval"], choice["relation"]) == ("controlled", relation)
        ]
        assert [(c["k"], c["layer"]) for c in tried] == [(k, i) for k in (4, 10) for i in (0, 1, 5)]
        assert {choice["split"] for choice in tried} == {"validation"}
        best = max(tried, key=lambda choice: (choice["accuracy"], choice["mean_p_answer"]))
        assert [choice["chosen"] for choice in tried] == [choice is best for choice in tried]
        rows = rows_of(ran, "controlled", relation)
        assert len(rows) == 5
        assert {(row.k, row.layer) for row in rows} == {(best["k"], best["layer"])}


def test_trials_are_measurements_of_the_other_split(ran: RunResult):
    (trial,) = [
        choice
        for choice in ran.choices
        if (choice["eval"], choice["relation"]) == ("controlled", "left")
        and (choice["k"], choice["layer"]) == (4, 5)
    ]
    seen = the_row(ran, "seen", "left")
    assert trial["accuracy"] == seen.accuracy
    assert trial["mean_p_answer"] == pytest.approx(seen.mean_p_answer, abs=1e-6)


def test_patching_can_choose_its_heads(ran: RunResult):
    for relation in ("left", "above"):
        (best,) = [c for c in ran.choices if c["eval"] == "patched" and c["chosen"]
                   and c["relation"] == relation]  # fmt: skip
        rows = rows_of(ran, "patched", relation)
        assert {row.k for row in rows} == {best["k"]} and best["split"] == "train"
        assert [row.layer for row in rows] == [None] * 4


# -- controls -------------------------------------------------------------------------------------
@pytest.mark.parametrize("relation", CARDINAL)
def test_controls_are_what_they_say(ran: RunResult, relation: str):
    row = the_row(ran, "controlled", relation, control="")
    made = inputs_by_control(ran, "controlled", relation, row.k)
    real, others, noise = made[""], made["random_heads"], made["random_vector"]
    assert len(others.heads) == len(real.heads) == row.k
    assert not set(others.heads) & set(real.heads)
    assert noise.norm() == pytest.approx(real.norm(), rel=1e-5)
    assert abs(mfv_cosine(noise, real)) < 0.4
    assert set(made["shuffled"].heads) == set(real.heads)
    assert mfv_cosine(made["shuffled"], real) < 0.9
    other = {"left": "above", "above": "left", "right": "below", "below": "right"}[relation]
    there = inputs_by_control(ran, "controlled", other, row.k)[""]
    assert (made["other_relation"].residual == there.residual).all()


def mfv_cosine(first, second) -> float:
    x, y = first.residual.double(), second.residual.double()
    return float(x @ y / x.norm() / y.norm())


@pytest.mark.parametrize("relation", CARDINAL)
def test_the_vector_does_what_no_control_does(ran: RunResult, relation: str):
    zero = the_row(ran, "zero", relation)
    rows = {row.control: row for row in rows_of(ran, "controlled", relation)}
    assert rows[""].accuracy >= 0.95
    for control in ("random_heads", "random_vector", "shuffled"):
        assert abs(rows[control].accuracy - zero.accuracy) < 0.3
        assert rows[control].accuracy < 0.65
    assert rows["random_heads"].mean_p_answer == pytest.approx(zero.mean_p_answer, abs=0.1)


def test_the_vector_of_another_relation_answers_that_relation(ran: RunResult):
    for relation, other in (("left", "above"), ("right", "below"), ("above", "left")):
        answers = the_row(ran, "controlled", relation, control="other_relation").answers
        assert answers[other] >= 0.9 and answers[relation] <= 0.05


def test_ablation_has_its_control(ran: RunResult):
    real, control = (the_row(ran, "cut", "left", k=4, control=c) for c in ("", "random_heads"))
    few = the_row(ran, "few", "left")
    assert real.accuracy < control.accuracy - 0.2
    assert control.accuracy >= few.accuracy - 0.1
    made = inputs_by_control(ran, "cut", "left", 4)
    assert not set(made[""].chosen) & set(made["random_heads"].chosen)
    assert len(made["random_heads"].chosen) == 4


def test_controls_are_drawn_by_the_seed():
    body = "eval e { add = fv(left), layer = 0, on = [left], controls = [random_heads], SEED }"
    one, same, other = (
        mfv.Recipe(HEAD + body.replace("SEED", seed)).plan() for seed in ("seed=1", "seed=1", "")
    )
    assert one.steps == same.steps
    assert drawn(one) != drawn(other)


def drawn(made: Plan) -> Iterable[str]:
    return [step.key for step in made.steps if step.operation == "other_heads"]


def test_the_other_relation_where_an_eval_has_one(ran: RunResult):
    """Half-way round the dataset's relations."""
    made = mfv.Recipe(
        HEAD + "eval e { add = fv(each), layer = 0, on = [below], controls = [other_relation] }"
    ).plan()
    labels = [made[key].label for key in made[made.rows[0].step].input_keys]
    assert labels == ["fv(below)", "fv(right)"]


def test_vectors_of_controls_do_not_pass_for_others(ran: RunResult):
    """In the run's folder every vector says what it is."""
    said = {
        stored.vector.expression
        for path in (ran.folder / "vectors").iterdir()
        if (stored := mfv.load_vector(path))
    }
    assert {"fv(left)", "fv(left) at random heads", "fv(left) of shuffled prompts"} <= said
    shuffled = next(
        stored.metadata["prompt"]
        for path in (ran.folder / "vectors").iterdir()
        if (stored := mfv.load_vector(path)).vector.expression == "fv(left) of shuffled prompts"
    )
    assert shuffled["control"] == "shuffle" and not shuffled["correct_only"]


# -- all relations, other evals -------------------------------------------------------------------
def test_rows_over_all_relations(ran: RunResult):
    parts = [measured(ran, "zero", relation) for relation in CARDINAL]
    correct = np.concatenate([part.conditions[0].outcomes.correct for part in parts])
    row = the_row(ran, "zero", None)
    assert (row.n, row.answers) == (160, {})
    assert row.accuracy == pytest.approx(correct.mean())
    assert row.mean_p_answer == pytest.approx(
        np.mean([r.mean_p_answer for r in rows_of(ran, "zero") if r.relation is not None])
    )
    strata = np.repeat(np.arange(4), 40).tolist()
    assert (row.ci_low, row.ci_high) == accuracy_interval(correct, strata=strata)
    assert (row.difference, row.difference_low, row.difference_high) == (0, 0, 0)
    chosen = rows_of(ran, "controlled", None)
    assert [(r.control, r.k, r.layer, r.n) for r in chosen] == [
        (control, "chosen", "chosen", 160)
        for control in ("", "random_heads", "random_vector", "other_relation", "shuffled")
    ]
    assert {(r.k, r.layer) for r in rows_of(ran, "sweep", None)} == {
        (1, 0), (1, "native"), (4, 0), (4, "native"),
    }  # fmt: skip
    assert not rows_of(ran, "listed", None)
    places = [row.relation for row in ran.rows if row.eval == "zero"]
    assert places == [*CARDINAL, None]


def test_a_difference_from_another_eval_by_hand(ran: RunResult):
    def correct(name: str, relation: str, number: int = 0) -> np.ndarray:
        return measured(ran, name, relation).conditions[number].outcomes.correct.astype(float)

    for number, row in enumerate(rows_of(ran, "sweep", "left")):
        gained = correct("sweep", "left", number) - correct("few", "left")
        found = row.against["few"]
        assert found.difference == pytest.approx(gained.mean())
        assert (found.low, found.high) == difference_interval(gained)
        zero_shot = measured(ran, "sweep", "left").zero_shot.correct
        assert (row.difference_low, row.difference_high) == difference_interval(
            correct("sweep", "left", number) - zero_shot
        )
        assert row.against["zero"].difference == pytest.approx(row.difference)
    both = [
        np.concatenate([correct(name, relation) for relation in ("left", "above")])
        for name in ("sweep", "few")
    ]
    pooled = rows_of(ran, "sweep", None)[0].against["few"]
    assert pooled.difference == pytest.approx((both[0] - both[1]).mean())
    assert (pooled.low, pooled.high) == difference_interval(
        both[0] - both[1], strata=np.repeat([0, 1], len(both[0]) // 2).tolist()
    )
    assert not the_row(ran, "one", "left").against


def test_comparisons_are_tested_together(ran: RunResult):
    """By the formulas of McNemar and Holm, written out: 16 on one relation each, 8 over all."""
    from scipy.stats import norm

    for is_pooled, size in ((False, 16), (True, 8)):
        gains = [
            gain for row in ran.rows if (row.relation is None) == is_pooled
            for gain in row.against.values()
        ]  # fmt: skip
        assert len(gains) == size and {gain.family for gain in gains} == {size}
        largest = 0.0
        for rank, gain in enumerate(sorted(gains, key=lambda gain: gain.p)):
            largest = max(largest, min(1.0, (size - rank) * gain.p))
            assert gain.p_holm == pytest.approx(largest)
            assert gain.p <= gain.q_bh <= gain.p_holm
    row = rows_of(ran, "sweep", "left")[0]
    here = measured(ran, "sweep", "left").conditions[0].outcomes.correct.astype(int)
    change = here - measured(ran, "few", "left").conditions[0].outcomes.correct
    up, down = (change > 0).sum(), (change < 0).sum()
    z = abs(up - down) / max(1, up + down) ** 0.5
    assert row.against["few"].p == pytest.approx(2 * norm.sf(z))


def test_comparisons_of_controls_are_a_family_of_their_own(ran: RunResult):
    steps = {row.relation: row.step for row in ran.plan.rows if row.eval == "zero"}
    rows = [
        replace(row, against=(("zero", steps[row.relation]),)) if row.eval == "cut" else row
        for row in ran.plan.rows
    ]
    found = result_rows(replace(ran.plan, rows=tuple(rows)), ran.values)
    for is_control, size in ((False, 16 + 2), (True, 2)):
        gains = [
            gain for row in found if row.relation and bool(row.control) == is_control
            for gain in row.against.values()
        ]  # fmt: skip
        assert len(gains) == size and {gain.family for gain in gains} == {size}
    texts = {note["text"] for note in comparison_notes(found)}
    assert any("18 on one relation each" in text and "2 on one" in text for text in texts)
    assert any("on one relation each, of controls" in text for text in texts)


def test_a_margin_says_what_the_interval_says(ran: RunResult):
    rows = [replace(row, margin=0.5 if row.against else None) for row in ran.plan.rows]
    found = result_rows(replace(ran.plan, rows=tuple(rows)), ran.values)
    verdicts = set()
    for row in found:
        for gain in row.against.values():
            assert gain.margin == 0.5
            assert gain.no_worse == (gain.low > -0.5) == (gain.p_no_worse < 0.025)
            assert gain.equivalent == (gain.low > -0.5 and gain.high < 0.5)
            verdicts |= {gain.no_worse, gain.equivalent}
            assert gain.to_json()["no_worse"] is gain.no_worse
        assert ResultRow.of_json(row.to_json()) == row
    assert verdicts == {True, False}
    table = result_columns([row for row in found if row.against], {"sweep": ["accuracy"]})
    assert set(table["no worse than few"]) <= {"by 50 points: shown", "by 50 points: not shown"}


def test_an_eval_alone_brings_what_it_is_compared_with(ran: RunResult):
    made = mfv.Recipe(RECIPE).plan(["sweep"])
    assert {row.eval for row in made.rows} == {"sweep"}
    measuring = [step.label for step in made.steps if step.operation == "evaluate"]
    assert measuring == [
        f"{name}: {relation}, {shots} shots"
        for relation in ("left", "above")
        for name, shots in (("sweep", 0), ("few", 2), ("zero", 0))
    ]


# -- what was answered ----------------------------------------------------------------------------
def test_shares_of_answers(ran: RunResult):
    for row in ran.rows:
        if row.relation is not None:
            assert set(row.answers) == {*CARDINAL}
            assert sum(row.answers.values()) + row.answers_other == pytest.approx(1)
            assert row.answers[row.relation] == pytest.approx(row.accuracy)
    with open(ran.folder / "confusion.csv") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5 * sum(row.relation is not None for row in ran.rows)
    one = next(
        line for line in lines
        if (line["eval"], line["relation"], line["control"], line["answered"])
        == ("controlled", "left", "other_relation", "above")
    )  # fmt: skip
    wanted = the_row(ran, "controlled", "left", control="other_relation").answers["above"]
    assert float(one["share"]) == pytest.approx(wanted)


# -- files and tables -----------------------------------------------------------------------------
STABLE = "eval,relation,shots,layer,scale,n,accuracy,ci_low,ci_high,mean_p_answer,difference," \
    "difference_low,difference_high"  # fmt: skip


def test_files_of_a_run(ran: RunResult):
    lines = (ran.folder / "results.csv").read_text().splitlines()
    compared = ",".join(
        f"vs_{name}{end}" for name in ("few", "zero")
        for end in ("", "_low", "_high", "_p", "_p_holm", "_q_bh", "_family")
    )  # fmt: skip
    assert lines[0] == f"{STABLE},k,{compared},control,vector"
    assert len(lines) == 1 + len(ran.rows)
    said = json.loads((ran.folder / "results.json").read_text())
    assert said["rows"] == json.loads(json.dumps(ran.to_json()["rows"]))
    assert "k" not in said["rows"][0] and "against" not in said["rows"][0]
    assert said["notes"] == ran.results.notes
    with open(ran.folder / "choices.csv") as file:
        tried = list(csv.DictReader(file))
    assert len(tried) == len(said["choices"]) == 4 * 6 + 2 * 2 + 2 + 2 * 2
    assert {line["chosen"] for line in tried} == {"True", "False"}


def test_columns_only_where_needed(tmp_path: Path):
    made = mfv.Recipe(HEAD + "eval zero { items = 8 }").run(tmp_path)
    assert (tmp_path / "results.csv").read_text().splitlines()[0] == STABLE
    assert (tmp_path / "choices.csv").read_text().count("\n") == 1
    assert made.results.notes == []


def test_tables_show_controls_and_confusion(ran: RunResult, tmp_path: Path):
    (tmp_path / "e.mfv").write_text(RECIPE)
    from mfv_dsl.cli.app import app

    done = CliRunner().invoke(
        app, ["run", str(tmp_path / "e.mfv"), "--out", str(tmp_path / "o"), "--quiet"]
    )
    assert done.exit_code == 0, done.output
    results, confusion = done.stdout.split("answers in per cent")
    for title in ("control", "vector", "layer", "vs zero-shot", "vs few", "vs zero"):
        assert title in results
    assert "→ left" in confusion and "→ left" not in results
    assert "controlled" in confusion and "sweep " not in confusion.partition("note:")[0]
    assert "fv(each) - fv(below)" in results
    # `controlled` reports no probabilities, `sweep` does
    line = next(line for line in results.splitlines() if "other_relation" in line)
    assert not any(cell.count(".") for cell in line.split())
    assert " ".join(confusion.split("note:")[1].split()).startswith("sweep shows 4 conditions")
    html = ran._repr_html_()
    for shown in (r"<th[^>]*>control</th>", r"<th[^>]*>→ left</th>", "<p[^>]*>note: sweep shows"):
        assert re.search(shown, html), shown


def test_one_condition_of_a_sweep_can_be_attached(ran: RunResult, tiny):
    """By hand: an eval's edits on the user's own calls."""
    bound = ran.plan.bind(tiny, "sweep", "left", layer=0, k=4)
    (edit,) = bound.edits
    wanted = inputs_by_control(ran, "sweep", "left", 4)[""]
    assert (edit.value == wanted.residual).all()
    listed = ran.plan.bind(tiny, "listed", vector="fv(each)", layer=1)
    assert (listed.edits[0].value != edit.value).any()
    with pytest.raises(mfv.MfvError, match="say which k"):
        ran.plan.bind(tiny, "sweep", "left", layer=0)


def test_the_bundled_recipe_of_controls_can_be_planned():
    made = mfv.Recipe.from_file("controls")
    assert made.check() == ()
    assert {row.eval for row in made.plan().rows} == {
        "zero_shot", "few_shot", "raw", "how_many", "without",
    }  # fmt: skip


# -- best of many ---------------------------------------------------------------------------------
def test_a_sweep_on_the_test_split_is_told(ran: RunResult):
    said = {note["eval"]: note["text"] for note in ran.results.notes}
    assert set(said) == {"sweep", "cut", "against"}  # `patched` is on validation, the others choose
    assert "4 conditions for each relation" in said["sweep"]
    assert "`choose = [layer, k]` settles it" in said["sweep"]
    assert "choose" not in said["cut"]


def fabricated(made: Plan, correct: dict[str, list[list[bool]]], images=None) -> dict:
    """Results as if a run had given them; zero-shot is all wrong."""
    values = {}
    for row in made.rows:
        conditions = [np.array(one) for one in correct[row.relation]]
        n = len(conditions[0])
        nothing = Outcomes(np.zeros(n), np.zeros(n, dtype=bool), np.zeros(n, dtype=int))
        values[row.step] = Evaluation(
            tuple(
                Condition(Point(i, 1), replace(nothing, correct=one), np.zeros(n, dtype=int))
                for i, one in enumerate(conditions)
            ),
            (),
            nothing,
            tuple(images[row.relation] if images else (f"{row.relation}/{i}" for i in range(n))),
            (row.relation,),
        )
    return values


def test_differences_are_counted_after_holms_correction():
    made = mfv.Recipe(
        HEAD + "eval e { add = random_like(fv(left)), layer = [0, 1, 2], on = [left, right] }"
    ).plan()

    def right(count: int) -> list[bool]:
        return [i < count for i in range(20)]

    # exact two-sided p-values 2 / 2^count: 6 of 20 gained give 0.031, 8 give 0.0078
    correct = {"left": [right(6), right(8), right(0)], "right": [right(8), right(20), right(8)]}
    (note,) = notes(made, fabricated(made, correct))
    # sorted: 0.000002 ≤ 0.05/6, 0.0078 ≤ 0.05/5, 0.0078, 0.0078 ≤ 0.05/3, 0.031 > 0.05/2
    assert "Of its 6 differences from zero-shot 4 hold" in note["text"]


def test_items_that_share_an_image_are_drawn_together():
    made = mfv.Recipe(HEAD + "eval e { on = [left, right] }").plan()
    pattern = (np.random.default_rng(0).random(40) < 0.6).tolist()
    correct = {"left": [pattern], "right": [pattern]}
    own = result_rows(made, fabricated(made, correct))
    one_picture = [f"picture {i}" for i in range(40)]
    shared = result_rows(made, fabricated(made, correct, dict.fromkeys(correct, one_picture)))
    assert own[:2] == shared[:2]
    # with both items of a picture alike, the second relation brings no certainty
    assert (shared[2].ci_low, shared[2].ci_high) == pytest.approx(
        (own[0].ci_low, own[0].ci_high), abs=0.01
    )
    assert own[2].ci_high - own[2].ci_low < 0.8 * (shared[2].ci_high - shared[2].ci_low)
    twice = [f"picture {i // 2}" for i in range(40)]
    alike = {name: [[True] * 40] for name in correct}
    rows = result_rows(made, fabricated(made, alike, dict.fromkeys(correct, twice)))
    assert (rows[0].ci_low, rows[0].ci_high) == accuracy_interval(np.ones(40), twice)
    assert rows[0].ci_low < accuracy_interval(np.ones(40))[0] - 0.05
