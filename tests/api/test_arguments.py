"""Values of every type in every argument of the Python interface: an error of ours, at once."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl import inputs, inspection
from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.edits import Edit
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models.openflamingo import OpenFlamingo

LEFT = mfv.fv("left")
QUICKSTART = mfv.Recipe.from_file("quickstart")
TEXT = (
    "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left], count=10)\n"
    "eval few { shots = 1, items = 4, on = [left] }\n"
)
#: Values that make sense in almost no argument.
ODD: tuple[Any, ...] = (
    float("nan"), float("inf"), -float("inf"), 1 + 2j, 10**400, b"x", object(), int, len, ...,
    [None], [object()], {"a": 1}, {1: 2}, np.array([1, 2]), np.float64("nan"), np.array(["x"]),
    torch.ones(3), torch.tensor(float("nan")), "two\nlines", "left) + fv(right", "é", (1, 2, 3),
    [(1,)], [(-1, 2)], [(1.5, 2)], range(3), frozenset({1}),
)  # fmt: skip
#: Further ones that are values of some arguments.
USUAL: tuple[Any, ...] = (None, True, False, "foo", "", 0, -1, 99, 0.5, [], ["x"], (), {},
                          Path("x"), np.bool_(True), LEFT)  # fmt: skip

#: Odd texts that data may call a relation by.
RELATIONS = ("foo", "left) + fv(right", "é")


def refused(call: Callable[[Any], Any], value: Any) -> MfvError | None:
    """The error that is raised, None where the value is taken; anything else than ours is raised
    as it is."""
    refusal = None
    try:
        call(value)
    except MfvError as error:
        refusal = error
    assert refusal is None or (refusal.code != "MFV5900" and refusal.message)
    return refusal


def check(call: Callable[[Any], Any], taken: tuple[Any, ...] = ()) -> None:
    """Every odd value is refused, and so is every usual one, but for those that are ``taken``."""
    for value in (*ODD, *USUAL):
        known = any(value is one or (type(value) is type(one) and value == one) for one in taken)
        assert (refused(call, value) is None) == known, value


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    "fv": (lambda x: mfv.fv(x), RELATIONS),
    "heads": (lambda x: mfv.fv("left", heads=x), (None,)),
    "shots": (lambda x: mfv.fv("left", shots=x), (None, 0, 99)),
    "correct_only": (lambda x: mfv.fv("left", correct_only=x),
                     (None, True, False, np.bool_(True))),
    "bias": (lambda x: mfv.fv("left", bias=x), (None,)),
    "normalize": (lambda x: mfv.normalize(x), (LEFT,)),
    "mean": (lambda x: mfv.mean(LEFT, x), (LEFT,)),
    "project": (lambda x: mfv.project(LEFT, onto=x), (LEFT,)),
    "clip": (lambda x: mfv.clip(LEFT, most=x), (99, 0.5)),
    "seed": (lambda x: mfv.random_like(LEFT, seed=x), (None, 0, 99)),
    "zeros": (lambda x: mfv.zeros(x), ()),
    "+": (lambda x: LEFT + x, (LEFT,)),
    "right +": (lambda x: x + LEFT, (0, LEFT)),
    "-": (lambda x: LEFT - x, (LEFT,)),
    "right -": (lambda x: x - LEFT, (LEFT,)),
    "*": (lambda x: LEFT * x, (0, -1, 99, 0.5)),
    "right *": (lambda x: x * LEFT, (0, -1, 99, 0.5)),
    "/": (lambda x: LEFT / x, (-1, 99, 0.5)),
    "right /": (lambda x: x / LEFT, ()),
    "compile": (mfv.compile, ("foo",)),
    "parse": (mfv.Expression.parse, ("foo",)),
    "Recipe": (mfv.Recipe, ()),
    "profile": (lambda x: mfv.Recipe(TEXT, profile=x), (None,)),
    "overrides": (lambda x: mfv.Recipe(TEXT, overrides=x), ([], (), {})),
    "from_file": (mfv.Recipe.from_file, ()),
    "run": (lambda x: mfv.run(x), ()),
    "load_model": (mfv.load_model, ()),
    "load_model name": (lambda x: mfv.load_model("tiny", x), (None,)),
    "load_model device": (lambda x: mfv.load_model("tiny", device=x), (None,)),
    "load_model download": (lambda x: mfv.load_model("tiny", download=x),
                            (True, False, np.bool_(True))),
    "load_model foo": (lambda x: mfv.load_model("tiny", foo=x), ()),
    "load_model dtype": (lambda x: mfv.load_model("hf", "no/where", dtype=x), ()),
    "load_dataset": (mfv.load_dataset, ()),
    "scenes": (lambda x: mfv.load_dataset("scenes", relations=x), (None,)),
    "scenes seed": (lambda x: mfv.load_dataset("scenes", seed=x), (None, 0, 99)),
    "load_vector": (mfv.load_vector, ()),
    "load_vector name": (lambda x: mfv.load_vector("vectors/flamingo-tiny", x), ()),
    "check model": (lambda x: LEFT.check(x), ()),
    "check dataset": (lambda x: LEFT.check(dataset=x), ()),
    "check heads": (lambda x: LEFT.check(heads=x), (None,)),
    "check shots": (lambda x: LEFT.check(shots=x), (None, 0, 99)),
    "check foo": (lambda x: LEFT.check(foo=x), (None,)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_argument_of_the_interface(name: str):
    check(*FUNCTIONS[name])


VECTOR = Vector(torch.arange(4.0), Space("one", 4))


@pytest.mark.parametrize(
    ("call", "taken"),
    [
        (lambda x: VECTOR + x, ()), (lambda x: x + VECTOR, (0,)), (lambda x: VECTOR - x, ()),
        (lambda x: x - VECTOR, ()), (lambda x: VECTOR * x, (0, -1, 99, 0.5)),
        (lambda x: x * VECTOR, (0, -1, 99, 0.5)), (lambda x: VECTOR / x, (-1, 99, 0.5)),
        (lambda x: x / VECTOR, ()), (lambda x: mfv.save_vector("unused", x), ()),
    ],
)  # fmt: skip
def test_the_algebra_of_vectors(call: Callable[[Any], Any], taken: tuple[Any, ...]):
    check(call, taken)


def test_arguments_of_bind(tiny: OpenFlamingo):
    stored = mfv.load_vector("vectors/flamingo-tiny", "left")
    vector, plan = stored.vector, mfv.Recipe(TEXT).plan()
    check(lambda x: vector.bind(tiny, x), (0,))
    check(lambda x: vector.bind(tiny, 1, x), (0, -1, 99, 0.5))
    check(lambda x: vector.bind(x, 1))
    check(lambda x: vector.bind(tiny, 1, attention_output=x), (None,))
    check(lambda x: stored.bind(tiny, x), (None, 0) if "layer" in stored.metadata else (0,))
    check(lambda x: LEFT.bind(x, 1))
    check(lambda x: LEFT.bind(tiny, x, heads=[(4, 1)], trials=4), (0,))
    check(lambda x: LEFT.bind(tiny, 1, constructor=x, heads=[(4, 1)], trials=4), (None,))
    check(lambda x: plan.bind(tiny, x))
    check(lambda x: plan.bind(tiny, "few", x))
    check(lambda x: plan.bind(tiny, foo=x))
    for layer in (-1, 99, "foo"):
        with pytest.raises(MfvError):  # before anything is computed
            LEFT.bind(tiny, layer, trials=10**6)


@pytest.mark.slow
def test_arguments_of_a_run_and_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = mfv.Recipe(TEXT)
    flag = (True, False, np.bool_(True))
    monkeypatch.chdir(tmp_path)
    result = recipe.run("out")
    check(lambda x: recipe.run("out", only=x), (None, [], ()))
    check(lambda x: recipe.run("out", progress=x), (None, *flag))
    check(lambda x: recipe.run("out", listener=x), (None,))
    check(lambda x: recipe.run("out", fresh=x), flag)
    check(lambda x: recipe.run("out", trace=x), flag)
    check(lambda x: recipe.run("out", locked=x), flag)
    check(lambda x: recipe.run("out", device=x), (None,))
    check(lambda x: recipe.run("out", model=x), (None, {}))
    check(lambda x: recipe.run("out", dataset=x), (None, {}))
    check(lambda x: mfv.run(recipe, "out", overrides=x), ([], (), {}))
    check(lambda x: mfv.run(recipe, "out", profile=x), (None,))
    check(lambda x: result.table(where=x), (None, {}))
    check(lambda x: result.table(first=x), (None, 99))


@pytest.mark.slow
def test_arguments_of_a_question(tiny: OpenFlamingo):
    question = inspection.about_scene(seed=3)
    vector = inputs.VectorInput(mfv.load_vector("vectors/flamingo-tiny", "left").vector)
    check(lambda x: inspection.ask(tiny, question, vector, layer=x), (None, 0))
    check(lambda x: inspection.ask(tiny, question, vector, 1, scale=x), (0, -1, 99, 0.5))


def test_arguments_of_edits():
    check(lambda x: Edit("lm.resid", 1, x, torch.ones(2)))
    check(lambda x: HookPlan.of(x, []))
    for value in (None, 1.0, [1.0], np.ones(2), "x"):
        with pytest.raises(mfv.ArgumentError, match="an edit's value has to be a tensor"):
            Edit("lm.resid", 1, "add", value)
    with pytest.raises(mfv.ArgumentError, match="an edit is an `Edit`"):
        HookPlan.of(torch.nn.Linear(2, 2), [], lambda model: {}).with_edits(["add"])


NUMBERS = (2, 2.0, np.int64(2), np.float32(2), np.float64(2), np.array(2), torch.tensor(2),
           torch.tensor(2.0), Fraction(2))  # fmt: skip


@pytest.mark.parametrize("two", NUMBERS, ids=lambda value: type(value).__name__)
def test_numbers_of_all_makes_are_numbers(two: Any):
    assert two * LEFT in (2 * LEFT, 2.0 * LEFT) and LEFT / two in (LEFT / 2, LEFT / 2.0)
    assert mfv.fv("left", shots=two).plan() == mfv.fv("left", shots=2).plan()
    torch.testing.assert_close((two * VECTOR).residual, 2 * VECTOR.residual)
    torch.testing.assert_close((VECTOR / two).residual, VECTOR.residual / 2)
    assert isinstance(two * VECTOR, Vector) and isinstance(two * LEFT, mfv.Expression)
    scenes = mfv.load_dataset("scenes", relations=["left"], count=10, seed=two)
    assert scenes.hash == mfv.load_dataset("scenes", relations=["left"], count=10, seed=2).hash
    assert scenes.items("left", "test") == mfv.load_dataset(
        "scenes(relations=[left], count=10, seed=2)"
    ).items("left", "test")


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        (lambda: float("nan") * LEFT, "MFV5119", "nan is no number to calculate with"),
        (lambda: LEFT + 3, "MFV3002", "does not join a Vector and a Number"),
        (lambda: 3 - LEFT, "MFV3002", "does not join a Number and a Vector"),
        (lambda: 3 / LEFT, "MFV3002", "a Vector can be divided by a Number"),
        (lambda: LEFT / 0, "MFV3009", "division by zero"),
        (lambda: LEFT * LEFT, "MFV3003", "dot("),
        (lambda: LEFT + mfv.top(3), "MFV3002", "does not join a Vector and Heads"),
        (lambda: LEFT | LEFT, "MFV3002", "vectors take `+` and `-`"),
        (lambda: mfv.top(3) + mfv.top(4), "MFV3002", "write `|`"),
        (lambda: 2 * mfv.top(3), "MFV3002", "does not join a Number and Heads"),
        (lambda: -mfv.top(3), "MFV3002", "`-` does not work on"),
        (lambda: mfv.top(0), "MFV4003", "at least 1"),
        (lambda: mfv.top(3, by="luck"), "MFV2014", "luck"),
        (lambda: mfv.top(3).plan(), "MFV3001", "needs a Vector"),
        (lambda: LEFT + "right", "MFV5119", 'a relation\'s vector is fv("right")'),
        (lambda: mfv.normalize("left"), "MFV5119", 'a relation\'s vector is fv("left")'),
        (lambda: mfv.fv("left", haeds="top(3)"), "MFV5119", "did you mean `heads`?"),
        (lambda: mfv.fv("left", "top(3)", heads="top(3)"), "MFV5119", "given `heads` twice"),
        (lambda: mfv.fv(" "), "MFV5119", "has to be a name"),
        (lambda: mfv.fv(None), "MFV5119", "fv() needs `relation`"),
        (lambda: mfv.clip(LEFT, most=-1), "MFV4003", "most"),
        (lambda: mfv.fv("left", heads=[(-1, 2)]), "MFV4002", "there is no head (-1, 2)"),
        (lambda: mfv.fv("left", heads=[4, 1, 2]), "MFV5119", "pairs of a layer and a head"),
        (lambda: mfv.load_model("tiny", foo=1), "MFV5119", "tiny() takes no 'foo'"),
        (lambda: mfv.load_model("tiny", "lava"), "MFV7275", "did you mean `llava`?"),
        (lambda: mfv.load_model("tiny(foo=1)"), "MFV2007", "foo"),
        (lambda: mfv.load_model("tiny()", name="llava"), "MFV5119", "is a whole call"),
        (lambda: mfv.load_model("tiny", device="moon"), "MFV7219", "moon"),
        (lambda: mfv.load_dataset("scenes", count=0), "MFV4003", "count"),
        (lambda: mfv.run("quickstart", fresh=1), "MFV5119", "fresh has to be True or False"),
        (lambda: mfv.run("a" * 300), "MFV6101", "cannot read aaa"),
        (lambda: mfv.run("quickstar"), "MFV6101", "did you mean `quickstart`?"),
        (lambda: mfv.match("each", "left"), "MFV5119", "takes values by relation"),
        (lambda: mfv.Draft().let("n", 3, doc=True), "MFV5119", "doc has to be text"),
        (lambda: mfv.Draft().eval("e", docs=["x"]), "MFV5119", "docs has to be a mapping"),
        (lambda: mfv.Draft().profile("p", "x"), "MFV5119", "a profile has to be a mapping"),
        (lambda: mfv.Draft().defaults_for(None), "MFV5119", "a kind has to be text"),
        (lambda: mfv.Draft().vector("v", int), "MFV5119", "a family is a function"),
        (lambda: QUICKSTART.run(launcher_options={1: 2}), "MFV5119", "a mapping of names"),
        (lambda: QUICKSTART.run(launcher_options=None), "MFV5119", "a list of texts"),
        (lambda: QUICKSTART.plan().estimate(rate=3), "MFV5119", "rate has to be text"),
        (lambda: QUICKSTART.plan().estimate(device=True), "MFV5119", "device has to be text"),
        (lambda: QUICKSTART.folder_of(3), "MFV5119", "only has to be a text"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_wrong_value(call: Callable[[], Any], code: str, says: str):
    with pytest.raises(MfvError) as error:
        call()
    assert error.value.code == code
    assert says in str(error.value)


def test_a_wrong_type_is_a_type_error_too():
    with pytest.raises(TypeError, match="MFV5119"):
        _ = VECTOR + 3
    with pytest.raises(TypeError):
        mfv.load_vector(3)


def test_heads_may_be_pairs():
    written = mfv.compile("fv(left, heads={L4H1, L2H6})")
    pairs = [(4, 1), (2, 6)]
    for heads in (pairs, tuple(pairs), [[4, 1], [2, 6]], np.array(pairs).tolist(),
                  [(np.int64(4), np.int64(1)), (2, 6)], ["L4H1", "L2H6"]):  # fmt: skip
        assert mfv.fv("left", heads=heads) == written
        assert mfv.fv("left").plan(heads=heads) == mfv.fv("left").plan(heads="{L4H1, L2H6}")
    assert str(mfv.fv("left", heads=(4, 1))) == "fv(left, heads={L4H1})"
    keys = [step.key for step in mfv.fv("left", heads=set(pairs)).plan().steps]
    assert keys == [step.key for step in written.plan().steps]
