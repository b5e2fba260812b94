"""The profiles of the recipes that come with mfv-dsl: each is right, and can be planned."""

from __future__ import annotations

import re
import shlex
from functools import cache

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.places import bundled
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.inclusion import FilesBeside, with_files
from mfv_dsl.lang.parser import parse
from mfv_dsl.lang.profiles import profiles_of

FOLDER = bundled("recipes")
RECIPES = {path.relative_to(FOLDER).with_suffix("").as_posix(): path
           for path in sorted(FOLDER.rglob("*.mfv")) if path.parent.name != "shared"}  # fmt: skip
#: layers of the bundled models
LAYERS = {"tiny": 10, "llava": 6}


@cache
def profiles(name: str) -> list[str]:
    recipe = parse(Source(RECIPES[name].read_text(), name)).recipe
    assert recipe is not None
    return list(profiles_of(with_files(recipe, FilesBeside(RECIPES[name]))[0]))


PAIRS = [(name, profile) for name in RECIPES for profile in profiles(name)]


@pytest.mark.slow
def test_every_recipe_runs_on_both_bundled_models() -> None:
    for name in RECIPES:
        own = [] if "model   flamingo = tiny()" in RECIPES[name].read_text() else ["tiny"]
        own = [] if name.startswith("data/") else own
        assert {*own, "llava"} <= set(profiles(name)), name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile"), PAIRS)
def test_a_recipe_is_right_with_each_profile(name: str, profile: str) -> None:
    source = Source(RECIPES[name].read_text(), name)
    if name.startswith(
        ("data/", "paper/data/", "paper/qwen3-vl/data/")
    ):  # without the user's files nothing is known of the dataset

        def facts(entry, arguments):  # type: ignore[no-untyped-def]
            return None

        read = FilesBeside(RECIPES[name])
        assert check_source(source, facts, profile=profile, read=read).diagnostics == ()
        return
    recipe = Recipe.from_file(RECIPES[name], profile=profile)
    assert recipe.check() == ()
    plan = recipe.plan()
    assert plan.warnings == ()
    assert {row.eval for row in plan.rows} == {
        row.eval for row in Recipe.from_file(RECIPES[name]).plan().rows
    }
    for model in recipe.checked.models.values():
        assert model.facts.n_layers == LAYERS[profile]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in RECIPES if "llava" in profiles(name)])
def test_comments_name_commands_that_a_shell_takes_as_they_are(name: str) -> None:
    """And that the recipe has: ``sh`` stops at a bare bracket, ``zsh`` looks for such files."""
    commands = re.findall(r"^# .*?(mfv run \S.*)$", RECIPES[name].read_text(), flags=re.M)
    named = set()
    for command in commands:
        assert not set(command) & set("[](){}*?'\"$&;<>|~!#")
        words = shlex.split(command)
        assert words[:4] == ["mfv", "run", name, "--profile"] and len(words) == 5
        named.add(words[4])
    uses_files = '\nuse "' in RECIPES[name].read_text()  # what they share may have the comment
    assert named <= set(profiles(name)) if uses_files else named == set(profiles(name))


@pytest.mark.slow
def test_the_page_lists_every_recipe_with_its_profiles() -> None:
    page = (FOLDER.parent / "docs" / "recipes.md").read_text()
    listed = {}
    for row in re.findall(r"^\| (`.*`) \| .* \| (`.*`) \|$", page, flags=re.M):
        names, found = (re.findall(r"`([^`]+)`", cell) for cell in row)
        listed.update(dict.fromkeys(names, found))
    assert listed == {name: profiles(name) for name in RECIPES}
