"""Every step is made under its own settings: held against the methods called by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.execute.operations import tuning
from mfv_dsl.execute.run import RunResult
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.courses import Settings
from mfv_dsl.methods.evaluation import adding, measure
from mfv_dsl.methods.outcomes import Outcomes
from mfv_dsl.methods.tuning import Task
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, above], count=40)
heads h = top(3, on=[left, above], trials=6, shots=3, split=train, corrupt=shuffle, seed=5)
defaults { heads = h }
eval raw {
  add = fv(left, trials=6, shots=3, split=train, seed=6), layer = [1, 2], choose = [layer]
  controls = [random_heads, random_vector, shuffled]
  items = 9, shots = 1, seed = 7, on = [left], split = extract, select_on = train
}
eval again { items = 9, shots = 1, seed = 8, on = [left], split = extract }
eval tied { add = zeros(), layer = [2, 1, 3], choose = [layer], items = 9, on = [left] }
"""
TUNE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above], count=40)
tune t {
  start = fv(left, heads={L2H6, L1H6}, trials=4, shots=1)
  layer = 2, on = [right], variable = head_mask, sparsity = 0.03, weight_decay = 1e-4
  max_norm = 60, kl = 0.2, items = 7, batch = 3, shots = 1, epochs = 2, lr = 0.05, seed = 9
  select_on = extract, select_items = 5
}
save "made" { vectors = [t(right)] }
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return mfv.Recipe(RECIPE).run(tmp_path_factory.mktemp("run"), fresh=True)


@pytest.fixture(scope="module")
def data() -> Scenes:
    return Scenes(relations=["left", "above"], count=40)


def values(ran: RunResult, operation: str, **parameters: Any) -> Any:
    """The value of the one step of ``operation`` that has these parameters."""
    (key,) = (
        step.key
        for step in ran.plan.steps
        if step.operation == operation
        and all(step.parameters.get(name) == value for name, value in parameters.items())
    )
    return ran.values[key]


def asked(model: OpenFlamingo, data: Scenes, prompts: list[Prompt]) -> Outcomes:
    return measure(model, [model.batch(prompts, data)])


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "shuffled"), [(5, False), (6, False), (6, True)])
def test_means(ran: RunResult, tiny: OpenFlamingo, data: Scenes, seed: int, shuffled: bool):
    prompts = draw_prompts(data, "left", "train", 6, 3, seed)
    if shuffled:
        prompts = [corrupt(prompt, "shuffle", data, "train", seed) for prompt in prompts]
    wanted = task_mean(tiny, [tiny.batch(prompts, data)], "left", correct_only=not shuffled)
    found = values(
        ran, "activations", relation="left", seed=seed, corrupt="shuffle" if shuffled else None
    )
    assert found.correct == wanted.correct
    torch.testing.assert_close(found.mean, wanted.mean, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_effects_are_of_the_prompts_answered_correctly_corrupted_by_the_seed(
    ran: RunResult, tiny: OpenFlamingo, data: Scenes
):
    intact = draw_prompts(data, "left", "train", 6, 3, seed=5)
    right = asked(tiny, data, intact).correct
    twins = [
        corrupt(prompt, "shuffle", data, "train", 5)
        for prompt, correct in zip(intact, right, strict=True)
        if correct
    ]
    found = values(ran, "mediation", relation="left")
    np.testing.assert_allclose(found.p_corrupted, asked(tiny, data, twins).p_answer, atol=1e-5)


@pytest.mark.slow
def test_the_heads_of_a_ranking_carry_the_mean_of_its_scores(ran: RunResult):
    heads = values(ran, "top")
    left, above = (values(ran, "mediation", relation=name).aie for name in ("left", "above"))
    mean = (left + above) / 2
    torch.testing.assert_close(heads.scores, torch.from_numpy(mean))
    best = sorted(product(range(10), range(8)), key=lambda head: -mean[head])
    assert list(heads.chosen) == best[:3]


@pytest.mark.slow
def test_controls_are_drawn_by_the_eval_s_seed(ran: RunResult):
    chosen = values(ran, "top").chosen
    others = [head for head in product(range(10), range(8)) if head not in chosen]
    drawn = random.Random(7).sample(others, 3)
    assert set(values(ran, "other_heads").chosen) == set(drawn)
    noise = values(ran, "random_like").residual
    direction = torch.randn(128, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    assert float(noise.double() @ direction / noise.norm() / direction.norm()) > 0.999


@pytest.mark.slow
def test_an_evaluation_is_compared_with_the_same_questions_without_examples(
    ran: RunResult, tiny: OpenFlamingo, data: Scenes
):
    for seed in (7, 8):
        found = values(ran, "evaluate", seed=seed)
        wanted = asked(tiny, data, draw_prompts(data, "left", "extract", 9, 0, seed))
        np.testing.assert_allclose(found.zero_shot.p_answer, wanted.p_answer, atol=1e-5)
        shown = draw_prompts(data, "left", "extract", 9, 1, seed)
        assert found.images == tuple(prompt.query.image for prompt in shown)


@pytest.mark.slow
def test_of_equals_the_first_is_chosen(ran: RunResult):
    """Zero added at any layer: the same answers."""
    found = values(ran, "evaluate", layers=(2, 1, 3))
    first, *others = found.trials
    for trial in others:
        assert (trial.outcomes.p_answer == first.outcomes.p_answer).all()
    assert [condition.at.layer for condition in found.conditions] == [2]


@pytest.mark.slow
def test_choosing_looks_at_its_own_split(ran: RunResult, tiny: OpenFlamingo, data: Scenes):
    found = values(ran, "evaluate", seed=7)
    (key,) = (step.key for step in ran.plan.steps if step.label == "fv(left)")

    def measured(split: str, layer: int | str | None) -> np.ndarray:
        batch = tiny.batch(draw_prompts(data, "left", split, 9, 1, seed=7), data)
        assert layer in (1, 2)
        return measure(tiny, [batch], adding(ran.values[key], layer, 1.0)).p_answer

    assert [trial.at.layer for trial in found.trials] == [1, 2]
    for trial in found.trials:
        wanted = measured("train", trial.at.layer)
        np.testing.assert_allclose(trial.outcomes.p_answer, wanted, atol=1e-5)
    real = found.conditions[0]
    wanted = measured("extract", real.at.layer)
    np.testing.assert_allclose(real.outcomes.p_answer, wanted, atol=1e-5)


@pytest.mark.slow
def test_a_training_is_given_all_that_its_block_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Listens to what training is called with, and lets it train."""
    tasks: list[Task] = []
    usual = tuning.tune_together

    def listening(model: Any, these: Sequence[Task], **options: Any) -> Any:
        tasks.extend(these)
        return usual(model, these, **options)

    monkeypatch.setattr(tuning, "tune_together", listening)
    monkeypatch.chdir(tmp_path)
    mfv.Recipe(TUNE).run(tmp_path / "out", fresh=True)
    (task,) = tasks
    assert isinstance(task.start, Vector) and task.start.heads == ((1, 6), (2, 6))
    assert task.settings == Settings(
        layer=2, epochs=2, lr=0.05, weight_decay=1e-4, max_norm=60, kl=0.2, variable="head_mask",
        sparsity=0.03, seed=9,
    )  # fmt: skip
    data = Scenes(relations=["left", "right", "above"], count=40)
    assert [len(batch) for batch in task.batches] == [3, 3, 1]
    assert prompts_of(task.batches) == draw_prompts(data, "right", "train", 7, 1, 9)
    assert prompts_of(task.validation) == draw_prompts(data, "right", "extract", 5, 1, 9)
    # four of each other relation, in turn
    left, above = (draw_prompts(data, name, "train", 4, 4, 9) for name in ("left", "above"))
    in_turn = [prompt for pair in zip(left, above, strict=True) for prompt in pair]
    assert prompts_of(task.off_task) == in_turn[:7]


def prompts_of(batches: Sequence[PromptBatch]) -> list[Prompt]:
    return [prompt for batch in batches for prompt in batch.prompts]
