"""A recipe with every operation: the same bits twice on one machine, the same figures on all.

Processors and libraries add in different orders, so figures that were made elsewhere are held
within what rounding can do: a probability moves a little, an item whose two best answers are nearly
equal may turn, and of two heads, layers or epochs that are nearly equally good either may be
chosen.  What was chosen is therefore not compared, but how good it was.

``python -m tests.execute.test_golden`` writes the figures anew; look at the difference.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import mfv_dsl as mfv
from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.methods.intervals import wilson
from tests.warm import Warm

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "tests" / "golden" / "operations.mfv"
FIGURES = RECIPE.with_suffix(".json")
#: Of probabilities and what is made of them; other instruction sets change them by 3e-7.
PROBABILITY, EFFECT = 1e-4, 1e-4
#: Of a length its share; of what was trained, in steps that carry rounding on, more.
LENGTH, TRAINED = 1e-4, 1e-3
#: Two items of the 20, whose two best answers are nearly equal.
ACCURACY, INTERVAL = 0.1 + 1e-9, 0.15

pytestmark = pytest.mark.slow


def run(folder: Path, warm: bool = False) -> None:
    """The recipe as a user runs it, with a store of its own, in a process of its own, which is
    forked from one that has imported everything if ``warm``."""
    folder.mkdir(exist_ok=True)
    words = ("run", str(RECIPE), "--out", "out", "--quiet")
    environment = {**os.environ, "MFV_HOME": str(folder / "store"), "PYTHONPATH": str(ROOT)}
    (folder / "vectors").symlink_to(ROOT / "vectors")  # `load` takes paths from here
    if warm:
        assert Warm(folder, *words, env=environment).wait() == 0
    else:
        command = [sys.executable, "-m", "mfv_dsl", *words]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def figures(folder: Path) -> dict[str, Any]:
    """What is kept of a run: its results, the effect of every head, and the saved vectors."""
    results = json.loads((folder / "out" / "results.json").read_text())
    effects = {}
    for path in (folder / "out" / "aie").glob("*.safetensors"):
        with safe_open(path, "np") as file:
            metadata = json.loads(file.metadata()["mfv"])
        name = f"{metadata['relation']}, by {metadata['parameters'].get('by', 'aie')}"
        assert name not in effects
        effects[name] = load_file(path)["aie"].round(6).tolist()
    vectors = {}
    for path in sorted((folder / "made").glob("*.safetensors")):
        stored = mfv.load_vector(path)
        vectors[path.stem] = {"norm": stored.vector.norm(), "heads": stored.vector.heads}
    return {
        "rows": results["rows"],
        "choices": results["choices"],
        "weights": results["weights"],
        "tunes": results["tunes"],
        "effects": dict(sorted(effects.items())),
        "vectors": vectors,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    run(folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return json.loads(json.dumps(figures(folder)))


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(FIGURES.read_text())


def test_it_has_every_operation():
    steps = mfv.Recipe.from_file(RECIPE).plan().steps
    assert {step.operation for step in steps} == set(PERFORM)


def test_a_second_run_gives_the_same_bits(folder: Path, tmp_path: Path):
    run(tmp_path / "again", warm=True)
    names = {"results.json", "results.csv", "confusion.csv", "choices.csv"}
    written = {path.relative_to(folder / "out") for path in (folder / "out").rglob("*.*")}
    assert names <= {str(name) for name in written}
    for name in written:
        if name.suffix != ".mfv" and name.name not in ("manifest.json", "plan.json"):
            first, second = (one / "out" / name for one in (folder, tmp_path / "again"))
            if name.suffix == ".safetensors":
                same_arrays(first, second)
            else:
                assert first.read_bytes() == second.read_bytes(), name
    for path in (folder / "made").glob("*.safetensors"):
        same_arrays(path, tmp_path / "again" / "made" / path.name)


def same_arrays(first: Path, second: Path) -> None:
    """Files of vectors note the moment at which they were made; their numbers do not."""
    one, other = load_file(first), load_file(second)
    assert one.keys() == other.keys()
    assert all(one[name].tobytes() == other[name].tobytes() for name in one), first.name


IDENTITY = ("eval", "relation", "shots", "scale", "k", "control", "vector", "n")


def test_rows(found: dict[str, Any], golden: dict[str, Any]):
    assert len(found["rows"]) == len(golden["rows"])
    moved = 0
    for row, old in zip(found["rows"], golden["rows"], strict=True):
        assert row.keys() == old.keys()
        assert [row.get(name) for name in IDENTITY] == [old.get(name) for name in IDENTITY]
        if row["layer"] != old["layer"]:
            assert merits(golden, old) == pytest.approx(merits(golden, row), abs=ACCURACY)
            moved += 1
            continue
        tolerances = {
            "accuracy": ACCURACY, "difference": ACCURACY, "ci_low": INTERVAL, "ci_high": INTERVAL,
            "difference_low": INTERVAL, "difference_high": INTERVAL,
            # of what is generated, an answer counts or does not
            "mean_p_answer": ACCURACY if row["eval"] == "cut" else PROBABILITY,
        }  # fmt: skip
        for name, tolerance in tolerances.items():
            assert row[name] == pytest.approx(old[name], abs=tolerance), (row, name, old)
        other = row.get("answers_other"), old.get("answers_other")
        assert other == (None, None) or other[0] == pytest.approx(other[1], abs=ACCURACY)
        assert row.get("answers", {}) == pytest.approx(old.get("answers", {}), abs=ACCURACY)
        for name, gained in row.get("against", {}).items():
            before = old["against"][name]
            assert gained.keys() == before.keys() and gained["family"] == before["family"]
            for bound in ("difference", "low", "high"):  # a p-value may move far by one item
                assert gained[bound] == pytest.approx(before[bound], abs=INTERVAL)
        if "off_task" in row:
            before = old["off_task"]
            assert row["off_task"].keys() == before.keys()
            assert row["off_task"]["kl"] == pytest.approx(before["kl"], rel=LENGTH, abs=1e-4)
            assert row["off_task"]["change"] == pytest.approx(before["change"], abs=INTERVAL)
    assert moved <= 4


def merits(golden: dict[str, Any], row: dict[str, Any]) -> float:
    """How good the layer of ``row`` was, where layers were tried, in the kept figures."""
    (trial,) = (
        trial
        for trial in golden["choices"]
        if [trial[name] for name in ("eval", "relation", "layer", "scale")]
        == [row[name] for name in ("eval", "relation", "layer", "scale")]
    )
    return trial["accuracy"]


def test_what_was_tried(found: dict[str, Any], golden: dict[str, Any]):
    for trial, old in zip(found["choices"], golden["choices"], strict=True):
        assert trial.pop("accuracy") == pytest.approx(old.pop("accuracy"), abs=ACCURACY)
        p = old.pop("mean_p_answer")
        assert trial.pop("mean_p_answer") == pytest.approx(p, abs=PROBABILITY)
        assert trial.pop("chosen") in (True, False) and old.pop("chosen") in (True, False)
        assert trial == old


def test_effects_of_heads(found: dict[str, Any], golden: dict[str, Any]):
    assert found["effects"].keys() == golden["effects"].keys()
    for name, effects in found["effects"].items():
        for layer, old in zip(effects, golden["effects"][name], strict=True):
            assert layer == pytest.approx(old, abs=EFFECT)


def test_weights_of_a_blend(found: dict[str, Any], golden: dict[str, Any]):
    for row, old in zip(found["weights"], golden["weights"], strict=True):
        weights, kept = (
            {part["vector"]: part["weight"] for part in one["weights"]} for one in (row, old)
        )
        assert weights == pytest.approx(kept, abs=PROBABILITY)
        assert sum(weights.values()) == pytest.approx(1)


def test_trained_vectors(found: dict[str, Any], golden: dict[str, Any]):
    names = ("tune", "relation", "variable", "layer", "epochs", "n")
    for row, old in zip(found["tunes"], golden["tunes"], strict=True):
        assert [row[name] for name in names] == [old[name] for name in names]
        for name in ("start_accuracy", "accuracy"):
            assert row[name] == pytest.approx(old[name], abs=ACCURACY)
        interval = wilson(round(row["accuracy"] * row["n"]), row["n"])
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval)
        for name in ("start_nll", "nll"):
            assert row[name] == pytest.approx(old[name], abs=PROBABILITY, rel=TRAINED)
        assert row["start_norm"] == pytest.approx(old["start_norm"], rel=LENGTH)
        if row["chosen"] == old["chosen"]:
            assert row["norm"] == pytest.approx(old["norm"], rel=TRAINED)


def test_saved_vectors(found: dict[str, Any], golden: dict[str, Any]):
    assert found["vectors"].keys() == golden["vectors"].keys()
    for name, vector in found["vectors"].items():
        old = golden["vectors"][name]
        if vector["heads"] == old["heads"]:
            trained = name.startswith(("tuned", "masked"))
            tolerance = TRAINED if trained else LENGTH
            assert vector["norm"] == pytest.approx(old["norm"], rel=tolerance), name
        else:
            assert nearly_as_good(vector["heads"], old["heads"], golden["effects"]), name


def nearly_as_good(heads: Any, old: Any, effects: dict[str, Any]) -> bool:
    """Whether heads that only one of the two rankings chose differ by rounding alone."""
    mean = [effects[f"{relation}, by aie"] for relation in ("left", "above")]
    scores = {
        (layer, head): (mean[0][layer][head] + mean[1][layer][head]) / 2
        for layer in range(10)
        for head in range(8)
    }
    chosen, kept = ({tuple(head) for head in one} for one in (heads, old))
    only = [scores[head] for head in chosen ^ kept]
    return len(chosen) == len(kept) and max(only) - min(only) < 2 * EFFECT


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        run(Path(place))
        FIGURES.write_text(json.dumps(figures(Path(place)), indent=1) + "\n")
