"""Plans measured on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.execute import measure
from mfv_dsl.execute.measure import kind_of, measure_plan
from mfv_dsl.execute.run import perform
from mfv_dsl.execute.settings import RunSettings
from tests.cli.support import mfv_command

RECIPE = """mfv 1
model   m = tiny()
dataset d = scenes(relations=[left, right], count=40)
heads   h = top(4, by=aie, on=[left, right])
defaults { heads = h, trials = 12, items = 12, layer = 2 }
tune t { start = fv(each), epochs = 4, items = all, select_items = 6, batch = 6 }
eval raw { add = fv(each), shots = 0 }
eval trained { add = t(each), shots = 0 }
eval composed { add = fv(left) - fv(right), shots = 0, on = [left] }
eval known { add = fv(left), shots = 0, on = [left], correct_with = 4 }
"""


@pytest.mark.slow
def test_every_kind_is_measured_and_nothing_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predicted seconds are of the order of those that the steps then take (processor time, as
    other work would disturb the clock), and steps of one kind are run once."""
    monkeypatch.setenv("MFV_HOME", str(tmp_path))
    plan = mfv.Recipe(RECIPE).plan()
    clock = type("clock", (), {"perf_counter": staticmethod(measure.time.process_time)})
    monkeypatch.setattr(measure, "time", clock)
    monkeypatch.setattr("mfv_dsl.execute.run.time", clock)
    estimate = measure_plan(plan, (), RunSettings())
    assert not list(tmp_path.rglob("*"))
    assert set(estimate.seconds) == {step.key for step in plan.steps}
    took = perform(plan, None, RunSettings(fresh=True)).seconds
    for operation in ("mediation", "evaluate", "tune", "activations"):
        keys = [step.key for step in plan.steps if step.operation == operation]
        predicted = sum(estimate.seconds[key] for key in keys)
        assert 1 / 3 < predicted / sum(took[key] for key in keys) < 3, operation
    known = measure_plan(plan, {step.key for step in plan.steps}, RunSettings())
    assert sum(known.seconds.values()) == 0


@pytest.mark.slow
def test_probes_and_votes_are_measured_on_few_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MFV_HOME", str(tmp_path))
    head, _, _ = RECIPE.partition("heads ")
    text = head + (
        "defaults { trials = 12, items = 12, on = [left] }\n"
        "eval probed { ablate = top(3, by=probe), shots = 1 }\n"
        "eval voted { classify = top(3, by=votes, shots=0), examples = 12 }\n"
    )
    plan = mfv.Recipe(text).plan()
    assert set(measure_plan(plan, (), RunSettings()).seconds) == {s.key for s in plan.steps}


def test_kinds() -> None:
    """Relation and seed do not make a kind, what is asked does."""
    steps = mfv.Recipe(RECIPE).plan().steps
    kinds = [kind_of(step) for step in steps if step.operation == "evaluate"]
    assert len(kinds) == 6 and len(set(kinds)) == 2  # one asks which items are known
    more = RECIPE.replace("eval raw { add = fv(each)", "eval raw { add = fv(each), scale = [1, 2]")
    more_kinds = {kind_of(s) for s in mfv.Recipe(more).plan().steps if s.operation == "evaluate"}
    assert len(more_kinds) == 3


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFV_HOME", str(tmp_path))
    (tmp_path / "r.mfv").write_text(RECIPE)
    shown = mfv_command("plan", "r.mfv", "--device", "a100", "--json", cwd=tmp_path)
    estimate = json.loads(shown.stdout)["estimate"]
    assert 0 < estimate["total"] == pytest.approx(sum(estimate["seconds"].values()))
    assert "an estimate: " in estimate["basis"]
    slow = mfv_command("plan", "r.mfv", "--rate", "1 MFLOPs", cwd=tmp_path).stdout
    assert "     time   about" in slow and "an estimate: " in slow
    assert "time" not in mfv_command("plan", "r.mfv", cwd=tmp_path).stdout
    both = mfv_command("plan", "r.mfv", "--rate", "1TFLOPs", "--device", "a100", cwd=tmp_path)
    assert both.returncode != 0 and "MFV5383" in both.stderr
    here = mfv_command("plan", "r.mfv", "--device", "cpu", cwd=tmp_path)
    assert "this processor" in here.stdout
