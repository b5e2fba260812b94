"""Recipes built in Python: what can be written can be built, and has the same text."""

from __future__ import annotations

from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl import fv
from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.source import Source
from mfv_dsl.expression import Expression
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.parser import parse
from mfv_dsl.lang.syntax import Block, Declaration, RecipeTree, Text, same
from mfv_dsl.lang.unparse import unparse

ROOT = Path(__file__).parents[2]
RECIPES = sorted([*ROOT.glob("recipes/**/*.mfv"), *ROOT.glob("tests/corpus/valid/*.mfv")])


def tree(text: str) -> RecipeTree:
    found = parse(Source(text))
    assert found.recipe is not None and found.diagnostics == ()
    return found.recipe


def rebuilt(recipe: RecipeTree) -> mfv.Draft:
    """The same recipe by the calls that somebody would make."""
    draft = mfv.Draft()
    for used in recipe.inclusions:
        draft.use(used.path.value, used.alias.text if used.alias else None)
    for item in recipe.items:
        (declare if isinstance(item, Declaration) else block)(draft, item)
    return draft


def declare(draft: mfv.Draft, item: Declaration) -> None:
    kind, name, value = item.kind.text, item.name.text, Expression(item.value)
    if kind in ("model", "dataset"):
        getattr(draft, kind)(name, unparse(item.value), doc=item.doc)
    elif item.parameters:
        names = ", ".join(parameter.text for parameter in item.parameters)
        draft.vector(name, eval(f"lambda {names}: value", {"value": value}), doc=item.doc)
    else:
        getattr(draft, kind)(name, value, doc=item.doc)


def block(draft: mfv.Draft, item: Block) -> None:
    kind = item.kind.text
    values = {unparse(line).partition(" = ")[0]: line for line in item.attributes}
    given = {key: Expression(line.value) for key, line in values.items()}
    docs = {key: line.doc for key, line in values.items() if line.doc}
    if kind == "profile":
        draft.profile(item.label.text, given, doc=item.doc)
    elif kind == "defaults" and item.reach is not None:
        draft.defaults_for(item.reach.text, doc=item.doc, docs=docs, **given)
    elif kind == "defaults":
        draft.defaults(doc=item.doc, docs=docs, **given)
    elif kind == "report":
        draft.report(*map(Expression, item.values), doc=item.doc, docs=docs, **given)
    else:
        label = item.label.value if isinstance(item.label, Text) else item.label.text
        getattr(draft, kind)(label, doc=item.doc, docs=docs, **given)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_built(path: Path):
    recipe = tree(path.read_text(encoding="utf-8-sig"))
    draft = rebuilt(recipe)
    assert same(draft.syntax, recipe)
    assert same(tree(draft.text), recipe)
    assert format_source(Source(draft.text)) == draft.text


def test_what_python_says_is_what_is_written():
    draft = mfv.Draft()
    draft.model("flamingo", "tiny")
    draft.dataset("shapes", "scenes", count=30)
    simple = draft.let("simple", ["left", "right", "above"])
    layers = draft.let("layers", range(3))
    draw = draft.sweep("draw", range(1, 3))
    pool = draft.dataset("pool", "scenes", seed=draw, count=30)
    best = draft.heads("best", mfv.top(5, seed=draw, dataset=pool, on=simple), doc="The heads.")
    pure = draft.vector("pure", lambda r: fv(r, dataset=pool) - mfv.mean(fv("left"), fv("right")))
    composed = draft.vector(
        "composed",
        lambda r: mfv.match(r, {"above_left": fv("above") + fv("left")}, otherwise=pure(r)),
    )
    pair = draft.vector("pair", lambda a, b: fv(a) + fv(b))
    steer = draft.vector("steer", -fv("left") - 2 * pure("right"))
    draft.defaults(dataset="shapes", heads=best | [(4, 1)], trials=8, shots=None)
    draft.defaults_for("tune", items=10)
    draft.defaults_for("fv", seed=3)
    tuned = draft.tune("tuned", start=fv("each"), layer=[1, 2], on=["left"], lr=1)
    draft.eval("raw", add=composed("each"), layer=layers, choose=["layer"],
               on=["left", "above_left"], doc="What\nit does",
               docs={"layer": "The lower."})  # fmt: skip
    draft.eval("both", add=[steer, pair("above", "left")], layer=[{1, 2}, 3], on=["left"],
               split="extract", allow=["MFV4010"])  # fmt: skip
    draft.eval("trained", add=tuned("each"), on=["left"], seed=range(0, 21, 10))
    draft.report(mfv.cosine(fv("left"), steer), mfv.norm(pure("each")), on=simple)
    draft.save("vectors/mine", vectors=[fv("each"), pair("above", "left")], license="mit")
    draft.profile("llava", {
        "flamingo": "tiny", "raw.layer": range(0, 2), "defaults.tune.items": 50,
        "defaults.heads": [(4, 1)], "shapes.count": 40, "layers": range(2),
        '"vectors/mine".license': "cc0", "best": mfv.top(3),
    })  # fmt: skip
    assert (
        draft.text
        == """mfv 1

model   flamingo = tiny()
dataset shapes   = scenes(count=30)
let     simple   = [left, right, above]
let     layers   = 0..2
sweep   draw     = 1..2
dataset pool     = scenes(seed=draw, count=30)

## The heads.
heads best = top(5, on=simple, dataset=pool, seed=draw)

vector pure(r)     = fv(r, dataset=pool) - mean(fv(left), fv(right))
vector composed(r) = match r { above_left: fv(above) + fv(left), else: pure(r) }
vector pair(a, b)  = fv(a) + fv(b)
vector steer       = -fv(left) - 2 * pure(right)

defaults {
  dataset = shapes
  heads   = best | {L4H1}
  trials  = 8
}

defaults for tune {
  items = 10
}

defaults for fv {
  seed = 3
}

tune tuned {
  start = fv(each)
  layer = [1, 2]
  on    = [left]
  lr    = 1
}

## What
## it does
eval raw {
  add = composed(each)
  ## The lower.
  layer  = layers
  choose = [layer]
  on     = [left, above_left]
}

eval both {
  add   = [steer, pair(above, left)]
  layer = [{1, 2}, 3]
  on    = [left]
  split = extract
  allow = [MFV4010]
}

eval trained {
  add  = tuned(each)
  on   = [left]
  seed = 0..20:10
}

report {
  on = simple,
  cosine(fv(left), steer),
  norm(pure(each)),
}

save "vectors/mine" {
  vectors = [fv(each), pair(above, left)]
  license = "mit"
}

profile llava {
  flamingo               = tiny()
  raw.layer              = 0..1
  defaults.tune.items    = 50
  defaults.heads         = {L4H1}
  shapes.count           = 40
  layers                 = 0..1
  "vectors/mine".license = "cc0"
  best                   = top(3)
}
"""
    )
    assert same(tree(draft.text), draft.syntax)
    evals = {row.eval for row in draft.recipe().plan().rows}
    assert evals == {"raw", "both", "trained"}


def test_a_loaded_dataset_is_the_recipes():
    shapes = mfv.load_dataset("scenes", count=12)
    draft = mfv.Draft()
    draft.model("m", "tiny()")
    draft.dataset("d", shapes)
    draft.eval("few", shots=1, on=["left"], items=2)
    recipe = draft.recipe("mine")
    assert recipe.given.objects["d"] is shapes and recipe.name == "mine"
    assert (repr(draft), str(draft)) == ("Draft(3 items)", draft.text)
    assert "count=12" in draft.text


@pytest.mark.slow
def test_what_is_wrong_is_said():
    draft = mfv.Draft()
    draft.model("m", "tiny")
    draft.dataset("d", "scenes")
    with pytest.raises(ArgumentError, match="`eval` takes no 'layr'") as raised:
        draft.eval("raw", layr=1)
    assert raised.value.help == "did you mean `layer`?"
    with pytest.raises(ArgumentError, match="has to be a name"):
        draft.let("no name", 1)
    with pytest.raises(ArgumentError, match="takes no 'evl'"):
        draft.defaults_for("evl", items=1)
    for relation in (" ", 3, ("left", "right")):
        with pytest.raises(ArgumentError, match="name"):
            mfv.match("each", {relation: fv("left")})
    with pytest.raises(ArgumentError, match="is written out"):
        draft.dataset("e", "scenes(count=3)", seed=1)
    with pytest.raises(ArgumentError, match="has to be a vector"):
        draft.eval("raw", add="left")
    vector = fv("left")
    for _ in range(40):
        vector = mfv.mean(vector, vector)
    with pytest.raises(ArgumentError, match="words and signs long") as raised:
        draft.vector("deep", vector)
    assert "draft.vector" in (raised.value.help or "")
    draft.eval("raw", add=mfv.Draft().vector("nowhere", fv("left")), layer=1)
    with pytest.raises(RecipeError, match="unknown vector `nowhere`"):
        draft.recipe()
