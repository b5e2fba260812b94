"""Small models are run with one thread, whoever runs them beside whatever else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.execute.run import perform
from mfv_dsl.execute.threads import threads_asked, threads_for, threads_of
from mfv_dsl.plan.steps import Plan

RECIPE = "mfv 1\nmodel m = {}\ndataset d = scenes()\neval e {{ items = 2, on = [left] }}\n"


def plan_of(model: str) -> Plan:
    return mfv.Recipe(RECIPE.format(model), "threads").plan()


def test_the_bundled_models_are_small_and_the_paper_s_are_not():
    assert [threads_for(plan_of(model)) for model in ("tiny()", 'tiny("llava")')] == [1, 1]
    assert threads_for(mfv.Recipe.from_file("paper/spatial-4b").plan()) is None


@pytest.mark.parametrize(
    ("said", "threads"), [(None, 1), ("", 1), ("0", 1), ("many", 1), ("3", 3), ("3,1", 3)]
)
def test_a_run_has_the_threads_that_are_asked_for_and_gives_them_back(
    said: str | None, threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("MFV_HOME", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS")
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads_asked() == (threads if said and threads > 1 else None)
    before, seen = torch.get_num_threads(), []

    class Listener:
        def begin(self, label: str, total: int):
            seen.append(torch.get_num_threads())
            return lambda units: None

    torch.set_num_threads(2)
    try:
        perform(plan_of("tiny()"), Listener())
        assert set(seen) == {threads}
        assert torch.get_num_threads() == 2
        with threads_of(mfv.Recipe.from_file("paper/spatial-4b").plan()):
            assert torch.get_num_threads() == (threads if threads > 1 else 2)
    finally:
        torch.set_num_threads(before)
