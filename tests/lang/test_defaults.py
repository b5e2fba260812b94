"""`defaults for` a kind: which value is taken, and how it is set from outside."""

from __future__ import annotations

import pytest

from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source, load_recipe
from mfv_dsl.lang.defaults import KINDS
from mfv_dsl.lang.syntax import Call
from tests.lang.support import HEAD, facts

TEXT = (
    HEAD
    + """\
defaults { trials = 20, items = 30, layer = 1 }
defaults for eval { items = 40, shots = 2 }
defaults for tune { lr = 0.5, items = 50 }
defaults for fv { trials = 10 }
vector v = fv(left, heads=top(3))
vector own = fv(left, heads=top(3), trials=7)
tune trained { start = v, layer = 2 }
tune longer { start = v, lr = 0.25 }
eval zero { }
eval raw { add = v, shots = 0, items = 5 }
profile other { defaults.fv.trials = 3, defaults.top.trials = 4, defaults.eval.shots = 1 }
"""
)


def of(text=TEXT, overrides=(), profile=None):
    return load_recipe(Source(text), facts, overrides, profile=profile)


def block(checked, name):
    (one,) = (b for b in checked.blocks if b.name == name)
    return one


def trials(checked, vector):
    """The trials of a vector's call, and of the call of its heads."""
    calls = [n for n in checked.vectors[vector].value.walk() if isinstance(n, Call)]
    return {c.function.text: checked.options[c.span]["trials"].value for c in calls}


def test_what_is_written_comes_first_then_defaults_for_the_kind_then_defaults():
    checked = of()
    assert trials(checked, "v") == {"fv": 10, "top": 20}
    assert trials(checked, "own") == {"fv": 7, "top": 20}
    assert (block(checked, "zero")["items"], block(checked, "zero")["shots"]) == (40, 2)
    assert (block(checked, "raw")["items"], block(checked, "raw")["shots"]) == (5, 0)
    trained, longer = block(checked, "trained"), block(checked, "longer")
    assert (trained["items"], trained["lr"], trained["layer"]) == (50, 0.5, 2)
    assert (longer["items"], longer["lr"], longer["layer"]) == (50, 0.25, 1)


def test_the_origin_of_a_value_is_its_defaults():
    zero = block(of(), "zero")
    assert zero.settings["shots"].origin == zero.settings["items"].origin == "defaults"
    assert zero.settings["split"].origin == "registry"


@pytest.mark.parametrize("given", ["option", "profile"])
def test_they_are_set_from_outside(given):
    options = ["defaults.fv.trials=3", "defaults.top.trials=4", "defaults.eval.shots=1"]
    checked = of(overrides=options) if given == "option" else of(profile="other")
    assert trials(checked, "v") == {"fv": 3, "top": 4}
    assert block(checked, "zero")["shots"] == 1
    assert block(checked, "raw")["shots"] == 0


def test_what_is_wrong_with_an_option_is_shown_in_it():
    (found,) = check_source(Source(TEXT), facts, ["defaults.tune.lr=-3"]).diagnostics
    assert (found.code, found.source.name, found.span.start) == ("MFV4003", "--set", 17)
    (found,) = check_source(Source(TEXT), facts, ["defaults.tun.lr=3"]).diagnostics
    assert (found.code, found.help) == ("MFV2005", "did you mean `tune`?")


def test_every_block_and_every_function_with_options_has_defaults():
    assert {"eval", "tune", "save", "report", "fv", "top"} <= set(KINDS)
    assert not {"model", "defaults", "profile", "mean", "zeros", "reject", "clip"} & set(KINDS)


def test_a_default_that_has_no_effect_in_a_block_is_no_mistake_of_it():
    text = HEAD + "defaults for eval { scale = 2, k = 3 }\neval zero { }\neval few { shots = 4 }\n"
    assert check_source(Source(text), facts).diagnostics == ()
