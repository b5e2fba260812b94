"""Recipes run by their profiles on a bundled model that is not the one they were written for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.places import bundled

FOLDER = bundled("recipes")
SHORT = ("defaults.trials=6", "defaults.items=6")
#: by recipe and profile: the evals that are run, and how accurate the best condition is at least
RUNS = {
    ("sweeps", "llava"): (["zero_shot", "heads", "layers", "native"], 0.9),
    ("controls", "llava"): (["few_shot", "without"], 0.9),
    ("paper/heads", "llava"): (["raw"], 0.9),
    ("paper/qwen3-vl/layers", "tiny"): (["every_layer", "head_by_head"], 0.9),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile"), RUNS)
def test_a_recipe_runs_by_its_profile(
    name: str, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    only, best = RUNS[name, profile]
    result = Recipe.from_file(FOLDER / f"{name}.mfv", SHORT, profile).run(only=only)
    assert {row.eval for row in result.rows} == set(only)
    assert max(row.accuracy for row in result.rows) >= best
    assert result.folder.name.startswith(f"{Path(name).name}-{profile}-set-")
    assert (result.folder / "results.json").exists()
