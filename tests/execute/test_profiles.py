"""Recipes run by their profiles on a bundled model that is not the one they were written for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.places import bundled

FOLDER = bundled("recipes")
SHORT = ("defaults.trials=6", "defaults.items=6", "defaults.on=[left]")
#: by recipe and profile: the evals that are run, and what shortens them more
RUNS = {
    ("sweeps", "llava"): (["layers", "native"], ["defaults.heads=top(3, on=[left])"]),
    ("paper/qwen3-vl/layers", "tiny"): (["every_layer", "head_by_head"], []),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile"), RUNS)
def test_a_recipe_runs_by_its_profile(
    name: str, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    only, more = RUNS[name, profile]
    recipe = Recipe.from_file(FOLDER / f"{name}.mfv", (*SHORT, *more), profile)
    result = recipe.run(only=only)
    assert {row.eval for row in result.rows} == set(only)
    assert max(row.accuracy for row in result.rows) >= 0.8
    assert result.folder.name.startswith(f"{Path(name).name}-{profile}-set-")
    assert (result.folder / "results.json").exists()
