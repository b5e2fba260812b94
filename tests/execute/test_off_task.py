"""What evals write, measured off its task: against forwards of the models' own libraries with a
plain hook, in rows and files, with controls, seeds and failures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from torch.nn.functional import kl_div

import mfv_dsl as mfv
from mfv_dsl.data.off_task import OFF_TASKS, draw_off_task
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.execute.conditions import Point
from mfv_dsl.execute.off_task import OffTaskMeasurement, off_task_mean, off_task_row
from mfv_dsl.execute.run import RunResult
from mfv_dsl.findings import findings
from mfv_dsl.lang.entries import OFF_TASK_KINDS, OFF_TASKS_BY_CELL
from mfv_dsl.methods.intervals import accuracy_interval, difference_interval
from mfv_dsl.methods.means import divergence_interval
from mfv_dsl.methods.off_task import OffTaskCost
from tests.engine.plain_hooks import LAYER, Plain

RELATIONS = ("left", "right", "above", "below")
HEAD = """mfv 1
model m = {model}
dataset d = scenes(relations=[left, right, above, below], count=40)
defaults {{
  items = 6
  trials = 6
  heads = {{L0H1, L1H0}}
  correct_only = false
  off_task_items = 7
}}
"""


def recipe(attributes: str, model: str = "tiny()", more: str = "") -> mfv.Recipe:
    return mfv.Recipe(HEAD.format(model=model) + f"eval raw {{\n{attributes}\n}}\n{more}", "r")


WRITES = {
    "last": f"add = 20 * normalize(fv(each))\nlayer = {LAYER}\nscale = 2\n",
    "all": f"add = 20 * normalize(fv(each))\nlayer = {LAYER}\nscale = 2\nposition = all\n",
    "text": f'add = 20 * normalize(fv(each))\nlayer = {LAYER}\nscale = 2\nposition = ". A"\n',
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flamingo", "llava"])
@pytest.mark.parametrize(("where", "kind"), [("last", "where"), ("all", "named"),
                                             ("text", "few_shot")])  # fmt: skip
def test_divergences_are_those_of_plain_forwards(name: str, where: str, kind: str, tmp_path: Path):
    model = "tiny()" if name == "flamingo" else 'tiny("llava")'
    asked = f"metrics = [off_task_kl]\non = [left]\noff_task = {kind}\n"
    ran = recipe(WRITES[where] + asked, model).run(tmp_path)
    (row,) = ran.plan.rows
    measured = ran.values[row.off_task]
    assert isinstance(measured, OffTaskMeasurement)
    vector = ran.values[ran.plan[row.step].inputs["real"]].residual
    scenes = Scenes(relations=RELATIONS, count=40)
    plain = Plain(name, scenes)
    prompts = draw_off_task(scenes, kind, RELATIONS[1:], "test", 7)
    position = {"last": "last", "all": "all", "text": ". A"}[where]
    divergences, before, after = [], [], []
    for prompt in prompts:
        p, q = (
            plain.logits(prompt, change, "lm.resid", position).double().log_softmax(-1)
            for change in (lambda states: states, lambda states: states + 2 * vector)
        )
        divergences.append(float(kl_div(q, p, reduction="sum", log_target=True)))
        answer = plain.model.batch([prompt], scenes).answers[0]
        before.append(bool(p.argmax() == answer))
        after.append(bool(q.argmax() == answer))
    (cost,) = measured.costs
    np.testing.assert_allclose(cost.kl_per_prompt, divergences, atol=2e-5, rtol=1e-3)
    assert cost.correct_before.tolist() == before and cost.correct_after.tolist() == after
    assert cost.kl_mean > 1e-5
    assert measured.images == tuple(prompt.query.image for prompt in prompts)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    attributes = """add = fv(each)
layer = [0, 1]
choose = [layer]
controls = [random_vector]
metrics = [accuracy, off_task_kl, off_task_accuracy]
seed = [1, 2]
on = [left, above]"""
    more = "eval plain { metrics = [off_task_kl] }\neval gone {\n  ablate = {L1H0}\n" \
        "  metrics = [off_task_accuracy]\n  on = [left]\n}\n"  # fmt: skip
    return recipe(attributes, more=more).run(tmp_path_factory.mktemp("run"))


@pytest.mark.slow
def test_rows_are_of_the_conditions_that_were_measured(ran: RunResult):
    for row in ran.plan.rows:
        if row.eval == "plain":
            assert row.off_task is None
            continue
        evaluation, measured = ran.values[row.step], ran.values[row.off_task]
        assert measured.points == tuple(one.at for one in evaluation.conditions)
        for point in measured.points:
            cost = measured.of(point)
            found = off_task_row([(measured, point)])
            assert found.n == 7 and found.kl == pytest.approx(cost.kl_per_prompt.mean())
            bounds = divergence_interval(cost.kl_per_prompt, measured.images)
            assert (found.kl_low, found.kl_high) == pytest.approx(bounds)
            assert found.before == cost.correct_before.mean()
            low, high = accuracy_interval(cost.correct_after, measured.images)
            assert (found.accuracy_low, found.accuracy_high) == pytest.approx((low, high))
            change = cost.correct_after.astype(float) - cost.correct_before
            low, high = difference_interval(change, measured.images)
            assert (found.change_low, found.change_high) == pytest.approx((low, high))
            shown = [
                other.off_task for other in ran.rows
                if (other.eval, other.relation, other.control) == (
                    row.eval, row.relation, point.control)
                and list(other.axes.values()) == [axis.value for axis in row.axes]
            ]  # fmt: skip
            assert found in shown
    pooled = [row for row in ran.rows if row.relation is None and row.off_task is not None]
    assert {row.off_task.n for row in pooled} == {14}


@pytest.mark.slow
def test_means_over_seeds_and_files(ran: RunResult):
    rows = {
        (row.relation, row.axes.get("seed"), row.control): row
        for row in ran.rows if row.eval == "raw"
    }  # fmt: skip
    mean = rows["left", "mean", ""].off_task
    single = [rows["left", seed, ""].off_task for seed in (1, 2)]
    assert mean.kl == pytest.approx(np.mean([one.kl for one in single]))
    assert mean.accuracy == pytest.approx(np.mean([one.accuracy for one in single]))
    assert mean.change == pytest.approx(mean.accuracy - mean.before)
    assert mean.kl_low <= mean.kl <= mean.kl_high and mean.change_low <= mean.change
    with open(ran.folder / "results.csv") as file:
        lines = list(csv.DictReader(file))
    assert {line["off_task_kind"] for line in lines if line["eval"] == "raw"} == {"few_shot"}
    assert {line["off_task_kl"] for line in lines if line["eval"] == "plain"} == {""}
    said = json.loads((ran.folder / "results.json").read_text())
    assert said["rows"][0]["off_task"]["n"] == 7
    table = ran.table(rows="control", cols="relation", value="off_task_kl",
                      where={"eval": "raw", "seed": "mean", "relation": "left"})  # fmt: skip
    assert "[" in str(table)


@pytest.mark.slow
def test_it_stands_in_a_step_of_its_own(ran: RunResult, tmp_path: Path):
    """The keys of evaluations do not know of it; options of it are in its key."""
    plan = recipe(WRITES["last"] + "on = [left]").plan()
    asked = recipe(WRITES["last"] + "on = [left]\nmetrics = [off_task_kl]").plan()
    assert {step.key for step in plan.steps} < {step.key for step in asked.steps}
    keys = {asked.rows[0].off_task}
    for more in ("off_task_items = 8", "off_task = named", "split = validation", "seed = 5",
                 "scale = 3"):  # fmt: skip
        text = WRITES["last"].replace("scale = 2\n", "") if "scale" in more else WRITES["last"]
        other = recipe(text + f"on = [left]\nmetrics = [off_task_kl]\n{more}").plan()
        keys.add(other.rows[0].off_task)
    assert len(keys) == 6
    again = ran.folder.parent / "again"
    twice = mfv.Recipe((ran.folder / "recipe.mfv").read_text(), "r").run(again)
    assert twice.rows == ran.rows and twice.cached == len(twice.plan.steps)


def test_kinds_are_those_that_can_be_drawn():
    assert {name: kind.shots for name, kind in OFF_TASKS.items()} == OFF_TASK_KINDS
    assert tuple(name for name, kind in OFF_TASKS.items() if kind.by_cell) == OFF_TASKS_BY_CELL


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("add = blend([fv(left), fv(above)])\nlayer = 1\nmetrics = [off_task_kl]", "MFV5353"),
        ("add = fv(each)\nlayer = 1\noff_task = named", "MFV2022"),
        ("add = fv(each)\nlayer = 1\noff_task_items = 3", "MFV2022"),
        ("add = fv(each)\nlayer = 1\nmetrics = [off_task_kl]\noff_task_items = 0", "MFV4003"),
        ("add = fv(each)\nlayer = 1\nmetrics = [off_task_kl]\noff_task_items = 900", "MFV7110"),
        ("add = fv(each)\nlayer = 1\nmetrics = [off_task_kl]\noff_task = elsewhere", "MFV"),
    ],
)
def test_what_cannot_be_measured_is_said(text: str, code: str, tmp_path: Path):
    file = tmp_path / "r.mfv"
    file.write_text(HEAD.format(model="tiny()") + f"eval raw {{\n{text}\n}}\n")
    assert any(found.code.startswith(code) for found in findings(file))


def test_a_dataset_of_one_relation_has_nothing_off_its_task(tmp_path: Path):
    file = tmp_path / "r.mfv"
    file.write_text(
        "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left])\n"
        "eval raw {\n  add = fv(left)\n  layer = 1\n  metrics = [off_task_kl]\n}\n"
    )
    assert [found.code for found in findings(file)] == ["MFV5354"]


def test_seeds_without_prompts_in_common():
    """The interval of the mean divergence is Student's of the seeds' means, where each seed has
    prompts of its own and all differences are between seeds."""
    levels = np.array([1.0, 1.5, 3.0])
    draws = []
    for seed, level in enumerate(levels):
        cost = OffTaskCost(np.full(20, level), np.ones(20, bool), np.ones(20, bool))
        images = tuple(f"{seed}-{n}" for n in range(20))
        draws.append([(OffTaskMeasurement("named", (Point(),), (cost,), images), Point())])
    found = off_task_mean(draws, [["hash"]] * 3)
    half = 4.302653 * levels.std(ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom
    assert found.kl == pytest.approx(levels.mean())
    assert found.kl_high - found.kl == pytest.approx(half, rel=1e-5)
