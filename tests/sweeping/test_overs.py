"""What a sweep varies, as it is typed and as Python has it."""

from __future__ import annotations

import pytest

from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.sweeping.overs import options_of, read_overs


def values(option: str) -> list[object]:
    (over,) = read_overs([option])
    return [value.shown for value in over.values]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("defaults.seed=0..4", [0, 1, 2, 3, 4]),
        ("defaults.seed = 0..2, 7", [0, 1, 2, 7]),
        ("raw.scale=0..1:0.5", [0.0, 0.5, 1.0]),
        ("raw.scale=-1,1", [-1, 1]),
        ("raw.layer=[0, 1],[2],3", ["[0, 1]", "[2]", 3]),
        ('m=tiny(),tiny("a, b"),hf("x", dtype=bf16)',
         ["tiny()", 'tiny("a, b")', 'hf("x", dtype=bf16)']),
        ("h={L4H1, L3H7},top(3, by=aie)", ["{L4H1, L3H7}", "top(3, by=aie)"]),
        ("v=fv(left) - fv(right),fv(left)", ["fv(left) - fv(right)", "fv(left)"]),
        ('m.name="flamingo","llava"', ["flamingo", "llava"]),
        ('raw.position=last,"last"', ["last", "last"]),
    ],
)  # fmt: skip
def test_values_are_those_of_a_list_of_the_language(option, expected):
    assert values(option) == expected


@pytest.mark.parametrize(
    ("options", "code", "place"),
    [
        (["defaults.seed"], "MFV5690", "defaults.seed"),
        (["defaults.seed="], "MFV5690", "defaults.seed="),
        (["=1,2"], "MFV5690", "=1,2"),
        (["a=1] + [2"], "MFV5690", "a=1] + [2"),
        (["defaults.seed=0..3,2"], "MFV5691", "2"),
        (["a.seed=1", " a.seed = 2"], "MFV5691", "a.seed"),
        (["a.seed=1,1.0"], "MFV5691", "1.0"),
        (["a.seed=2, 1 + 1"], "MFV5691", "1 + 1"),
        (['a.on=[left],["left"]'], "MFV5691", '["left"]'),
        (["a.scale=[1, 2],[1.0, 2]"], "MFV5691", "[1.0, 2]"),
        (["defaults.seed=4..0"], "MFV3008", "4..0"),
        (["defaults.seed=x..4"], "MFV2050", "x..4"),
        (["defaults.seed=0..100000"], "MFV3012", "0..100000"),
        (["m=tiny(),tiny("], "MFV1002", "("),
        (["m=1,,2"], "MFV1001", ","),
    ],
)
def test_what_is_wrong_is_shown_in_the_option(options, code, place):
    with pytest.raises(RecipeError) as caught:
        read_overs(options)
    (found,) = caught.value.diagnostics
    assert found.code == code and found.source is not None and found.span is not None
    assert found.source.name == "--over"
    assert found.source.text[found.span.start : found.span.end] == place


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(RecipeError) as caught:
        read_overs(["a", "b=2..1", "c=1,1"])
    assert [d.code for d in caught.value.diagnostics] == ["MFV5690", "MFV3008", "MFV5691"]


def test_python_gives_ranges_lists_and_texts():
    over = {"a.seed": range(2), "b": ["tiny()", 2, [1, 2]], "c": "0..2"}
    assert options_of(over) == ("a.seed=0, 1", "b=tiny(), 2, [1, 2]", "c=0..2")
    assert options_of(["a=1,2"]) == options_of("a=1,2") == ("a=1,2",)


@pytest.mark.parametrize("over", [3, None, {"a": 3}, {3: [1]}, [1, 2]])
def test_python_gives_nothing_else(over):
    with pytest.raises(ArgumentError):
        options_of(over)


def test_nothing_varied_is_an_error():
    from mfv_dsl import sweep

    for over in ({}, []):
        with pytest.raises(MfvError) as caught:
            sweep("quickstart", over)
        assert caught.value.code == "MFV5690"
