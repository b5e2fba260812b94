"""Steps that are performed together: which, in what order, and what it costs where one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.execute.operations import TOGETHER, tuning
from mfv_dsl.execute.run import perform
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.methods.tuning import Tuned
from mfv_dsl.plan.groups import in_groups
from mfv_dsl.plan.steps import Plan, Step

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above], count=40)
defaults { heads = {L2H6, L3H6}, trials = 6, items = 8, layer = 1, lr = 0.4, epochs = 2, batch = 4 }
"""
SHORT = "items = 8, select_items = 6"


def plan_of(blocks: str, *only: str) -> Plan:
    return mfv.Recipe(HEAD + blocks).plan(only or None)


def labels(groups: Sequence[Sequence[Step]]) -> list[list[str]]:
    return [[step.label for step in group] for group in groups]


def trained(groups: Sequence[Sequence[Step]]) -> list[list[str]]:
    """The labels of trainings, by groups."""
    return labels([group for group in groups if group[0].operation == "tune"])


def test_trainings_at_one_layer_come_together_and_after_what_they_need():
    plan = plan_of(f"""
    tune a {{ start = fv(each), {SHORT}, on = [left, right] }}
    tune b {{ start = random, {SHORT}, seed = 3, on = [left] }}
    tune other {{ start = random, {SHORT}, layer = 2, on = [left] }}
    tune after {{ start = a(left), {SHORT}, variable = scale, on = [left] }}
    """)
    groups = list(in_groups(plan.steps))
    assert trained(groups) == [
        ["a(left)", "a(right)", "b(left)"], ["other(left)"], ["after(left)"],
    ]  # fmt: skip
    steps = [step for group in groups for step in group]
    assert sorted(step.key for step in steps) == sorted(step.key for step in plan.steps)
    seen: set[str] = set()
    for group in groups:
        assert all(set(step.input_keys) <= seen for step in group)
        seen |= {step.key for step in group}


def test_what_is_no_training_comes_alone():
    evals = plan_of("eval e { on = [left, right] }")
    assert all(len(group) == 1 for group in in_groups(evals.steps))


@pytest.mark.slow
def test_one_that_is_missing_is_made_again_in_its_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """To the bit as before, and what the store has stays as it is."""
    monkeypatch.setenv("MFV_HOME", str(tmp_path))
    plan = plan_of(f"tune a {{ start = random, {SHORT}, on = [left, right, above] }}")
    first = perform(plan).values
    missing, *others = [row.step for row in plan.tunes]
    (path,) = tmp_path.glob(f"steps/*/{missing}.safetensors")
    path.unlink()
    files = {file: file.stat().st_mtime_ns for file in tmp_path.glob("steps/*/*.safetensors")}
    again = perform(plan)
    assert again.cached == {step.key for step in plan.steps} - {missing}
    for key in (missing, *others):
        assert torch.equal(first[key].residual, again.values[key].residual)
    assert path.exists()
    assert all(file.stat().st_mtime_ns == moment for file, moment in files.items())


class Told:
    """Notes what a run tells."""

    def __init__(self) -> None:
        self.units: dict[str, tuple[int, list[int]]] = {}

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        self.units[label] = (total, [])
        return self.units[label][1].append


@pytest.mark.slow
def test_a_vector_does_not_depend_on_what_is_trained_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Within a millionth of its length: products of matrices round by their number of rows."""
    text = f"tune a {{ start = fv(each), {SHORT}, on = [left, above] }}"
    results = []
    for folder, blocks in (("one", text.replace(", above", "")), ("two", text)):
        monkeypatch.setenv("MFV_HOME", str(tmp_path / folder))
        plan, told = plan_of(blocks), Told()
        performance = perform(plan, told)
        results.append(performance.values[plan.tunes[0].step])
        label = "a(left)" if folder == "one" else "a(left), a(above)"
        total, units = told.units[label]
        assert total == sum(units) == 4 * len(plan.tunes)
        assert all(performance.seconds[row.step] > 0 for row in plan.tunes)
    alone, together = results
    assert isinstance(alone, Tuned) and isinstance(together, Tuned)
    apart = (alone.residual - together.residual).norm() / alone.residual.norm()
    assert apart < 1e-6
    assert alone.training.chosen == together.training.chosen


@pytest.mark.slow
def test_one_that_fails_costs_that_one(tmp_path: Path):
    text = f"""
    tune a {{ start = fv(each), {SHORT}, on = [left, above] }}
    tune wild {{ start = fv(each), {SHORT}, lr = 1e30, on = [left, right] }}
    eval e {{ add = a(each), on = [left, above] }}
    eval w {{ add = wild(left), on = [left] }}
    """
    result = mfv.Recipe(HEAD + text).run(tmp_path / "out", fresh=True)
    assert [(row.tune, row.relation) for row in result.tunes] == [("a", "left"), ("a", "above")]
    errors = {(row.eval, row.relation): row.error for row in result.rows if row.relation}
    assert errors["w", "left"]["code"] == "MFV5314"
    assert not errors["e", "left"] and not errors["e", "above"]
    with pytest.raises(mfv.MfvError, match="MFV5314"):
        perform(result.plan, settings=RunSettings(fresh=True))


@pytest.mark.slow
def test_a_group_that_fails_as_a_whole_is_performed_one_by_one(monkeypatch: pytest.MonkeyPatch):
    calls = []

    def narrow(session: Any, steps: Sequence[Step], inputs: Any) -> Any:
        calls.append(len(steps))
        raise torch.OutOfMemoryError

    monkeypatch.setitem(TOGETHER, "tune", narrow)
    plan = plan_of(f"tune a {{ start = random, {SHORT}, on = [left, above] }}")
    performance = perform(plan, settings=RunSettings(fresh=True))
    assert calls == [2] and not performance.failures
    assert all(isinstance(performance.values[row.step], Tuned) for row in plan.tunes)


@pytest.mark.slow
def test_prompts_that_fill_the_memory_are_taken_a_few_relations_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
):
    sizes: list[int] = []
    usual = tuning.tune_together

    def counted(model: Any, tasks: Any, **options: Any) -> Any:
        sizes.append(len(tasks))
        return usual(model, tasks, **options)

    monkeypatch.setattr(tuning, "tune_together", counted)
    plan = plan_of(f"tune a {{ start = random, {SHORT}, on = [left, above, right] }}")
    found = perform(plan, settings=RunSettings(fresh=True)).values
    monkeypatch.setattr(tuning, "free_bytes", lambda device: 0)
    narrow = perform(plan, settings=RunSettings(fresh=True)).values
    assert sizes == [3, 1, 1, 1]
    for row in plan.tunes:
        one, two = found[row.step].residual, narrow[row.step].residual
        assert (one - two).norm() < 1e-5 * one.norm()


@pytest.mark.slow
def test_a_traced_run_takes_one_at_a_time(tmp_path: Path):
    """So that what a step touched is told from what others did."""
    text = f"tune a {{ start = random, {SHORT}, on = [left, above] }}"
    plan = plan_of(text)
    performance = perform(plan, settings=RunSettings(fresh=True, trace=True))
    touches = [performance.touches[row.step] for row in plan.tunes]
    assert touches[0] and len(touches[0]) == len(touches[1])
