"""Every word of the language as the name of every kind of item: refused, or planned."""

from __future__ import annotations

import pytest

from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.entries import FUNCTION, all_entries
from mfv_dsl.plan.build import build_plan
from tests.lang.support import HEAD, codes, facts

WORDS = sorted(
    {entry.name for entry in all_entries()}
    | {p.name for entry in all_entries() for p in entry.parameters}
    | {choice for entry in all_entries() for p in entry.parameters for choice in p.choices}
    | {"each", "left", "true", "test", "extract", "for", "else", "match", "mfv"}
)
FV = "heads={L1H1}"
USES = {
    "vector": f"vector W = fv(left, {FV})\neval e {{ add = W, layer = 3 }}\nreport {{ norm(W) }}\n"
    'save "x" { vectors = [W] }\ntune t { start = W, layer = 3 }\n',
    "family": f"vector W(r) = fv(r, {FV})\neval e {{ add = W(each) + W(above), layer = 3 }}\n",
    "parameter": f"vector v(W) = fv(W, {FV})\neval e {{ add = v(each), layer = 3 }}\n",
    "heads": "heads W = {L1H1}\neval e { ablate = W }\n"
    "eval f { add = fv(each, heads=W), layer = 3 }\n",
    "tune": "tune W { start = random, layer = 3 }\neval e { add = W(each), layer = 3 }\n",
    "eval": "eval W { shots = 1 }\neval other { shots = 1, against = W }\n",
    "model": f"model W = tiny()\neval e {{ add = fv(each, {FV}), layer = 1, model = W }}\n",
    "dataset": "dataset W = scenes(seed=4)\neval e { shots = 1, dataset = W }\n",
    "let": f"let W = 3\neval e {{ add = fv(each, {FV}), layer = W }}\n",
    "sweep": f"sweep W = [1, 2]\neval e {{ add = fv(each, {FV}, shots=W), layer = 2 }}\n",
    "profile": "eval e { shots = 1 }\nprofile W { e.shots = 2 }\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", USES)
def test_a_word_of_the_language_as_a_name_is_refused_or_can_be_planned(kind):
    refused = set()
    for word in WORDS:
        result = check_source(Source(HEAD + USES[kind].replace("W", word)), facts)
        if result.checked is None:
            refused.add(word)
        else:
            build_plan(result.checked)
    assert "each" in refused
    if kind in ("vector", "family", "heads", "tune", "model", "dataset"):
        assert {*FUNCTION, "left"} <= refused


@pytest.mark.parametrize(
    ("declaration", "code"),
    [
        ("vector fv = fv(left)", "MFV2019"),
        ("heads top = top(3)", "MFV2019"),
        ("vector normal = fv(left)", "MFV2019"),
        ("tune mean { start = random, layer = 3 }", "MFV2019"),
        ("let native = 4", "MFV2019"),
        ("let true = 4", "MFV2019"),
        ("let left = 4", "MFV2011"),
        ("vector left = fv(right)", "MFV2011"),
        ("heads above = top(3)", "MFV2011"),
    ],
)
def test_a_name_that_is_taken(declaration, code):
    assert codes(HEAD + declaration + "\n") == [code]


def test_a_word_that_came_later_gives_way():
    """`position = images` and `site = mlp` are newer than the language's first version."""
    for word in ("images", "residual", "attention", "mlp"):
        lines = f"let {word} = 3\neval e {{ add = zeros(), layer = {word} }}\n"
        assert codes(HEAD + lines) == []
        swept = f"sweep {word} = [1, 2]\neval e {{ add = zeros(), layer = {word} }}\n"
        assert codes(HEAD + swept) == []


def test_a_name_of_a_place_that_takes_no_such_word_is_free():
    assert codes(HEAD + "let layers = 3\neval e { add = zeros(), layer = layers }\n") == []
    assert codes(HEAD + "heads native = top(3)\nvector layer = fv(left)\n") == []
