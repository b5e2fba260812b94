"""Variants of a recipe, before anything is run."""

from __future__ import annotations

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.sweeping.overs import read_overs
from mfv_dsl.sweeping.sweep import planned
from mfv_dsl.sweeping.variants import Variants, variants_of

TEXT = """mfv 1
model   m = tiny()
dataset d = scenes(relations=[left, right], count=40)
defaults { heads = {L4H1, L3H7}, trials = 4, items = 6, layer = 2 }
vector  v = fv(left) - fv(right)
eval raw   { add = fv(each) }
eval other { add = v, on = [left] }
save "mine" { vectors = [v] }
save "left" { vectors = [fv(left)] }
"""


def made(*options: str, **more: object) -> Variants:
    return variants_of(Recipe(TEXT, "small.mfv"), read_overs(options), **more)  # type: ignore[arg-type]


def test_the_last_that_is_varied_varies_fastest():
    variants = made('m=tiny(),tiny("llava")', "defaults.seed=0..1")
    assert [variant.name for variant in variants.all] == [
        "m-tiny-seed-0", "m-tiny-seed-1", "m-tiny_llava-seed-0", "m-tiny_llava-seed-1",
    ]  # fmt: skip
    assert variants.all[2].values == {"m": 'tiny("llava")', "defaults.seed": 0}
    assert variants.all[2].plan.models["m"].arguments["name"] == "llava"
    seeds = [v.plan.steps[0].parameters["seed"] for v in variants.all]
    assert seeds == [0, 1, 0, 1]


def test_each_variant_is_the_recipe_with_these_values_set():
    (_, second) = made("raw.layer=1,3").all
    plain = Recipe(TEXT, overrides=["raw.layer=3"]).plan()
    assert [step.key for step in second.plan.steps] == [step.key for step in plain.steps]


def test_names_of_folders_are_safe_and_differ():
    names = [v.name for v in made("v=fv(left)-fv(right),fv(left)+fv(right),-1*fv(left)").all]
    assert len({name.lower() for name in names}) == 3
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)
    assert [v.name for v in made("defaults.scale=-1,1,0.5").all] == [
        "scale-minus_1", "scale-1", "scale-0.5",
    ]  # fmt: skip
    two = made("d.seed=1", "defaults.seed=1")
    assert two.all[0].name == "d_seed-1-defaults_seed-1"


def test_sweeps_that_differ_have_folders_that_differ():
    folders = [
        made("defaults.seed=0..1").folder,
        made("defaults.seed=0..2").folder,
        made("d.seed=0..1").folder,
        made("defaults.seed=0..1", only=["raw"]).folder,
        variants_of(
            Recipe(TEXT, "small.mfv", ("raw.layer=3",)), read_overs(["defaults.seed=0..1"])
        ).folder,
    ]
    assert len(set(folders)) == len(folders)
    assert folders[0] == made(" defaults.seed = 0 , 1").folder


def test_variants_that_would_save_into_one_folder_have_folders_of_their_own():
    first, second = made("raw.layer=1,3").all
    assert [save.folder for save in first.plan.saves] == ["mine-layer-1", "left-layer-1"]
    assert [save.folder for save in second.plan.saves] == ["mine-layer-3", "left-layer-3"]
    assert [save.folder for save in second.recipe.plan(["left"]).saves] == ["left-layer-3"]
    (alone,) = made("raw.layer=1").all
    assert [save.folder for save in alone.plan.saves] == ["mine", "left"]


@pytest.mark.parametrize(
    ("option", "code", "place", "help"),
    [
        ("defaluts.seed=0..2", "MFV2023", "defaluts", "did you mean `defaults`?"),
        ("defaults.sed=0..2", "MFV2004", "sed", "did you mean `seed`?"),
        ("raw.layer=1,12", "MFV4001", "12", None),
        ("raw.layer=9..10", "MFV4001", "9..10", None),
        ("v=fv(left), 2 * fv(lft)", "MFV2001", "lft", "did you mean `left`?"),
        ("v=fv(left),2*fv(lft)", "MFV2001", "2*fv(lft)", "did you mean `left`?"),
        ("m=tiny(), tony()", "MFV2006", "tony", "did you mean `tiny`?"),
    ],
)
def test_what_is_wrong_with_a_value_is_shown_in_its_option(option, code, place, help):
    with pytest.raises(RecipeError) as caught:
        made(option)
    (found,) = caught.value.diagnostics
    assert found.code == code and found.source is not None and found.span is not None
    assert (found.source.name, found.source.text) == ("--over", option)
    assert found.source.text[found.span.start : found.span.end] == place
    assert help is None or found.help == help


def test_an_error_says_of_which_variants_it_is_unless_of_all():
    with pytest.raises(RecipeError) as caught:
        made("defaults.items=6,10000", "defaults.seed=0..1")
    (found,) = {(d.message, d.notes) for d in caught.value.diagnostics if "left" in d.message}
    assert found[1] == ("of the variant defaults.items=10000, defaults.seed=0 and 1 others",)
    with pytest.raises(RecipeError) as caught:
        made("defaults.sed=0..1")
    assert caught.value.diagnostics[0].notes == ()


def test_warnings_of_a_plan_are_shown_in_their_option():
    variants = made("v=fv(left), fv(left) - fv(left) + fv(right)")
    (found,) = [d for d in variants.warnings if d.code == "MFV5005"]
    assert found.source is not None and found.source.name == "--over"
    assert found.notes == ("of the variant v=fv(left) - fv(left) + fv(right)",)


def test_what_is_set_is_not_varied():
    with pytest.raises(MfvError) as caught:
        planned(Recipe(TEXT), {"raw.layer": [1, 3]}, overrides={"raw.layer": 2})
    assert caught.value.code == "MFV5691"


def test_steps_that_do_not_depend_on_what_varies_are_shared():
    variants = made("raw.layer=1,3")
    first, second = ({step.key for step in v.plan.steps} for v in variants.all)
    assert len(first & second) > len(first - second)
    assert "2 variants" in variants.summary and "are those of other variants" in variants.summary
