"""The recipes of the paper: each plans without the model's files, and its twin on the bundled
model, which its own head comment says how to run, runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mfv_dsl.api import Recipe, bundled

RECIPES = sorted((bundled("recipes") / "paper").glob("*.mfv"))
#: counts that keep a twin short; they come behind those of the head comment
SHORT = ("defaults.trials=12", "defaults.items=12")


def twin(path: Path) -> tuple[str, ...]:
    """The options that the recipe's comment gives for the bundled model."""
    comment = re.search(r"^#   (mfv run .*(?:\n#     .*)*)", path.read_text(), re.M)
    assert comment is not None
    words = shlex.split(re.sub(r"\n#\s+", " ", comment[1]))
    assert words[:3] == ["mfv", "run", f"paper/{path.stem}"]
    assert set(words[3::2]) == {"--set"}
    return tuple(words[4::2])


def test_there_are_recipes_for_every_experiment() -> None:
    names = {path.stem for path in RECIPES}
    assert names == {"spatial-4b", "mediation", "heads", "layers", "shots", "tuning",
                     "composition", "novel"}  # fmt: skip


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_plans_for_the_real_model_without_its_files(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    recipe = Recipe.from_file(path)
    (model,) = recipe.checked.models.values()
    assert model.arguments["path"] == "openflamingo/OpenFlamingo-4B-vitl-rpj3b-langinstruct"
    assert (model.facts.n_layers, model.facts.n_heads) == (32, 32)
    assert recipe.checked.warnings == ()
    plan = recipe.plan()
    assert plan.rows and not plan.warnings


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_its_twin_runs_on_the_bundled_model(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what it saves goes there
    recipe = Recipe.from_file(path, (*twin(path), *SHORT))
    full = Recipe.from_file(path)
    assert [row.eval for row in recipe.plan().rows] == [row.eval for row in full.plan().rows]
    result = recipe.run()
    relations = {(row.eval, row.relation) for row in result.plan.rows}
    assert relations <= {(row.eval, row.relation) for row in result.rows}
    assert all(0 <= row.accuracy <= 1 and row.n >= 12 for row in result.rows)
    if any(row.eval == "few_shot" for row in result.rows) and path.stem != "novel":
        by_name = {row.eval: row.accuracy for row in result.rows if row.relation == "left"}
        assert by_name["few_shot"] > 0.8
