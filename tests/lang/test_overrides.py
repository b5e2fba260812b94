"""`--set`: values given from outside, checked like the recipe's own text."""

from __future__ import annotations

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.errors import RecipeError

TEXT = """mfv 1
model flamingo = openflamingo("openflamingo/OpenFlamingo-4B-vitl-rpj3b")
dataset shapes = scenes(relations=[left, right], size=800)
heads chosen = top(10)
vector steer = fv(left, heads=chosen)
eval raw { add = steer, layer = 2 }
"""


def overridden(*options: str) -> Recipe:
    return Recipe(TEXT, "r.mfv", ("flamingo=tiny()", *options))


def test_a_declarations_whole_value_is_replaced() -> None:
    recipe = overridden("shapes=scenes(relations=[above], seed=3)", "steer=zeros()", "raw.layer=1")
    shapes = recipe.checked.datasets["shapes"]
    assert shapes.arguments["relations"] == ("above",)
    assert shapes.arguments["seed"] == 3
    assert shapes.arguments["size"] is None
    assert "= zeros()" in recipe.text_as_run
    assert [step.operation for step in recipe.plan().steps] == ["linear", "answers", "evaluate"]


def test_a_recipe_runs_on_another_model() -> None:
    recipe = Recipe(TEXT, "r.mfv", ("flamingo=tiny()", "shapes.size=40"))
    assert recipe.checked.models["flamingo"].constructor == "tiny"
    assert {step.operation for step in recipe.plan().steps} > {"mediation", "evaluate"}


@pytest.mark.parametrize(
    ("option", "code", "said"),
    [
        ("flamnigo=tiny()", "MFV2023", "did you mean `flamingo`"),
        ("raw=fv(left)", "MFV2023", "it has flamingo, shapes, chosen, steer"),
        ("chosen=fv(left)", "MFV3001", "--set"),
        ("steer=fv(lfet)", "MFV2001", "did you mean `left`"),
        ("steer=", "MFV2023", "--set NAME=VALUE"),
        ("steer.=1", "MFV2023", "--set NAME.ATTRIBUTE=VALUE"),
        (".layer=1", "MFV2023", "--set NAME.ATTRIBUTE=VALUE"),
    ],
)
def test_a_wrong_option_is_shown_as_such(option: str, code: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        overridden(option)
    assert [found.code for found in caught.value.diagnostics] == [code]
    assert said in str(caught.value)
    assert "--> --set" in str(caught.value)
