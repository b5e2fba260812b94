"""Recipes as they were: what a version accepted as `mfv 1` is accepted, and asks for the same.

``0.1/`` has every recipe that was ever part of a release, or was about to be, as it stood before it
was written in a newer way.  A recipe is added and none changes: where one of these tests fails, the
program has to be put right, not the recipe.  ``python -m tests.recipes.test_released`` writes the
keys of recipes that have none yet.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.texts import read_json
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.parser import parse, read_source
from mfv_dsl.lang.profiles import profiles_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEYS = HERE / "keys.json"
RECIPES = {
    path.relative_to(HERE).as_posix(): path for path in sorted(HERE.glob("*/**/*.mfv"))
}  # fmt: skip


def keys_of(path: Path, profile: str | None = None) -> str:
    """How many values a recipe asks for, and a hash of their keys, which follow from those of all
    steps that they are made of."""
    try:
        plan = mfv.Recipe.from_file(path, profile=profile).plan()
    except mfv.RecipeError as error:
        return " ".join(diagnostic.code for diagnostic in error.diagnostics)  # data is elsewhere
    keys = [row.step for row in (*plan.rows, *plan.tunes)]
    keys += [vector.step for save in plan.saves for vector in save.vectors]
    keys = sorted(set(keys))
    return f"{len(keys)} {hashlib.sha256(' '.join(keys).encode()).hexdigest()}"


def all_keys(path: Path) -> dict[str, str]:
    """The same of the recipe without and with each of its profiles."""
    recipe = parse(read_source(path)).recipe
    profiles = () if recipe is None else profiles_of(recipe)
    return {"": keys_of(path), **{profile: keys_of(path, profile) for profile in profiles}}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_old_asks_for_the_same_steps(name, monkeypatch):
    monkeypatch.chdir(ROOT)  # `load` in a recipe takes paths from the current folder
    recorded = read_json(KEYS, 1 << 20)[name]
    assert all_keys(RECIPES[name]) == recorded


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_old_is_laid_out_as_it_was(name):
    source = read_source(RECIPES[name])
    assert format_source(source) == source.text


def test_every_recipe_has_its_keys():
    assert read_json(KEYS, 1 << 20).keys() == RECIPES.keys()


if __name__ == "__main__":
    known = json.loads(KEYS.read_text(encoding="utf-8")) if KEYS.exists() else {}
    new = {name: known.get(name) or all_keys(path) for name, path in RECIPES.items()}
    KEYS.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
