"""What is offered where."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import FUNCTION, ITEM
from mfv_dsl.lsp.analysis import analyse
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.cursor import place_at
from mfv_dsl.lsp.positions import Lines
from tests.lsp.support import RECIPES, at, completed


def test_items_are_completed_with_their_forms():
    items = completed("ev¦")
    assert set(items) == set(ITEM)
    assert items["vector"].text_edit.new_text == "vector ${1:name} = $0"
    assert items["save"].text_edit.new_text == 'save "${1:folder}" {\n  vectors = [$2]\n}'
    assert "measures" in items["eval"].documentation.value.lower()


def test_attributes_are_those_that_the_block_has_not_yet():
    items = completed("eval raw {\n  add = fv(each)\n  ¦\n  layer = 3\n}\n")
    names = {p.name for p in ITEM["eval"].parameters}
    assert set(items) == names - {"add", "layer"}
    assert items["items"].text_edit.new_text == "items = ${1:100}"
    assert "layer" in completed("eval raw { add = fv(each)\n  lay¦ = 3\n}\n")


def test_attributes_of_defaults_and_profiles():
    assert {"trials", "items", "lr"} <= set(completed("defaults { ¦ }", "mfv 1\n"))
    assert "add" not in completed("defaults { ¦ }", "mfv 1\n")
    names = completed("profile other { ¦ }")
    assert {"flamingo", "shapes", "spatial", "steer", "defaults"} <= set(names)
    assert {"seed", "count"} <= set(completed("profile other { shapes.¦ }"))
    assert "count" not in completed("profile other { flamingo.¦ }")


@pytest.mark.parametrize(
    ("marked", "wanted", "unwanted"),
    [
        ("model m = ¦", {"tiny", "hf", "openflamingo"}, {"fv", "scenes"}),
        ("dataset m = sc¦", {"scenes", "gqa", "pairs"}, {"fv", "tiny"}),
        ("heads h = ¦", {"top", "layers", "all", "spatial"}, {"fv", "steer", "left"}),
        ("vector v = fv(left) + ¦", {"fv", "steer", "pure", "load"}, {"top", "spatial", "left"}),
        ("vector v = fv(¦", {"left", "above_left", "heads"}, {"steer", "each", "top"}),
        ("vector f(x) = fv(¦", {"x", "left"}, {"each"}),
        ("eval a { add = fv(¦", {"each", "left"}, {"steer"}),
        ("eval a { add = pure(¦", {"each", "left"}, {"steer"}),
        ("eval a { add = ¦", {"steer", "pure", "fv"}, {"top", "left"}),
        ("eval a { on = [¦", {"left", "above"}, {"each", "steer"}),
        ("eval a { answer = ¦", {"first", "generate"}, {"left"}),
        ("eval a { position = ¦", {"last", "all", "images"}, {"left", "fv"}),
        ("eval a { position = [last, ¦", {"all", "images"}, {"left", "fv"}),
        ("eval a { site = ¦", {"residual", "attention", "mlp"}, {"left"}),
        ("eval a { metrics = [¦", {"accuracy", "confusion"}, {"left"}),
        ("eval a { split = ¦", {"test", "validation"}, {"left"}),
        ("eval a { model = ¦", {"flamingo"}, {"shapes", "tiny"}),
        ("eval a { ablate = ¦", {"spatial", "top"}, {"steer"}),
        ("heads h = top(4, by=¦", {"aie", "random"}, {"left"}),
        ("let n = 3\neval a { shots = ¦", {"n", "norm"}, {"steer", "left"}),
        ("let n = 3\nvector v = ¦", {"n", "fv"}, {"left"}),
        ("vector v(r) = match ¦", {"r"}, {"left", "fv", "each"}),
        ("eval a { add = match ¦", {"each"}, {"left", "fv"}),
        ("vector v(r) = match r { ¦", {"left", "else"}, {"fv", "each"}),
        ("vector v(r) = match r {\n  left: fv(above)\n  ¦", {"left", "else"}, {"fv", "each"}),
        ("vector v(r) = match r {\n  left: ¦", {"steer", "fv"}, {"left", "else"}),
        ("vector v(r) = match r {\n  left: fv(¦", {"left", "r"}, {"steer", "else"}),
        ("eval a { add = match each { left: ¦", {"steer", "fv"}, {"left", "else"}),
        ("report { ¦", {"cosine", "norm", "on"}, {"fv", "add"}),
        ("report {\n  norm(¦", {"steer", "fv"}, {"cosine"}),
        ("defaults ¦", {"for"}, {"eval"}),
        ("defaults for ¦", {"tune", "eval", "fv", "top"}, {"for", "heads"}),
        ("defaults for tune { ¦", {"start", "lr"}, {"add", "trials"}),
        ("defaults for fv { trials = 3, ¦", {"heads", "shots"}, {"relation", "trials", "lr"}),
        ("heads h = top(4, ¦", {"by", "on", "seed"}, {"aie"}),
        ("heads h = top(4, by=aie, ¦", {"on", "seed"}, {"by"}),
        ("dataset d = scenes(relations=[¦", {"left", "below_right"}, {"steer"}),
        ('dataset d = pairs("x", balance=¦', {"true", "false"}, {"left"}),
    ],
)
def test_values_are_those_of_the_type_that_is_wanted(marked, wanted, unwanted):
    items = set(completed(marked))
    assert wanted <= items
    assert not unwanted & items


def test_evals_are_completed_where_one_is_compared_with_another():
    items = completed("eval zero { shots = 0 }\neval raw { shots = 4, against = ¦ }")
    assert "zero" in items and "raw" not in items


def test_libraries_and_their_vectors_are_completed(tmp_path, monkeypatch):
    assert {"left", "above"} <= set(completed('vector v = load("vectors/flamingo-tiny", "¦'))
    assert "vectors/flamingo-tiny/" in completed('vector v = load("vectors/¦')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pairs.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert "data/" in completed('dataset d = pairs("¦')
    assert "data/pairs.csv" in completed('dataset d = pairs("data/p¦')


@pytest.mark.parametrize(
    "marked", ["# eval ¦", "vector a¦", "vector a = 2¦", "vector a = fv(left)¦"]
)
def test_nothing_is_offered_where_nothing_can_stand(marked):
    assert completed(marked) == {}


def test_an_expression_that_goes_on_in_the_next_line_is_no_new_item():
    text, offset = at("mfv 1\nvector steer = fv(left)\n             - ¦")
    assert place_at(text, offset).where == "value"
    text, offset = at("mfv 1\nvector steer = fv(left)\n¦")
    assert place_at(text, offset).where == "item"


@pytest.mark.parametrize("name", [*FUNCTION, *(n for e in CONSTRUCTOR.values() for n in e)])
def test_every_function_and_constructor_is_completed_with_a_doc(name):
    places = [f"{kind} x = ¦" for kind in ("vector", "heads", "model", "dataset")]
    for place in (*places, "vector x = mean(¦)", "eval x {\n  adapter = ¦\n}"):
        items = completed(place)
        if name in items:
            assert items[name].documentation.value
            break
    else:
        assert FUNCTION[name].result == "Number"


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_is_offered_at_every_place_of_a_recipe_has_what_stands_there(path: Path):
    """Where a word of a right recipe is typed, that word is among the offers."""
    text = path.read_text(encoding="utf-8")
    analysis = analyse(text, str(path))
    scope = analysis.scope
    assert scope is not None and analysis.checked is not None
    lines = Lines(text)
    missing = []
    for span, use in scope.uses.items():
        if use.of == "relation" and use.text == "each":
            continue
        labels = {item.label for item in complete(analysis, lines, span.start)}
        if text[span.start : span.end] not in labels:
            missing.append((text[span.start : span.end], scope.source.position(span.start)))
    assert missing == []
