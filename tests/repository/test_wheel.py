"""What a newcomer gets: a wheel, an empty environment, the quickstart, and its figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mfv_dsl.base.places import LIBRARIES

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
#: What runs the quickstart on the second bundled model, as the README shows it.
ON_LLAVA = ("--profile", "llava")

pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command without this environment's Python paths; its stdout."""
    ours = ("PYTHON", "VIRTUAL", "MFV")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT)
    (built,) = out.glob("*.whl")
    return built


def test_it_has_the_libraries_that_come_with_mfv_dsl(wheel: Path):
    inside = [Path(name).parts for name in zipfile.ZipFile(wheel).namelist()]
    vectors = {parts[2] for parts in inside if parts[:2] == ("mfv_dsl", "vectors")}
    assert vectors == set(LIBRARIES)


@pytest.fixture(scope="module")
def mfv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command ``mfv`` from the wheel, in an empty environment far from the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    # not compiled: most of what is installed is never imported
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    install = [*pip, "--constraint", ROOT / "constraints.txt"]
    call(*install, "torch")
    call(*install, wheel)
    call(*pip, "--no-deps", "open_flamingo==2.0.1")
    return folder / "env" / "bin" / "mfv"


def run_quickstart(mfv: Path, folder: Path, library: str, *options: str) -> dict[str, Any]:
    """The bundled quickstart's results, run in ``folder``; its vectors are left in ``library``."""
    results: dict[str, Any] = json.loads(
        call(mfv, "run", "quickstart", "--json", *options, cwd=folder)
    )
    assert (folder / "vectors" / library / "steer.safetensors").exists()
    return results


@pytest.fixture(scope="module")
def quickstart(mfv: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_quickstart(mfv, tmp_path_factory.mktemp("flamingo"), "quickstart")


@pytest.fixture(scope="module")
def quickstart_llava(mfv: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_quickstart(mfv, tmp_path_factory.mktemp("llava"), "quickstart-llava", *ON_LLAVA)


def test_wheel_carries_grammar_weights_recipes_and_vectors(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "py.typed", "grammars/mfv.lark", "data/things.json", "recipes/quickstart.mfv",
        "vectors/flamingo-tiny/left.safetensors",
        *(f"report/page/templates/{path.name}"
          for path in (ROOT / "mfv_dsl" / "report" / "page" / "templates").iterdir()),
        "recipes/paper/qwen3-vl/tuning.mfv",
        "models/tiny/weights/model.safetensors", "models/tiny/weights/README.md",
        *(f"models/llava/weights/{path.name}"
          for path in (ROOT / "mfv_dsl" / "models" / "llava" / "weights").iterdir()),
    ):  # fmt: skip
        assert f"mfv_dsl/{name}" in names
    assert not [name for name in names if name.startswith(("tests/", "tools/"))]
    assert wheel.stat().st_size < 17 * 2**20  # most of it weights


def test_wheel_carries_the_page_of_every_error_code(wheel: Path):
    folder = "mfv_dsl/lang/pages"
    pages = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(f"{folder}/")}
    assert pages == {f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.md")}


@pytest.mark.parametrize("name", ["quickstart", "quickstart_llava"])
def test_quickstart_figures_lie_within_their_intervals(name: str, request: pytest.FixtureRequest):
    """Every accuracy is inside the 95 % interval of the committed run of the same recipe."""
    expected = json.loads((GOLDEN / f"{name}.json").read_text())["rows"]
    found = request.getfixturevalue(name)["rows"]
    identity = ("eval", "relation", "shots")
    assert [[row[k] for k in identity] for row in found] == [
        [row[k] for k in identity] for row in expected
    ]
    for old, new in zip(expected, found, strict=True):
        assert old["ci_low"] - 1e-9 <= new["accuracy"] <= old["ci_high"] + 1e-9, (old, new)


def test_quickstart_shows_what_it_promises(quickstart: dict[str, Any]):
    rows = {(row["eval"], row["relation"]): row for row in quickstart["rows"]}
    for relation in ("left", "right", "above", "below"):
        assert rows["few_shot", relation]["accuracy"] >= 0.95
        assert rows["zero_shot", relation]["ci_high"] < rows["raw", relation]["ci_low"]
        assert rows["raw", relation]["difference_low"] > 0.2
    assert {choice["split"] for choice in quickstart["choices"]} == {"validation"}


def test_the_readme_says_how_the_second_model_is_run(quickstart_llava: dict[str, Any]):
    """With these very options; examples do not do there what a sum of vectors does."""
    shell = " ".join(("mfv run quickstart", *ON_LLAVA))
    assert f"```\n{shell}\n```" in (ROOT / "README.md").read_text()
    rows = {(row["eval"], row["relation"]): row for row in quickstart_llava["rows"]}
    for relation in ("above_right", "below_left"):
        summed, examples = rows[f"composed_{relation}", relation], rows["few_shot", relation]
        assert summed["ci_low"] > examples["ci_high"]
