"""A run that is all there is given back as it is, without torch; what is not is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.base.places import step_file, store_root
from mfv_dsl.execute import finished
from mfv_dsl.execute.rows import Results
from mfv_dsl.execute.run_result import StoredValues
from mfv_dsl.execute.store import default_store
from mfv_dsl.interactive import InteractiveResult
from mfv_dsl.vector_objects import InteractiveVector

#: When a vector was created, and the hash of what is said of it, that moment too.
_MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|(?<=metadata_sha256)\W+[0-9a-f]{64}")
TEXT = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right])
defaults { trials = 2, shots = 1, items = 4, layer = 1, heads = top(3, on=[left, right]) }
eval zero { shots = 0 }
eval raw { add = fv(each), against = [zero], layer = 0..1, controls = [random_vector] }
eval chosen { add = fv(left) - fv(right), choose = [layer], on = [left], layer = 0..1 }
tune learned { start = fv(left), on = [left], layer = 1, epochs = 1, items = 4, select_items = 4 }
save "library" { vectors = [fv(left), fv(right)] }
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a run leaves it, with its store and its library in it."""
    folder = tmp_path_factory.mktemp("finished") / "ran"
    folder.mkdir()
    (folder / "r.mfv").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MFV_HOME", str(folder / "store"))
        assert not is_given_back(mfv.run(folder / "r.mfv"))
    shutil.copytree(folder, folder.with_name("as it was"))
    return folder


@pytest.fixture
def recipe(ran: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in a folder of its own, that has been run once."""
    shutil.rmtree(ran)
    shutil.copytree(ran.with_name("as it was"), ran)
    monkeypatch.chdir(ran)
    monkeypatch.setenv("MFV_HOME", str(ran / "store"))
    return ran / "r.mfv"


def is_given_back(result: InteractiveResult) -> bool:
    return isinstance(result.values, StoredValues)


def written(folder: Path) -> dict[str, bytes]:
    """Every file of a run's folder and of its library, but the manifest, without moments."""
    return {
        path.relative_to(folder).as_posix(): _MOMENT.sub(b"", path.read_bytes())
        for part in ("runs", "library")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", ".lock")
    }


@pytest.mark.slow
def test_a_run_that_is_all_there_gives_the_same(recipe: Path) -> None:
    first = mfv.run(recipe, fresh=True)
    before = written(recipe.parent)
    again = mfv.run(recipe)
    assert not is_given_back(first)
    assert is_given_back(again)
    assert again.results == first.results
    assert again.saved == first.saved
    assert again.cached == len(again.plan.steps) == len(again.values)
    assert written(recipe.parent) == before
    manifest = json.loads((again.folder / "manifest.json").read_text())
    assert all(step["cached"] for step in manifest["steps"].values())
    assert manifest["models"]["m"]["device"] is None
    assert set(again.values) == set(first.values)
    vectors = 0
    for key, value in first.values.items():
        if isinstance(value, InteractiveVector):
            vectors += 1
            assert isinstance(again.values[key], InteractiveVector)
            assert np.array_equal(again.values[key].numpy(), value.numpy())
    assert vectors


@pytest.mark.slow
def test_rows_come_back_from_their_json(recipe: Path) -> None:
    results = mfv.run(recipe).results
    assert results.tunes and results.choices
    assert any(row.against for row in results.rows)
    assert any(row.control for row in results.rows)
    assert Results.of_json(json.loads(json.dumps(results.to_json()))) == results


PROGRAM = """
import atexit, sys
atexit.register(lambda: print("MODULES", *sorted(sys.modules), file=sys.stderr))
from mfv_dsl.cli import main
main()
"""


@pytest.mark.slow
def test_it_loads_no_library_that_computes(recipe: Path) -> None:
    def run(*options: str) -> tuple[str, set[str]]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "run", str(recipe), "--quiet", *options],
            capture_output=True, text=True, check=True, env=dict(os.environ),
        )  # fmt: skip
        return done.stdout, set(done.stderr.rpartition("MODULES")[2].split())

    (recipe.parent / "runs/r/results.csv").unlink()
    printed, modules = run()
    assert "torch" in modules
    for options in ((), ("--out", "elsewhere")):
        again, modules = run(*options)
        assert again.replace("elsewhere", "runs/r") == printed and "raw" in printed
        assert "mfv_dsl.execute.finished" in modules
        assert modules & {"torch", "numpy", "scipy", "transformers", "PIL", "safetensors"} == set()


CHANGES: dict[str, Callable[[Path], object]] = {
    "results": lambda at: (at / "runs/r/results.json").write_text("{}"),
    "no table": lambda at: (at / "runs/r/results.csv").unlink(),
    "no vector": lambda at: next((at / "runs/r/vectors").iterdir()).unlink(),
    "recipe": lambda at: (at / "runs/r/recipe.mfv").write_text("mfv 1\n"),
    "library": lambda at: (at / "library/left.safetensors").unlink(),
    "index": lambda at: (at / "library/index.json").write_text("{}"),
    "card": lambda at: (at / "library/README.md").unlink(),
    "no manifest": lambda at: [path.unlink() for path in (at / "runs/r").glob("*.*")],
    "record": lambda at: [path.write_text("[]") for path in (at / "store/runs").iterdir()],
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_not_as_it_was_is_made_again(change: str, recipe: Path) -> None:
    before = written(recipe.parent)
    CHANGES[change](recipe.parent)
    assert not is_given_back(mfv.run(recipe))
    after = written(recipe.parent)
    assert after.keys() == before.keys()
    if change != "library":  # whose index has a hash of the new file, made at another moment
        assert after == before
    assert is_given_back(mfv.run(recipe))


@pytest.mark.slow
def test_a_damaged_or_lost_step_is_run_again(recipe: Path) -> None:
    before = written(recipe.parent)
    keys = [step.key for step in mfv.Recipe.from_file(recipe).plan().steps]
    file = step_file(store_root(), keys[0])
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match="the step is run again"):
        assert not is_given_back(mfv.run(recipe))
    step_file(store_root(), keys[-1]).unlink()
    result = mfv.run(recipe)
    assert not is_given_back(result) and result.cached == len(keys) - 1
    assert written(recipe.parent) == before


@pytest.mark.slow
def test_another_run_is_not_given_back(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_given_back(mfv.run(recipe))
    assert not is_given_back(mfv.run(recipe, fresh=True))
    assert not is_given_back(mfv.run(recipe, trace=True))
    assert (recipe.parent / "runs/r/trace.txt").exists()
    recipe.write_text(TEXT.replace("0..1, controls", "1, controls"))
    changed = mfv.run(recipe)
    assert not is_given_back(changed)
    assert {row.layer for row in changed.rows if row.eval == "raw"} == {1}
    assert is_given_back(mfv.run(recipe))
    monkeypatch.setattr(finished, "_program", lambda: [("changed.py", 1, 1)])
    assert not is_given_back(mfv.run(recipe))


@pytest.mark.slow
def test_in_another_folder_it_is_copied(recipe: Path) -> None:
    first = mfv.run(recipe)
    elsewhere = recipe.parent / "deep/elsewhere"
    copied = mfv.run(recipe, out=elsewhere)
    assert is_given_back(copied)
    assert copied.folder == elsewhere and copied.results == first.results
    names = [path.name for path in elsewhere.rglob("*.safetensors")]
    assert {n.partition("_")[0] for n in names} >= {"left", "right"}
    whole = {**written(recipe.parent)}
    for name in (path.relative_to(elsewhere) for path in elsewhere.rglob("*") if path.is_file()):
        if name.name != "manifest.json":
            there = _MOMENT.sub(b"", (elsewhere / name).read_bytes())
            assert there == whole[f"runs/r/{name.as_posix()}"]
    manifest = json.loads((elsewhere / "manifest.json").read_text())
    assert manifest["source"] == "../../r.mfv"
    assert all(step["cached"] for step in manifest["steps"].values())
    assert is_given_back(mfv.run(recipe, out=elsewhere))
    shutil.rmtree(recipe.parent / "runs")  # the copy is a run as any other
    assert is_given_back(mfv.run(recipe))
    assert written(recipe.parent) == whole


@pytest.mark.slow
def test_a_folder_that_cannot_be_is_said(recipe: Path) -> None:
    with pytest.raises(mfv.MfvError, match="MFV6122"):
        mfv.run(recipe, "a" * 300)


@pytest.mark.slow
def test_what_is_not_as_it_was_is_not_copied(recipe: Path) -> None:
    results = recipe.parent / "runs/r/results.csv"
    results.write_text("changed")
    assert not is_given_back(mfv.run(recipe, out="elsewhere"))
    assert (recipe.parent / "elsewhere/results.csv").read_text() != "changed"
    stranger = recipe.parent / "taken/results.csv"
    stranger.parent.mkdir()
    stranger.write_text("mine")
    with pytest.raises(mfv.MfvError, match="MFV6072"):
        mfv.run(recipe, out="taken")
    assert stranger.read_text() == "mine"


@pytest.mark.slow
def test_a_run_with_errors_is_not_given_back(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe.parent / "r.mfv").write_text(TEXT.replace('"library"', '"locked"'))
    (recipe.parent / "locked").mkdir()
    (recipe.parent / "locked/left.safetensors").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            result = mfv.run(recipe)
            assert result.unsaved and not is_given_back(result)


@pytest.mark.slow
def test_an_emptied_store_notes_no_run(recipe: Path) -> None:
    result = mfv.run(recipe)
    assert len(list(store_root().glob("runs/*.json"))) == 2  # of the folder, of what was run
    assert default_store().clear() == len(result.plan.steps)
    assert list(store_root().glob("runs/*.json")) == []
