"""`--profile`: named values in place of others, which do what `--set` does with the same."""

from __future__ import annotations

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_every_profile, check_source

TEXT = """mfv 1
model flamingo = openflamingo("openflamingo/OpenFlamingo-4B-vitl-rpj3b")
dataset shapes = scenes(relations=[left, right], size=800)
heads chosen = top(10)
vector steer = fv(left, heads=chosen)
eval raw { add = steer, layer = 2..31 }
eval few { shots = 4 }
save "vectors/mine" { vectors = [steer] }
"""
VALUES = (
    "flamingo = tiny()", "shapes.size = 40", "chosen = top(3)", "raw.layer = [0, 2]",
    "defaults.trials = 5", "few.shots = [1, 2]",
)  # fmt: skip
SMALL = "profile small {\n" + "".join(f"  {value}\n" for value in VALUES) + "}\n"


def keys(recipe: Recipe) -> list[str]:
    return [step.key for step in recipe.plan().steps]


@pytest.mark.parametrize("text", [TEXT + SMALL, TEXT.replace("heads", SMALL + "heads", 1)])
def test_a_profile_is_the_same_as_its_values_by_set(text: str) -> None:
    by_profile, by_set = Recipe(text, profile="small"), Recipe(TEXT, "recipe", VALUES)
    assert keys(by_profile) == keys(by_set) != keys(Recipe(TEXT))
    assert by_profile.plan().rows == by_set.plan().rows


def test_a_profile_that_is_not_used_changes_no_key() -> None:
    assert keys(Recipe(TEXT + SMALL)) == keys(Recipe(TEXT))


def test_set_comes_after_a_profile() -> None:
    recipe = Recipe(TEXT + SMALL, "r.mfv", ("raw.layer=7", "few.shots=3"), profile="small")
    layers = {block.name: block.settings for block in recipe.checked.blocks}
    assert (layers["raw"]["layer"].value, layers["few"]["shots"].value) == (7, 3)
    assert recipe.checked.models["flamingo"].constructor == "tiny"


def test_what_is_run_is_written_down_and_runs_again() -> None:
    recipe = Recipe(TEXT + SMALL, "r.mfv", ("raw.layer=7",), profile="small")
    first, rest = recipe.text_as_run.split("\n", 1)
    assert first == "# r.mfv --profile small --set raw.layer=7"
    assert "profile" not in rest
    again = Recipe(recipe.text_as_run)
    assert keys(again) == keys(recipe)
    assert again.plan().saves == recipe.plan().saves


def test_what_runs_with_a_profile_takes_no_other_place() -> None:
    def places(name: str, sets: tuple[str, ...] = (), profile: str | None = None) -> list[str]:
        recipe = Recipe(TEXT + SMALL + "profile large { }\n", name, sets, profile=profile)
        (saved,) = recipe.plan().saves
        return [recipe.folder.as_posix(), saved.folder]

    assert places("r.mfv") == ["runs/r", "vectors/mine"]
    assert places("r.mfv", (), "small") == ["runs/r-small", "vectors/mine-small"]
    assert places("r.mfv", (), "large") == ["runs/r-large", "vectors/mine-large"]
    assert places("paper/r") == ["runs/paper/r", "vectors/mine"]
    changed, other = (places("r.mfv", (f"raw.layer={layer}",), "small")[0] for layer in "12")
    assert changed.startswith("runs/r-small-set-") and other != changed
    assert places("r.mfv", ("raw.layer=1",), "small")[0] == changed


def test_an_unknown_profile_has_a_suggestion() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe(TEXT + SMALL, "r.mfv", profile="smal")
    assert str(caught.value) == (
        "error[MFV2030]: r.mfv has no profile `smal`\n"
        "  --> --profile:1:1\n"
        "   |\n"
        " 1 | smal\n"
        "   | ^^^^ it has small\n"
        "   = help: did you mean `small`?"
    )
    with pytest.raises(RecipeError, match="has no profile `small`"):
        Recipe(TEXT, profile="small")


def test_a_wrong_profile_stops_only_what_uses_it() -> None:
    text = TEXT + SMALL + "profile wrong { raw.layer = fv(left) }\n"
    assert keys(Recipe(text, profile="small")) == keys(Recipe(TEXT + SMALL, profile="small"))
    (found,) = check_every_profile(Source(text, "r.mfv"))
    with pytest.raises(RecipeError) as caught:
        Recipe(text, "r.mfv", profile="wrong")
    assert caught.value.diagnostics == (found,)
    assert found.code == "MFV3001" and found.span is not None
    assert text[found.span.start : found.span.end] == "fv(left)"


def test_a_mistake_of_the_recipe_is_not_its_profiles() -> None:
    source = Source(TEXT.replace("fv(left,", "fv(lfet,") + SMALL, "r.mfv")
    assert check_every_profile(source) == ()
    (found,) = check_source(source, profile="small").diagnostics
    assert source.text[found.span.start : found.span.end] == "lfet"  # type: ignore[union-attr]


def test_an_option_that_is_wrong_is_shown_as_one_under_a_profile() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe(TEXT + SMALL, "r.mfv", ("raw.layer=10", "few.sots=1"), profile="small")
    first, second = caught.value.diagnostics
    assert (first.code, first.source.name, first.help) == ("MFV4001", "--set", None)  # type: ignore[union-attr]
    assert (second.code, second.help) == ("MFV2004", "did you mean `shots`?")


# -- a model that lacks a layer -------------------------------------------------------------------
SWEPT = """mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right])
defaults { layer = 0..9 }
heads some = {L7H1}
tune tuned { start = fv(each, heads=some), layer = 8 }
eval raw { add = fv(each) }
"""


def test_a_model_by_set_says_what_else_to_set() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe(SWEPT, "r.mfv", ('flamingo=tiny("llava")',))
    found = caught.value.diagnostics
    assert [(d.code, d.message, d.label) for d in found] == [
        ("MFV4001", "the model has no layer 6", "its layers are 0..5"),
        ("MFV4002", "the model has no head `L7H1`", "its layers are 0..5, its heads 0..7"),
        ("MFV4001", "the model has no layer 8", "its layers are 0..5"),
    ]
    for diagnostic, target in zip(found, ("defaults.layer", "some", "tuned.layer"), strict=True):
        assert diagnostic.help == (
            f"the model `flamingo` came by `--set`; set what it lacks as well: `--set {target}=...`"
        )
    whole = ("defaults.layer=0..5", "some={L5H1}", "tuned.layer=1")
    assert Recipe(SWEPT, "r.mfv", ('flamingo=tiny("llava")', *whole)).check() == ()


def test_a_recipe_whose_own_model_lacks_a_layer_hears_nothing_of_set() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe(SWEPT.replace("tiny()", 'tiny("llava")'), "r.mfv", ("shapes.seed=1",))
    assert {diagnostic.help for diagnostic in caught.value.diagnostics} == {None}


@pytest.mark.parametrize(
    ("lines", "changes"),
    [
        ("", False),
        ("few.shots = 4", False),
        ("raw.layer = 2..31\n  few.shots = 4", False),
        ("shapes.size = 800\n  chosen = top(10)", False),
        ('flamingo.path = "openflamingo/OpenFlamingo-4B-vitl-rpj3b"', False),
        ("few.shots = 5", True),
        ("raw.layer = 2..30\n  few.shots = 4", True),
        ("few.seed = 0", True),  # nothing is written there
        ("defaults.trials = 100", True),
    ],
)
def test_a_profile_that_changes_nothing(lines: str, changes: bool) -> None:
    text = f"{TEXT}profile idle {{\n  {lines}\n}}\n"
    found = check_source(Source(text)).diagnostics
    assert [d.code for d in found if "changes nothing" in d.message] == ["MFV2033"] * (not changes)
    allowed = check_source(Source(text + "defaults { allow = [MFV2033] }\n")).diagnostics
    assert [d.code for d in allowed if d.code in ("MFV2033", "MFV2062")] == []
