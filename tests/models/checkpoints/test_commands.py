"""Checkpoints in recipes and at the command line."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.execute import environment
from mfv_dsl.execute.environment import DeviceMemory, _where
from mfv_dsl.foreign import ImportOptions, export_vector, import_file
from mfv_dsl.library.folder import Library
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.models.checkpoints.published_checkpoints import KNOWN
from mfv_dsl.models.vlm.known import KNOWN as KNOWN_VLMS
from mfv_dsl.report.environment import extras_lines

RECIPE = """mfv 1
model   m = openflamingo("{path}", dtype={dtype})
dataset d = scenes(relations=[left, right], count=12)
eval raw {{
  add = fv(left, heads={{L1H1, L3H0}}, trials=3, shots=1, correct_only=false)
  layer = 2
  items = 4
  answer = first_token
  on = [left]
}}
save "{folder}/mine" {{ vectors = [fv(left, heads={{L1H1}}, trials=3, correct_only=false)] }}
"""


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mfv_dsl", *arguments], capture_output=True, text=True, **options
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["neox", "mosaic"])
def test_a_recipe_runs_on_a_checkpoint(kind: str, request: pytest.FixtureRequest, tmp_path: Path):
    path = request.getfixturevalue(kind)
    text = RECIPE.format(path=path, dtype="fp32", folder=tmp_path)
    done = mfv.Recipe(text).run(tmp_path / "run", fresh=True)
    assert [row.n for row in done.rows] == [4]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    said = manifest["models"]["m"]
    assert said["files"]["language"] == {"folder": str(path / "language")}
    assert said["arguments"] == {"path": str(path), "dtype": "fp32", "device": "auto"}
    assert said["device"] == str(mfv.load_model("openflamingo", path=str(path)).device)
    stored = load_vector(tmp_path / "mine" / "left.safetensors")
    assert stored.metadata["model"]["id"] == str(path)
    assert stored.metadata["model"]["fingerprint"] == said["fingerprint"]
    assert "precision" not in stored.metadata["model"]
    again = mfv.Recipe(text).run(tmp_path / "again")
    assert again.cached == len(again.plan.steps)
    manifest = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert manifest["models"]["m"]["device"] is None  # nothing had to be loaded


@pytest.mark.parametrize(
    ("kind", "wanted"), [("neox", "layers.1"), ("mpt", "blocks.1"), ("mosaic", "blocks.1")]
)
def test_a_vector_for_other_tools_names_the_layer_as_its_family_does(
    kind: str, wanted: str, request: pytest.FixtureRequest, tmp_path: Path
):
    path, residual = request.getfixturevalue(kind), np.ones(32, np.float32)
    said = {"model": {"id": str(path), "d_model": 32, "n_layers": 4}, "layer": 1}
    export_vector(tmp_path / "v.pt", residual, said)
    assert list(torch.load(tmp_path / "v.pt", weights_only=True)) == [wanted]
    options = ImportOptions(f'openflamingo("{path}")')
    (made,) = import_file(tmp_path / "v.pt", Library(tmp_path / "lib"), options)
    assert load_vector(made).metadata["layer"] == 1


@pytest.mark.slow
def test_vectors_of_one_model_combine_across_precisions(neox: Path, tmp_path: Path):
    mfv.Recipe(RECIPE.format(path=neox, dtype="bf16", folder=tmp_path)).run(tmp_path / "one")
    assert load_vector(tmp_path / "mine" / "left.safetensors").metadata["model"]["precision"] == (
        "bf16"
    )
    head = RECIPE.format(path=neox, dtype="fp32", folder=tmp_path).partition("save")[0]
    loaded = f'load("{tmp_path}/mine", "left")'
    text = head.replace("  add = fv", f"  add = {loaded} + fv")
    assert [row.n for row in mfv.Recipe(text).run(tmp_path / "two").rows] == [4]


def test_load_model_takes_the_constructors_arguments(neox: Path):
    model = mfv.load_model("openflamingo", path=str(neox), dtype="fp16", device="cpu")
    assert next(model.model.parameters()).dtype == torch.float16
    assert mfv.load_model("tiny", device="cpu").facts.d_model == 128
    with pytest.raises(mfv.MfvError, match="cannot run on cuda:99"):
        mfv.load_model("tiny", device="cuda:99")


@pytest.mark.slow
def test_checking_and_planning_load_nothing(tmp_path: Path):
    """A recipe for a large checkpoint is checked and planned where none of its files are."""
    recipe = tmp_path / "r.mfv"
    name = "openflamingo/OpenFlamingo-4B-vitl-rpj3b-langinstruct"
    recipe.write_text(
        f'mfv 1\nmodel m = openflamingo("{name}", dtype=bf16, device=balanced)\n'
        "dataset d = scenes(relations=[left, right])\n"
        "eval raw { add = fv(left, heads={L31H31}), layer = 0..31, choose = [layer] }\n"
    )
    where = {"env": os.environ | {"HF_HOME": str(tmp_path)}}
    assert command("check", str(recipe), **where).stdout == f"{recipe}: ok\n"
    plan = command("plan", str(recipe), **where).stdout
    assert "32 layers × 32 heads of 80, d = 2560" in plan
    recipe.write_text(recipe.read_text().replace("L31H31", "L32H0"))
    assert "error[MFV4" in command("check", str(recipe), **where).stderr
    recipe.write_text(recipe.read_text().replace("L32H0", "L3H0").replace("balanced", "cpu"))
    missing = command("run", str(recipe), cwd=tmp_path, **where)
    assert missing.returncode == 3
    assert "error[MFV7213]" in missing.stderr and "hf download" in missing.stderr


@pytest.mark.slow
def test_models_lists_the_published_checkpoints(tmp_path: Path):
    where = {"env": os.environ | {"HF_HOME": str(tmp_path)}}
    rows = {row["name"]: row for row in json.loads(command("models", "--json", **where).stdout)}
    for name, known in KNOWN.items():
        assert rows[name]["layers"] == known.language.n_layers
        assert rows[name]["parameters"] == known.parameters
        assert rows[name]["here"] is False
    for name, model in KNOWN_VLMS.items():
        row = rows[name]
        assert row["constructor"] == "hf" and row["what"] == model.model_type
        shape = (row["layers"], row["heads"], row["head_dim"], row["d_model"])
        assert shape == (model.n_layers, model.n_heads, model.head_dim, model.d_model)
        assert row["parameters"] == model.parameters and row["download"] == 2 * model.parameters
        assert row["memory_bf16"] > row["download"]  # weights alone are as large as their files
        assert row["memory_fp32"] == pytest.approx(2 * row["memory_bf16"], abs=2)
        assert row["here"] is False


@pytest.mark.slow
def test_models_finds_what_is_in_the_cache(tmp_path: Path):
    """A snapshot counts when all of its weights are there."""
    name = "HuggingFaceTB/SmolVLM-256M-Instruct"
    repository = tmp_path / "hub" / "models--HuggingFaceTB--SmolVLM-256M-Instruct"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    (snapshot / "config.json").write_text("{}")

    def here() -> dict[str, bool]:
        listed = command("models", "--json", env=os.environ | {"HF_HOME": str(tmp_path)})
        return {row["name"]: row["here"] for row in json.loads(listed.stdout)}

    assert here()[name] is False
    (snapshot / "model.safetensors").write_bytes(b"")
    found = here()
    assert found[name] is True and found["Qwen/Qwen3-VL-4B-Instruct"] is False


# -- doctor ---------------------------------------------------------------------------------------
@pytest.mark.slow
def test_doctor_says_what_there_is(tmp_path: Path):
    done = command("doctor", "--json", env=os.environ | {"HF_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["problem"] is None and said["llava_problem"] is None and said["advice"] == []
    assert said["packages"]["open_flamingo"] == "2.0.1"
    assert said["packages"]["torch"] == torch.__version__
    assert {extra["name"]: extra["install"] for extra in said["extras"]}["lsp"] == ""
    assert said["torchvision"] in ("as is", "declared")
    assert said["devices"][0]["name"] == "cpu"
    assert 0 < said["devices"][0]["free"] <= said["devices"][0]["memory"]
    assert said["cache"] == str(tmp_path / "hub")
    assert [fit["name"] for fit in said["fits"]] == [*KNOWN, *KNOWN_VLMS]
    places = tuple(DeviceMemory(**place) for place in said["devices"])
    for fit in said["fits"][len(KNOWN) :]:
        weights = 2 * KNOWN_VLMS[fit["name"]].parameters
        assert fit["bf16"] == _where(round(1.2 * weights), places)
        assert fit["fp32"] == _where(round(2.4 * weights), places)


@pytest.mark.slow
def test_doctor_says_what_to_type(tmp_path: Path):
    """In an environment that is this one without open_flamingo."""
    (packages,) = {Path(torch.__file__).parents[1], *map(Path, site.getsitepackages())}
    for path in packages.iterdir():
        if not path.name.startswith("open_flamingo") and path.suffix != ".pth":
            (tmp_path / path.name).symlink_to(path)
    root = Path(mfv.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mfv_dsl", "doctor"], capture_output=True, text=True, cwd=root,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "open_flamingo is missing\n" in done.stdout
    assert "tiny() does not run: open_flamingo is not installed\n" in done.stdout
    assert 'tiny("llava") runs\n' in done.stdout
    assert "pip install --no-deps open_flamingo==2.0.1\n" in done.stdout
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "mfv_dsl", "run", "quickstart", "--out", str(tmp_path / "x")],
        capture_output=True, text=True, cwd=root,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "MFV_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert ran.returncode == 3
    assert "error[MFV7222]: open_flamingo is not installed" in ran.stderr


def test_doctor_knows_every_extra(monkeypatch: pytest.MonkeyPatch):
    text = Path(mfv.__file__).parents[1].joinpath("pyproject.toml").read_text()
    block = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    declared = {
        name: re.findall(r'"([\w-]+)', packages)
        for name, packages in re.findall(r"^(\w+) = \[(.*)\]$", block, re.MULTILINE)
    }
    assert {extra.name: list(extra.packages) for extra in environment.extras()} == declared
    monkeypatch.setattr(environment, "_version", {"pygls": "2.0"}.get)
    found = {extra.name: extra for extra in environment.extras()}
    assert found["lsp"].packages == {"pygls": "2.0"} and found["lsp"].install == ""
    assert found["serve"].install == "pip install 'mfv-dsl[serve]'"
    shown = extras_lines(tuple(found.values()))
    assert shown[0].split() == [
        "[lsp]", "pygls", "2.0", "`mfv", "lsp`:", "editors", "say", "what", "is", "wrong", "as",
        "one", "types",
    ]  # fmt: skip
    assert "pip install 'mfv-dsl[serve]'" in shown[2] and "`mfv serve`" in shown[2]
    columns = {line.index(found[name].purpose) for name, line in zip(found, shown, strict=True)}
    assert len(columns) == 1


def test_where_a_model_fits():
    def place(name: str, gigabytes: int) -> DeviceMemory:
        return DeviceMemory(name, "", gigabytes * 10**9, 0)

    cpu, one, two = place("cpu", 64), place("cuda:0", 24), place("cuda:1", 24)
    assert _where(20 * 10**9, (cpu, one)) == "cuda"
    assert _where(40 * 10**9, (cpu, one, two)) == "balanced"
    assert _where(40 * 10**9, (cpu, one)) == "cpu"
    assert _where(20 * 10**9, (cpu, place("cuda:0", 8), two)) == "cuda:1"
    assert _where(100 * 10**9, (cpu, one, two)) is None
