"""Runs with sweeps: rows by the values, means over seeds, what is trained together, and files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.execute.rows import ResultRow
from mfv_dsl.execute.run import RunResult
from mfv_dsl.methods.draws import Draw, accuracy_over_draws, difference_over_draws
from mfv_dsl.plan.groups import in_groups

pytestmark = pytest.mark.slow  # one run of a few seconds, which all of these look at

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=60)
defaults { trials = 6, items = 30, shots = 2, layer = 4 }
"""
RECIPE = f"""{HEAD}
sweep draw = 1..3
sweep size = [2, 5]
eval few {{ shots = 1 }}
eval drawn {{
  add = fv(each, heads=random(size, seed=draw), seed=draw), scale = [0.5, 1], against = few
}}
eval fresh {{ add = fv(left, heads={{L2H6}}), seed = [1, 2], on = [left] }}
eval chosen {{
  add = [fv(each, heads={{L2H6}}, seed=draw), zeros()], layer = [1, 9], choose = [layer, add]
  on = [left]
}}
tune tuned {{
  start = fv(each, heads={{L2H6}}), layer = 2, lr = [0.1, 1], seed = [1, 2], epochs = 2
  items = 8, select_items = 8, on = [left]
}}
eval trained {{ add = tuned(each), on = [left] }}
save "made" {{ vectors = [fv(left, heads={{L2H6}}, seed=draw), fv(right, heads={{L2H6}})] }}
report {{
  norm(fv(left, heads={{L2H6}}, seed=draw))
  norm(fv(right, heads={{L2H6}}))
}}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return mfv.Recipe(RECIPE, "e").run(folder / "out")


def rows(ran: RunResult, name: str, **having: object) -> list[ResultRow]:
    def fits(row: ResultRow) -> bool:
        known = {**row.to_json(), **row.axes}
        return all(known.get(what) == value for what, value in having.items())

    return [row for row in ran.rows if row.eval == name and fits(row)]


def test_every_reading_has_the_numbers_of_one_alone(ran: RunResult):
    single = mfv.Recipe(
        f"{HEAD}eval one {{ add = fv(each, heads=random(5, seed=2), seed=2), scale = [0.5, 1] }}",
        "f",
    ).run(ran.folder.parent / "single")
    of_two = rows(ran, "drawn", draw=2, size=5)
    assert len(single.rows) == len(of_two) == 6
    for here, there in zip(single.rows, of_two, strict=True):
        assert (here.accuracy, here.ci_low, here.difference_high, here.mean_p_answer) == (
            there.accuracy, there.ci_low, there.difference_high, there.mean_p_answer,
        )  # fmt: skip


def test_seeds_have_a_mean_and_other_sweeps_have_none(ran: RunResult):
    means = rows(ran, "drawn", draw="mean")
    assert len(means) == 2 * 2 * 3  # sizes, scales, relations and all of them
    assert {row.axes["size"] for row in means} == {2, 5}
    assert not rows(ran, "drawn", size="mean")
    for mean in means:
        alike = [
            row
            for row in rows(ran, "drawn", size=mean.axes["size"], scale=mean.scale)
            if row.relation == mean.relation and row.draws is None
        ]
        assert len(alike) == mean.draws == 3
        accuracies = [row.accuracy for row in alike]
        assert mean.accuracy == pytest.approx(np.mean(accuracies))
        assert mean.spread == pytest.approx(np.std(accuracies, ddof=1))
        assert mean.n == alike[0].n
        assert mean.difference == pytest.approx(np.mean([row.difference for row in alike]))
        gains = [row.against["few"].difference for row in alike]
        assert mean.against["few"].difference == pytest.approx(np.mean(gains))
        assert mean.ci_low <= mean.accuracy <= mean.ci_high
        assert sum(mean.answers.values()) + (mean.answers_other or 0) == pytest.approx(
            1 if mean.relation else 0
        )


def test_the_interval_of_a_mean_is_that_of_its_draws(ran: RunResult):
    (mean,) = rows(ran, "drawn", draw="mean", size=2, scale=1, relation=None)
    by_draw: dict[object, list[tuple[np.ndarray, list[str], np.ndarray]]] = {}
    for row in ran.plan.rows:
        axes = {axis.name: axis.value for axis in row.axes}
        if row.eval == "drawn" and axes["size"] == 2:
            evaluation = ran.values[row.step]
            (condition,) = [c for c in evaluation.conditions if c.at.scale == 1]
            gain = condition.outcomes.correct.astype(float) - evaluation.zero_shot.correct
            by_draw.setdefault(axes["draw"], []).append(
                (condition.outcomes.correct.astype(float), list(evaluation.images), gain)
            )

    def draws(place: int) -> list[Draw]:
        return [
            Draw(
                np.concatenate([part[place] for part in parts]),
                [image for part in parts for image in part[1]],
                [n for n, part in enumerate(parts) for _ in part[1]],
            )
            for parts in by_draw.values()
        ]

    assert (mean.ci_low, mean.ci_high) == accuracy_over_draws(draws(0))
    assert (mean.difference_low, mean.difference_high) == difference_over_draws(draws(2))


def test_the_seed_of_an_eval_draws_other_items(ran: RunResult):
    images = [ran.values[row.step].images for row in ran.plan.rows if row.eval == "fresh"]
    assert images[0] != images[1]
    assert [row.axes["seed"] for row in rows(ran, "fresh")] == [1, 2, "mean"]


def test_what_is_chosen_may_differ_from_draw_to_draw(ran: RunResult):
    (mean,) = rows(ran, "chosen", draw="mean")
    assert (mean.layer, mean.vector) == ("chosen", "chosen")
    assert {choice["axes"]["draw"] for choice in ran.choices if choice["eval"] == "chosen"} == {
        1, 2, 3,
    }  # fmt: skip


def test_vectors_of_one_tune_are_trained_together(ran: RunResult):
    steps = ran.plan.steps
    groups = [group for group in in_groups(steps) if group[0].operation == "tune"]
    assert [len(group) for group in groups] == [4]
    assert [dict(row.axes) for row in ran.tunes] == [
        {"tuned.lr": lr, "tuned.seed": seed} for lr in (0.1, 1) for seed in (1, 2)
    ]
    assert len({row.nll for row in ran.tunes}) == 4
    curves = sorted(path.parent.name for path in (ran.folder / "tune").rglob("*.json"))
    assert curves == [f"tuned-lr-{lr}-seed-{seed}" for lr in (0.1, 1) for seed in (1, 2)]


def test_a_tune_that_is_swept_over_seeds_gives_means(ran: RunResult):
    found = [(row.axes["tuned.lr"], row.axes["tuned.seed"]) for row in rows(ran, "trained")]
    assert found == [(0.1, 1), (0.1, 2), (1, 1), (1, 2), (0.1, "mean"), (1, "mean")]
    assert {row.layer for row in rows(ran, "trained")} == {4}  # that of `defaults`


def test_saved_vectors_are_named_by_the_values_and_tell_of_their_own_rows(ran: RunResult):
    assert sorted(path.stem for path in ran.saved if path.suffix == ".safetensors") == [
        "left_draw_1", "left_draw_2", "left_draw_3", "right",
    ]  # fmt: skip


def test_numbers_of_reports_say_the_values(ran: RunResult):
    numbers = json.loads((ran.folder / "results.json").read_text())["numbers"]
    assert [(row["number"], row.get("axes")) for row in numbers] == [
        *(("norm(fv(left, heads={L2H6}, seed=draw))", {"draw": draw}) for draw in (1, 2, 3)),
        ("norm(fv(right, heads={L2H6}))", None),
    ]


def test_tables_have_a_column_and_a_field_for_each_sweep(ran: RunResult):
    lines = list(csv.DictReader((ran.folder / "results.csv").open()))
    assert {line["draw"] for line in lines if line["eval"] == "drawn"} == {"1", "2", "3", "mean"}
    assert all(line["draw"] == "" for line in lines if line["eval"] == "few")
    table = ran.table("draw", "size", where={"eval": "drawn", "relation": "all", "scale": "1"})
    assert (table.columns, [line[0] for line in table.lines]) == (
        ("draw", "2", "5"), ["1", "2", "3", "mean"],
    )  # fmt: skip
    spread = ran.table("draw", "size", "spread", where={
        "eval": "drawn", "relation": "all", "scale": "1", "draw": "mean",
    })  # fmt: skip
    assert len(spread.lines) == 1
    conditions = [line[0] for line in ran.table().lines]
    assert "drawn, scale 1, draw mean, size 5" in conditions


def test_a_reading_is_bound_by_its_values(ran: RunResult):
    model = mfv.load_model(ran.plan.models["m"].constructor + "()")
    plan = mfv.Recipe(RECIPE, "e").plan()
    with pytest.raises(mfv.MfvError, match="say which `draw` of `drawn`"):
        plan.bind(model, "drawn", "left", scale=1)
    with pytest.raises(mfv.MfvError, match="has no sweep `drw`"):
        plan.bind(model, "drawn", "left", scale=1, axes={"drw": 1})
    edits = {
        draw: plan.bind(model, "drawn", "left", scale=1, axes={"draw": draw, "size": 5}).edits
        for draw in (1, 2)
    }
    assert not edits[1][0].value.equal(edits[2][0].value)


def test_results_read_from_a_file_are_the_same(ran: RunResult):
    from mfv_dsl.execute.rows import Results

    data = json.loads((ran.folder / "results.json").read_text())
    assert Results.of_json(data).to_json() == data
