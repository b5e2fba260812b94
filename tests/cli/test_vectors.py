"""``mfv vectors``, run as a user runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import bundled
from mfv_dsl.cli.app import app
from mfv_dsl.library.folder import Library
from tests.library.support import arrays, said

TINY = bundled("vectors") / "flamingo-tiny"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a copy of the bundled library in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    shutil.copytree(TINY, tmp_path / "vectors" / "mine")
    return tmp_path


def vectors(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["vectors", *arguments])


def refused(*arguments: str) -> str:
    """The code that a command ends with."""
    error = vectors(*arguments).exception
    assert isinstance(error, MfvError), error
    return error.code


def test_list(here: Path):
    shown = vectors("list")
    assert shown.exit_code == 0
    lines = [line.split()[:7] for line in shown.stdout.splitlines()]
    assert ["left", "extracted", "left", "fv(left)", "tiny", "0", "10"] in lines
    rows = json.loads(vectors("list", "vectors/mine", "--json").stdout)["vectors/mine"]
    assert {row["vector"]: row["kind"] for row in rows}["steer"] == "composed"
    assert rows[0]["content_sha256"] == mfv.load_vector("vectors/mine", "above").metadata[
        "content_sha256"
    ]  # fmt: skip
    (here / "vectors" / "mine" / "left.safetensors").write_bytes(b"damaged")
    assert "too short to be a safetensors file" in " ".join(vectors("list").stdout.split())
    assert refused("list", "nowhere") == "MFV6001"
    (here / "empty").mkdir()
    assert refused("list", "empty") == "MFV6001"


@pytest.mark.slow
def test_show_draws_where_a_vector_comes_from(here: Path):
    shown = vectors("show", "vectors/mine/steer").stdout
    for line in (
        "steer: composed", "├── fv(left) - fv(right) + fv(above)", "├── made of",
        "-1 × fv(right)", "heads top(10, by=aie, on=[left, right, above, below])",
        "layer 2: H1 +0.017, H6 +0.629",
        "prompts of scenes, 4 shots, 50 trials, 50 correct (100 %), corrupt mix, split extract",
        "steered: relation above_left, shots 0, layer 2, scale 1: 100 [96, 100] % correct, n 100",
        "licence mit",
    ):  # fmt: skip
        assert line in shown, line
    metadata = mfv.load_vector("vectors/mine", "steer").metadata
    assert (
        json.loads(vectors("show", "vectors/mine/steer.safetensors", "--json").stdout) == metadata
    )
    assert refused("show", "steer") == "MFV6014"
    assert refused("show", "vectors/mine/ster") == "MFV6001"


@pytest.mark.slow
def test_show_of_a_hostile_file_shows_no_control_characters(here: Path):
    library = Library(here / "odd")
    parent = {"name": "\x1b[31m", "hash": "0" * 64, "coefficient": None, "kind": "composed",
              "tuning": {"\x07": "[bold]"}}  # fmt: skip
    deep = parent
    for _ in range(40):
        deep = {**parent, "parents": [deep]}
    with library.writing():
        library.put(
            "odd", arrays(),
            said(expression="[red]\x1b]0;title\x07", parents=[deep], metrics=[{"accuracy": None}],
                 x_note="\x9b", relation="a\nb", prompt={"accuracy": 1, "correct": 2}),
        )  # fmt: skip
    for command in (("show", "odd/odd"), ("list", "odd"), ("verify", "odd")):
        shown = vectors(*command).stdout
        assert not [c for c in shown if not c.isprintable() and c != "\n"]
    assert "[red]" in vectors("show", "odd/odd").stdout  # markup is text


@pytest.mark.slow
def test_diff(here: Path):
    same = vectors("diff", "vectors/mine/left", f"{TINY}/left.safetensors")
    assert (same.exit_code, same.stdout.splitlines()[-1]) == (0, "the same numbers")
    found = vectors("diff", "vectors/mine/left", "vectors/mine/right", "--json")
    assert found.exit_code == 1
    differs = json.loads(found.stdout)
    left, right = (mfv.load_vector("vectors/mine", name).vector for name in ("left", "right"))
    v, w = left.residual.double().numpy(), right.residual.double().numpy()
    assert differs["norms"] == pytest.approx([np.linalg.norm(v), np.linalg.norm(w)])
    assert differs["cosine"] == pytest.approx(v @ w / np.linalg.norm(v) / np.linalg.norm(w))
    assert differs["max_difference"] == pytest.approx(np.abs(v - w).max())
    assert differs["metadata"]["relation"] == ["left", "right"]
    assert "model.fingerprint" not in differs["metadata"] and not differs["equal"]
    shown = vectors("diff", "vectors/mine/left", "vectors/mine/right").stdout
    assert "cosine " in shown and "largest difference " in shown
    library = Library(here / "small")
    with library.writing():
        library.put("v", arrays(), said())
        library.put("zero", {"residual": np.zeros(6)}, said())
    other = vectors("diff", "vectors/mine/left", "small/v")
    assert (other.exit_code, other.stdout.splitlines()[-1]) == (1, "they are of different sizes")
    assert json.loads(vectors("diff", "small/v", "small/zero", "--json").stdout)["cosine"] is None


@pytest.mark.slow
def test_verify(here: Path):
    good = vectors("verify")
    assert good.exit_code == 0 and good.stdout.count(" ok") == 22
    (here / "vectors" / "mine" / "left.safetensors").write_bytes(b"damaged")
    bad = vectors("verify", "vectors/mine", "--json")
    assert bad.exit_code == 1
    wrong = {Path(row["file"]).name for row in json.loads(bad.stdout) if row["error"]}
    assert wrong == {"left.safetensors", "index.json"}


@pytest.mark.slow
def test_rename_and_remove(here: Path):
    assert vectors("rename", "vectors/mine/steer", "up").exit_code == 0
    assert mfv.load_vector("vectors/mine", "up").metadata["name"] == "up"
    assert refused("rename", "vectors/mine/up", "left") == "MFV6006"
    assert refused("rename", "vectors/mine/up", "../left") == "MFV6005"
    assert refused("rename", "vectors/mine/steer", "down") == "MFV6001"
    assert vectors("remove", "vectors/mine/up", "vectors/mine/left.safetensors").exit_code == 0
    assert len(Library("vectors/mine").names()) == 19
    assert vectors("verify").exit_code == 0
    assert refused("remove", "vectors/mine/up") == "MFV6001"


@pytest.mark.slow
def test_index_and_card(here: Path):
    folder = here / "vectors" / "mine"
    for name in ("index.json", "README.md"):
        (folder / name).unlink()
    assert vectors("index", "vectors/mine").exit_code == 0
    assert vectors("verify").exit_code == 0
    assert (folder / "README.md").exists()
    assert vectors("card", "vectors/mine", "--license", "apache-2.0").exit_code == 0
    assert 'license: "mit"' in (folder / "README.md").read_text()  # the files say so
    (folder / "README.md").write_text("# mine\n")
    assert refused("card", "vectors/mine") == "MFV6009"
    assert (folder / "README.md").read_text() == "# mine\n"
    assert vectors("card", "vectors/mine", "--force").exit_code == 0
    assert refused("card", "nowhere") == "MFV6001"


@pytest.mark.slow
def test_export_and_import(here: Path):
    assert refused("export", "vectors/mine/left", "left.gguf") == "MFV6044"  # it is of layer 0
    assert vectors("export", "vectors/mine/left", "left.gguf", "--layer", "3").exit_code == 0
    assert refused("import", "left.gguf", "new") == "MFV6040"
    assert vectors("import", "left.gguf", "new", "--model", "tiny").exit_code == 0
    one, other = (mfv.load_vector(f, "left") for f in ("vectors/mine", "new"))
    assert one.vector.residual.equal(other.vector.residual)
    assert (other.metadata["kind"], other.metadata["layer"]) == ("imported", 3)
    assert vectors("export", "vectors/mine/steer", "steer.pt").exit_code == 0  # its file says 2
    assert vectors("import", "steer.pt", "new", "--model", "tiny()", "--name", "s").exit_code == 0
    assert mfv.load_vector("new", "s").metadata["layer"] == 2
    assert vectors("verify", "new").exit_code == 0
    left = ("export", "vectors/mine/left", "left.pt", "--layer", "3", "--hookpoint")
    assert vectors(*left, "blocks.{layer}").exit_code == 0
    assert list(torch.load("left.pt", weights_only=True)) == ["blocks.3"]
    assert refused(*left, "blocks.3") == "MFV6044"


@pytest.mark.slow
def test_import_of_every_layer_and_of_named_heads(here: Path):
    torch.save({4: torch.ones(128), 5: torch.zeros(128)}, "mood.PT")
    assert refused("import", "mood.PT", "new", "--model", "tiny") == "MFV6040"
    done = vectors("import", "mood.PT", "new", "--model", "tiny", "--layer", "all")
    assert done.exit_code == 0 and Library("new").names() == ["mood_L4", "mood_L5"]
    assert vectors("import", "mood.PT", "new", "--model", "tiny", "--layer", "x").exit_code == 2
    torch.save({"a": torch.ones(128), "b": {"c": torch.zeros(128)}}, "two.pt")
    two = ("import", "two.pt", "new", "--model", "tiny", "--layer", "1")
    assert refused(*two) == "MFV6041"
    assert vectors(*two, "--entry", "b/c").exit_code == 0
    torch.save({"a": torch.ones(128), "rate": 0.1}, "one.pt")
    done = vectors("import", "one.pt", "new", "--model", "tiny", "--layer", "1")
    assert done.exit_code == 0 and "warning: one.pt: of it `a` alone was taken" in done.stderr
    torch.save(torch.ones(10, 8, 2, 16), "means.pt")
    means = ("import", "means.pt", "new", "--model", "tiny", "--layer", "4", "--heads")
    assert refused(*means, "10") == "MFV6040" and refused(*means, "L4") == "MFV6040"
    assert vectors(*means, "{L4H1, L5H2}").exit_code == 0
    assert mfv.load_vector("new", "means").vector.heads == ((4, 1), (5, 2))


def test_addresses_must_be_of_the_hub(here: Path):
    assert refused("push", "vectors/mine", "org/repo") == "MFV6015"
    assert refused("pull", "hf://repo", "new") == "MFV6015"
