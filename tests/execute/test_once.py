"""Nothing twice: pictures are encoded once a run, and the unedited model is asked once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.data.prompts import corrupt
from mfv_dsl.execute.run import RunResult
from mfv_dsl.execute.session import Session
from mfv_dsl.execute.settings import Silence
from mfv_dsl.models.openflamingo import FlamingoPictures
from mfv_dsl.plan.images import new_images
from mfv_dsl.plan.steps import Plan

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, above], count=40)
defaults { heads = {L1H6, L2H6}, trials = 6, items = 30, layer = [1, 2], shots = 2 }
"""
RECIPE = f"""{HEAD}
eval added   {{ add = fv(each), choose = [layer] }}
eval few     {{ }}
eval plain   {{ shots = 0 }}
eval ablated {{ ablate = {{L1H6}} }}
"""


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures were encoded, each time that some were."""
    mfv.clear_models()
    numbers: list[int] = []
    usual = FlamingoPictures.encode

    def counted(self: FlamingoPictures, prepared: list) -> list:
        numbers.append(len(prepared))
        return usual(self, prepared)

    monkeypatch.setattr(FlamingoPictures, "encode", counted)
    return numbers


def run(text: str, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> RunResult:
    monkeypatch.setenv("MFV_HOME", str(home))
    return mfv.Recipe(text, "once").run(folder)


def images_of(plan: Plan) -> set[str]:
    """The images of all prompts that the steps of a plan draw."""
    session, images = Session(plan, Silence()), set[str]()
    for step in plan.steps:
        p = step.parameters
        for split in {p.get("split"), p.get("select_on")} - {None}:
            n = p.get("items", p.get("trials"))
            for prompt in session.prompts(step, n, split, p["shots"]):
                if p.get("corrupt"):
                    prompt = corrupt(prompt, p["corrupt"], session.dataset(step), split, p["seed"])
                images.update(prompt.images)
    return images


@pytest.mark.slow
def test_each_image_of_a_run_is_encoded_once(
    tmp_path: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch
):
    result = run(RECIPE, tmp_path / "a", tmp_path / "home", monkeypatch)
    shown = len(images_of(result.plan))
    assert sum(encoded) == shown > 0
    assert sum(new_images(result.plan, result.plan.steps).values()) >= shown


def planned(text: str) -> tuple[int, int]:
    """How many different images a plan says, and how many its prompts show."""
    plan = mfv.Recipe(text, "counted").plan()
    return sum(new_images(plan, plan.steps).values()), len(images_of(plan))


@pytest.mark.parametrize(
    "evals",
    [
        "eval a { shots = 0 }",
        "eval a { shots = 3, items = 1, seed = 3 }",
        "eval a { shots = 0, items = 30 } eval b { shots = 0, items = 40 }",
        "eval a { add = zeros(), shots = 0, choose = [layer] }",
    ],
)
def test_a_plan_knows_its_images(evals: str):
    said, shown = planned(HEAD + evals.replace(" eval", "\neval"))
    assert said == shown


@pytest.mark.parametrize(
    "evals",
    [
        "eval a { shots = [0, 2, 4] }",
        "eval a { add = fv(each) }",
        "eval a { add = fv(each, heads=top(3, corrupt=mix)) }",
        "eval a { add = fv(each, heads=top(3, corrupt=same_images)), correct_with = 3 }",
        "eval a { add = fv(each, heads=top(3, corrupt=none)), seed = 7 } eval b { seed = 8 }",
    ],
)
def test_a_plan_says_no_fewer_images_than_there_are(evals: str):
    said, shown = planned(HEAD + evals.replace(" eval", "\neval"))
    assert shown <= said <= 2 * shown


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "most"), [("quickstart", 4480), ("paper/spatial-4b", 13000)])
def test_of_the_bundled_recipes(recipe: str, most: int):
    plan = mfv.Recipe.from_file(recipe).plan()
    assert sum(new_images(plan, plan.steps).values()) == most
    if recipe == "quickstart":
        assert len(images_of(plan)) == 3577


@pytest.mark.slow
def test_evals_find_the_unedited_answers_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The steps of one run serve the next, and values are to the bit those of evals alone, in
    whatever order."""
    whole = run(RECIPE, tmp_path / "whole", tmp_path / "home", monkeypatch)
    head, *evals = RECIPE.replace("eval ", "\0eval ").split("\0")
    alone = {}
    for number, text in enumerate(reversed(evals)):
        mfv.clear_models()
        home = tmp_path / f"home{number}"
        alone |= run(head + text, tmp_path / f"{number}", home, monkeypatch).values
    assert set(alone) == set(whole.values)
    for step in whole.plan.steps:
        if step.operation in ("evaluate", "answers"):
            there, here = alone[step.key], whole.values[step.key]
            for one, other in zip(outcomes_of(there), outcomes_of(here), strict=True):
                np.testing.assert_array_equal(one.p_answer, other.p_answer)
                np.testing.assert_array_equal(one.said, other.said)
    more = head + "".join(evals) + "eval other { ablate = {L2H6} }\n"
    again = run(more, tmp_path / "more", tmp_path / "home", monkeypatch)
    new = [step.operation for step in again.plan.steps if step.key not in whole.values]
    assert new == ["head_set", "evaluate", "evaluate"]
    few = whole.plan[next(row.step for row in whole.plan.rows if row.eval == "few")]
    asked = whole.values[few.references["unedited"]]
    (condition,) = whole.values[few.key].conditions
    np.testing.assert_array_equal(condition.outcomes.p_answer, asked.outcomes.p_answer)
    assert len(asked.names) == 30


def outcomes_of(value):
    """All outcomes in the value of a step."""
    if hasattr(value, "names"):
        return [value.outcomes]
    return [value.zero_shot, *(one.outcomes for one in (*value.conditions, *value.trials))]
