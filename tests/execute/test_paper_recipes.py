"""The recipes of the paper: each plans without the model's files, and its twin on the bundled
model, which its own head comment says how to run, runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.places import bundled
from mfv_dsl.execute.results import ResultRow

RECIPES = sorted((bundled("recipes") / "paper").glob("*.mfv"))
#: counts that keep a twin short; they come behind those of the head comment
SHORT = ("defaults.trials=12", "defaults.items=12")
#: by recipe and eval: over all relations the best condition is at least as accurate as the first
#: number, the worst no more than the second
SHOWN = {
    "spatial-4b": {"zero_shot": (0.05, 0.4), "few_shot": (0.9, 1), "raw": (0.85, 1),
                   "trained": (0.85, 1)},
    "mediation": {"few_shot": (0.9, 1), "without_them": (0.75, 0.6), "at_random": (0.9, 1)},
    "heads": {"zero_shot": (0.05, 0.4), "raw": (0.9, 1)},
    "layers": {"zero_shot": (0.05, 0.4), "every_layer": (0.9, 0.4), "scales": (0.9, 0.65),
               "head_by_head": (0.8, 1)},
    "shots": {"zero_shot": (0.05, 0.4), "examples": (0.9, 1), "from_two": (0.85, 1),
              "from_four": (0.9, 1), "from_eight": (0.9, 1)},
    "tuning": {"zero_shot": (0.05, 0.4), "few_shot": (0.9, 1), "raw": (0.85, 1),
               "trained": (0.85, 1), "noise": (0.05, 0.4)},
    "composition": {"zero_shot": (0.1, 0.4), "examples": (0.7, 1), "above_left": (0.8, 1),
                    "above_right": (0.8, 1), "below_left": (0.7, 1), "below_right": (0.8, 1),
                    "analogy": (0.4, 0.8)},
    "novel": {"zero_shot": (0, 0.1), "few_shot": (0.9, 1), "raw": (0.4, 0.85),
              "trained": (0.45, 0.9)},
}  # fmt: skip


def twin(path: Path) -> tuple[str, ...]:
    """The options that the recipe's comment gives for the bundled model."""
    comment = re.search(r"^#   (mfv run .*(?:\n#     .*)*)", path.read_text(), re.M)
    assert comment is not None
    words = shlex.split(re.sub(r"\n#\s+", " ", comment[1]))
    assert words[:3] == ["mfv", "run", f"paper/{path.stem}"]
    assert set(words[3::2]) == {"--set"}
    return tuple(words[4::2])


def test_there_are_recipes_for_every_experiment() -> None:
    assert {path.stem for path in RECIPES} == set(SHOWN)


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
    measured = {(row.eval, row.relation) for row in result.rows if row.relation != "all"}
    assert measured == {(row.eval, row.relation) for row in result.plan.rows}
    assert {row.n for row in result.rows if row.relation != "all"} == {12}
    found: dict[str, list[float]] = {}
    for row in result.rows:
        if row.relation == "all" or not covers_several(result.rows, row.eval):
            found.setdefault(row.eval, []).append(row.accuracy)
    assert found.keys() == SHOWN[path.stem].keys()
    for name, (best, worst) in SHOWN[path.stem].items():
        assert max(found[name]) >= best and min(found[name]) <= worst, (name, found[name])


def covers_several(rows: list[ResultRow], name: str) -> bool:
    return any((row.eval, row.relation) == (name, "all") for row in rows)
