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

ROOT = Path(__file__).parents[2]
EXPECTED = ROOT / "tests" / "golden" / "quickstart.json"

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


@pytest.fixture(scope="module")
def quickstart(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The bundled quickstart, run from the wheel in an empty environment far from the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    call(*install, "torch")
    call(*install, wheel)
    call(python, "-m", "pip", "install", "--quiet", "--no-deps", "open_flamingo==2.0.1")
    said = call(folder / "env" / "bin" / "mfv", "run", "quickstart", "--json", cwd=folder)
    assert (folder / "vectors" / "quickstart" / "steer.safetensors").exists()
    found: dict[str, Any] = json.loads(said)
    return found


def test_wheel_carries_grammar_weights_recipes_and_vectors(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "py.typed", "grammars/mfv.lark", "data/things.json", "recipes/quickstart.mfv",
        "vectors/flamingo-tiny/left.safetensors",
        "models/tiny/weights/model.safetensors", "models/tiny/weights/README.md",
    ):  # fmt: skip
        assert f"mfv_dsl/{name}" in names
    assert not [name for name in names if name.startswith(("tests/", "tools/"))]
    assert wheel.stat().st_size < 16 * 2**20


def test_wheel_carries_the_page_of_every_error_code(wheel: Path):
    folder = "mfv_dsl/lang/pages"
    pages = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(f"{folder}/")}
    assert pages == {f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.md")}


def test_quickstart_figures_lie_within_their_intervals(quickstart: dict[str, Any]):
    """Every accuracy is inside the 95 % interval of the committed run of the same recipe."""
    expected = json.loads(EXPECTED.read_text())["rows"]
    found = quickstart["rows"]
    name = ("eval", "relation", "shots")
    assert [[row[k] for k in name] for row in found] == [[row[k] for k in name] for row in expected]
    for old, new in zip(expected, found, strict=True):
        assert old["ci_low"] - 1e-9 <= new["accuracy"] <= old["ci_high"] + 1e-9, (old, new)


def test_quickstart_shows_what_it_promises(quickstart: dict[str, Any]):
    rows = {(row["eval"], row["relation"]): row for row in quickstart["rows"]}
    for relation in ("left", "right", "above", "below"):
        assert rows["few_shot", relation]["accuracy"] >= 0.95
        assert rows["zero_shot", relation]["ci_high"] < rows["raw", relation]["ci_low"]
        assert rows["raw", relation]["difference_low"] > 0.2
    assert {choice["split"] for choice in quickstart["choices"]} == {"validation"}
