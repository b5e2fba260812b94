"""Recipes at random: whatever is written, checking says what is wrong, and what it accepts can be
planned and run."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.plan.explain import explain_plan, plan_text
from tests.attack.recipes import Writer, drawn

#: What only the values of a run can show: a number too large, a vector of length 0.
OF_VALUES = {"MFV5301", "MFV5302", "MFV5303", "MFV5304", "MFV5306", "MFV5313", "MFV5371",
             "MFV5521"}  # fmt: skip


def planned(text: str) -> bool:
    """Whether ``mfv check`` accepts the recipe, which plans it, too; its plan is shown."""
    try:
        plan = mfv.Recipe(text).plan()
    except MfvError:
        return False
    if plan.errors:
        return False
    json.dumps([note.to_json() for note in explain_plan(plan, ())], allow_nan=False)
    assert plan_text(plan, explain_plan(plan, ()))
    return True


def accepted(seed: int, count: int) -> int:
    """How many of ``count`` recipes are accepted; every one is shown that ends otherwise."""
    chance = random.Random(seed)
    found = 0
    for number in range(count):
        text = drawn(chance)
        try:
            found += planned(text)
        except Exception as error:
            raise AssertionError(f"recipe {number} of seed {seed}:\n{text}") from error
    return found


@pytest.mark.slow
def test_three_thousand_recipes_are_refused_or_planned():
    assert accepted(1, 3_000) > 225  # or they are too bad to show anything


@pytest.mark.slow
def test_what_is_accepted_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    chance = random.Random(3)
    ran = 0
    while ran < 100:
        text = Writer(chance).recipe()
        if not planned(text):
            continue
        recipe = mfv.Recipe(text)
        ran += 1
        out = tmp_path / f"run_{ran}"
        out.mkdir()
        monkeypatch.chdir(out)  # libraries that others of these recipes made stand in the way
        try:
            recipe.run(out)
        except Exception as error:
            if not (isinstance(error, MfvError) and error.code in OF_VALUES):
                raise AssertionError(text) from error
            continue
        json.loads((out / "results.json").read_text(), parse_constant=not_a_number)


def not_a_number(word: str) -> None:
    raise AssertionError(f"{word} in results.json")
