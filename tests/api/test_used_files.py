"""Recipes that use other files, from the check to the folder of a run."""

from __future__ import annotations

import json

import pytest

import mfv_dsl as mfv
from mfv_dsl.library.folder import Library

COMMON = """mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right], count=60)
heads few = {L1H2, L2H3}
defaults { trials = 5 }
"""
MAIN = """mfv 1
use "{path}"
eval zero {{ ablate = few, on = [left], items = 5 }}
save "library" {{ vectors = [fv(left, heads=few)] }}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "common.mfv").write_text(COMMON)
    main = tmp_path / "main.mfv"
    main.write_text(MAIN.format(path="parts/common.mfv"))
    return main


@pytest.mark.slow
def test_the_folder_of_a_run_has_all_files_and_runs_by_itself(recipe, tmp_path, monkeypatch):
    result = mfv.run(recipe)
    folder = result.folder
    assert (folder / "recipe.mfv").read_text() == recipe.read_text()
    assert (folder / "parts" / "common.mfv").read_text() == COMMON
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["used"].keys() == {"parts/common.mfv"}
    again = mfv.Recipe.from_file(folder / "recipe.mfv")
    assert [step.key for step in again.plan().steps] == [step.key for step in result.plan.steps]
    text = (Library(tmp_path / "library").root / "main.mfv").read_text()
    alone = mfv.Recipe(text)
    assert [step.key for step in alone.plan().steps] == [step.key for step in result.plan.steps]


@pytest.mark.slow
def test_a_changed_file_is_noticed(recipe, tmp_path):
    first = mfv.run(recipe)
    (tmp_path / "parts" / "common.mfv").write_text(COMMON.replace("L2H3", "L3H3"))
    second = mfv.run(recipe)
    assert first.plan.steps != second.plan.steps
    assert (second.folder / "parts" / "common.mfv").read_text() != COMMON
    comment = COMMON + "# only a comment\n"
    (tmp_path / "parts" / "common.mfv").write_text(comment)
    third = mfv.run(recipe)
    assert (third.folder / "parts" / "common.mfv").read_text() == comment


@pytest.mark.slow
def test_a_file_elsewhere_is_written_into_the_recipe(recipe, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    main = inner / "main.mfv"
    main.write_text(MAIN.format(path="../parts/common.mfv"))
    run = mfv.run(main)
    assert (run.folder / "used" / "common.mfv").read_text() == COMMON
    again = mfv.Recipe.from_file(run.folder / "recipe.mfv")
    assert "use" not in again.text.split()
    assert [step.key for step in again.plan().steps] == [step.key for step in run.plan.steps]


def test_a_file_of_another_is_not_written_over(recipe):
    folder = recipe.parent / "out"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "common.mfv").write_text("mine")
    with pytest.raises(mfv.MfvError, match="no run has written"):
        mfv.run(recipe, out=folder)
    assert (folder / "parts" / "common.mfv").read_text() == "mine"


def test_in_a_text_paths_are_from_the_current_folder(recipe):
    text = MAIN.format(path="parts/common.mfv")
    assert mfv.Recipe(text).plan().steps == mfv.Recipe.from_file(recipe).plan().steps
