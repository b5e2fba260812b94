"""Objects in a few words, copies of them, and what is said while something runs."""

from __future__ import annotations

import ast
import copy
import inspect
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.execute.run_result import RunResult
from mfv_dsl.lang.functions import FUNCTIONS
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.progress import in_notebook, listening

TEXT = (
    "mfv 1\nmodel m = tiny()\ndataset d = scenes(count=12)\n"
    "heads few = top(3, by=aie, trials=4, on=[left])\n"
    "defaults { heads = few, trials = 4 }\n"
    "eval raw { add = fv(each), layer = 0..9, items = 4, choose = [layer] }\n"
    "tune best { start = random, layer = 2, on = [left] }\n"
    'save "vectors/shown" { vectors = [fv(each)] }\n'
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    library = tmp_path_factory.mktemp("library") / "shown"
    text = "\n".join(line for line in TEXT.splitlines() if not line.startswith("tune"))
    recipe = mfv.Recipe(text.replace("vectors/shown", str(library)) + "\n")
    return recipe.run(tmp_path_factory.mktemp("run"))


def parts(value: Any, seen: set[int]) -> list[Any]:
    """Every object of mfv-dsl that can be reached from ``value``."""
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        children = list(value)
    elif type(value).__module__.startswith("mfv_dsl"):
        children = list(getattr(value, "__dict__", {}).values())
    else:
        return []
    own = [value] if type(value).__module__.startswith("mfv_dsl") else []
    return own + [part for child in children for part in parts(child, seen)]


@pytest.mark.slow
def test_every_object_of_a_run_is_shown_in_a_few_lines(result: RunResult):
    objects = parts(result, set())
    assert {"InteractiveVector", "InteractivePlan", "Mediation", "Evaluation", "ResultRow"} <= {
        type(value).__name__ for value in objects
    }
    longest: dict[str, int] = {}
    for value in objects:
        for text in (repr(value), str(value)):
            name = type(value).__name__
            longest[name] = max(longest.get(name, 0), len(text), 500 * text.count("\n"))
    assert {name: size for name, size in longest.items() if size > 2000} == {}


@pytest.mark.slow
def test_other_objects_are_shown_in_a_few_lines(tiny: OpenFlamingo, scenes: Scenes):
    batch = tiny.batch(draw_prompts(scenes, "left", "test", 8, 4), scenes)
    stored = mfv.load_vector("vectors/flamingo-tiny", "left")
    long = sum(mfv.fv("left", shots=n) for n in range(1, 400))
    for value in (
        tiny, scenes, batch, full_pass(tiny, batch), stored, stored.vector, stored.vector * 2,
        stored.bind(tiny, 1), long, mfv.Recipe(TEXT), mfv.Recipe(TEXT).plan(),
        mfv.Recipe(TEXT).checked, mfv.Recipe("mfv 1\n" + "# x\n" * 10_000),
        mfv.MfvError("MFV5119", "x" * 100), tiny.facts, tiny.sites,
    ):  # fmt: skip
        assert len(repr(value)) <= 2000, type(value)
    assert repr(stored.vector).startswith("Vector(residual=tensor (128,), ")
    assert repr(mfv.Recipe(TEXT).plan()).startswith("Plan(steps: ")
    assert "evals: raw" in repr(mfv.Recipe(TEXT).plan())
    assert "vectors/shown" in repr(mfv.Recipe(TEXT).plan())


@pytest.mark.slow
def test_a_result_says_what_it_is(result: RunResult):
    text = repr(result)
    assert text.startswith(f"Result({len(result.rows)} rows of raw, ")
    assert "8 vectors saved" in text and str(result.folder)[:20] in text


@pytest.mark.slow
def test_copies_and_pickles(result: RunResult):
    stored = mfv.load_vector("vectors/flamingo-tiny", "left")
    for value in (mfv.fv("left") - 2 * mfv.fv("right"), mfv.Recipe(TEXT), mfv.Recipe(TEXT).plan(),
                  mfv.fv):  # fmt: skip
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value
    for vector in (stored.vector, result.values[result.plan.saves[0].vectors[0].step]):
        for again in (pickle.loads(pickle.dumps(vector)), copy.deepcopy(vector), copy.copy(vector)):
            assert torch.equal(again.residual, vector.residual) and again.space == vector.space
            np.testing.assert_array_equal((2 * again).numpy(), 2 * vector.numpy())
    copied = pickle.loads(pickle.dumps(result))
    assert copied.rows == result.rows and repr(copied) == repr(result)
    error = pickle.loads(pickle.dumps(mfv.ArgumentError("wrong", "do this")))
    assert isinstance(error, mfv.ArgumentError) and str(error) == str(
        mfv.ArgumentError("wrong", "do this")
    )


def test_a_plan_takes_no_loaded_model_along(tiny: OpenFlamingo):
    plan = mfv.fv("left").plan(tiny)
    assert plan.given and not pickle.loads(pickle.dumps(plan)).given
    assert len(pickle.dumps(plan)) < 50_000


# -- vectors ---------------------------------------------------------------------------------------
def test_vectors_are_summed_and_given_to_numpy(tmp_path: Path):
    left, right = (mfv.load_vector("vectors/flamingo-tiny", name) for name in ("left", "right"))
    total = sum([left.vector, right.vector])
    np.testing.assert_allclose(total.numpy(), left.vector.numpy() + right.vector.numpy())
    assert total.numpy().dtype == np.float32 and total.numpy().shape == (128,)
    total.numpy()[:] = 0
    assert total.norm() > 0
    file = total.save(tmp_path / "total")
    again = mfv.load_vector(file)
    np.testing.assert_array_equal(again.vector.numpy(), total.numpy())
    mfv.save_vector(tmp_path / "stored", left)
    kept = mfv.load_vector(tmp_path / "stored.safetensors")
    assert kept.metadata["relation"] == "left"
    assert (left.vector + right).norm() == total.norm()  # a stored one is its vector


def test_expressions_are_summed():
    names = ("left", "right", "above")
    assert str(sum([mfv.fv(name) for name in names])) == "fv(left) + fv(right) + fv(above)"
    assert sum([mfv.fv("left")]) == mfv.fv("left") == +mfv.fv("left")


# -- words and types ------------------------------------------------------------------------------
def test_every_function_of_the_language_is_exported():
    for entry in FUNCTIONS:
        function = getattr(mfv, entry.name)
        assert function.__name__ == entry.name and entry.example in function.__doc__
        arguments = inspect.signature(function).parameters
        assert [name.removesuffix("_") for name in arguments] == [p.name for p in entry.parameters]
        for name, argument in arguments.items():
            assert f"\n    {name}: " in function.__doc__
            parameter = entry.parameter(name.removesuffix("_"))
            assert parameter is not None
            needed = argument.default is argument.empty
            assert needed == parameter.required or argument.kind is argument.VAR_POSITIONAL
        assert entry.name in dir(mfv) and pickle.loads(pickle.dumps(function)) is function
    assert (Path(mfv.__file__).parent / "py.typed").exists()


# -- what is said while something runs -------------------------------------------------------------
@pytest.mark.slow
def test_a_run_is_logged_and_prints_nothing(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
):
    text = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left], count=9)\neval e {\n}\n"
    recipe = mfv.Recipe(text, overrides={"e.items": 3})
    more = mfv.Recipe(text + "eval f {\n}\n", overrides={"e.items": 3, "f.items": 4})
    with caplog.at_level(logging.INFO, "mfv_dsl"):
        recipe.run(tmp_path / "one")
        more.run(tmp_path / "more")
        recipe.run(tmp_path / "one")
    told = [record.message for record in caplog.records]
    assert any(line.startswith("e: left, 0 shots: done") for line in told), told
    assert any(line.startswith("e: left, 0 shots: from the store") for line in told)
    assert any("one holds this run already, all 2 steps" in line for line in told)
    assert capfd.readouterr() == ("", "")
    assert any(
        isinstance(handler, logging.NullHandler)
        for handler in logging.getLogger("mfv_dsl").handlers
    )


@pytest.mark.slow
def test_no_module_prints_but_commands_and_magics():
    package = Path(mfv.__file__).parent
    for file in package.rglob("*.py"):
        if {package / "cli", package / "notebook"}.intersection(file.parents):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        programs = [node for node in tree.body if isinstance(node, ast.If)]  # if run by itself
        own = {id(node) for program in programs for node in ast.walk(program)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                assert id(node) in own, f"{file}, line {node.lineno}"


@pytest.mark.slow
def test_progress_is_shown_where_it_is_asked_for(capfd: pytest.CaptureFixture[str]):
    def vector(**options: Any) -> str:
        mfv.fv("left").vector("tiny", "scenes(count=10)", heads=[(4, 1)], trials=4, **options)
        return capfd.readouterr().err

    assert vector(seed=31) == ""
    assert "mean head outputs on left" in vector(seed=32, progress=True)
    assert vector(seed=33, progress=False) == ""


def test_a_listener_is_told(tmp_path: Path):
    told: list[tuple[str, int]] = []

    class Listener:
        def begin(self, label: str, total: int) -> Any:
            told.append((label, total))
            return lambda units: None

    mfv.fv("left").vector(
        "tiny", "scenes(count=10)", listener=Listener(), heads=[(4, 1)], trials=4, seed=34
    )
    assert told


def test_notebooks_show_progress_by_themselves(monkeypatch: pytest.MonkeyPatch):
    assert not in_notebook()
    with listening(None) as told:
        assert told is None
    kernel = type("Shell", (type("ZMQInteractiveShell", (), {}),), {})()  # as Colab's is
    monkeypatch.setattr("IPython.get_ipython", lambda: kernel)
    assert in_notebook()
    with listening(None) as told:
        assert told is not None
        told.begin("work", 3)(3)
    with listening(False) as told:
        assert told is None
