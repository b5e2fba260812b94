"""Commands that need no recipe file, as a user types them."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import mfv_dsl as mfv
from mfv_dsl.base.source import Source
from mfv_dsl.cli import main
from mfv_dsl.cli.app import app
from mfv_dsl.lang.format import format_source
from mfv_dsl.library.vector_file import load_vector

HEADS = ("--heads", "{L2H6, L1H0}", "--trials", "12")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Type ``mfv …`` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mfv", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return typed


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small library: left, right, above and a sum of them."""
    folder = tmp_path_factory.mktemp("library")
    mfv.Recipe(
        "mfv 1\nmodel m = tiny()\ndataset d = scenes()\n"
        "defaults { heads = {L2H6, L1H0}, trials = 12 }\n"
        "vector steer = fv(left) - fv(right) + 2 * fv(above)\n"
        f'save "{folder}" {{ vectors = [fv(left), fv(right), fv(above), steer], layer = 1 }}\n'
    ).run(folder / "run")
    return folder


# -- recipes from options -------------------------------------------------------------------------
COMMANDS = {
    "extract": ["extract", "left", "above", "--shots", "2", *HEADS, "--out", 'my "own" vectors'],
    "extract everything": ["extract"],
    "heads": ["heads", "left", "right", "-k", "3", "--by", "gradient", "--shots", "0"],
    "heads of all": ["heads"],
    "eval": ["eval", "--add", "fv(each)", "--layer", "0..9", "--choose", "layer", "--on", "left",
             "--scale", "[0.5, 1]", "--choose", "scale", "--items", "20", *HEADS],
    "eval shots": ["eval", "--shots", "0..4:2", "--on", "left", "--on", "above"],
    "eval ablate": ["eval", "--ablate", "{L1H0}", "--shots", "1", "--dataset", "scenes(seed=4)"],
    "eval patch": ["eval", "--patch", "fv(left)", "--split", "validation"],
    "tune": ["tune", "left", "--epochs", "3", "--lr", "1e-3", "--batch", "8", "--layer", "2"],
    "tune another model": ["tune", "--start", "random", "--model", 'hf("some/where")'],
}  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS.keys())
def test_the_printed_recipe_is_right_and_laid_out(arguments: list[str], run: Run):
    code, text, _ = run(*arguments, "--print-recipe")
    assert code == 0
    meant = {"MFV4011"} if "heads" in arguments[0] else set()  # heads ranked without shots
    assert {found.code for found in mfv.Recipe(text).checked.warnings} <= meant
    assert format_source(Source(text)) == text
    assert not list(Path.cwd().iterdir())  # nothing ran


def test_a_recipe_word_for_word(run: Run):
    _, text, _ = run(*COMMANDS["extract"], "--print-recipe")
    assert text == (
        "mfv 1\n\nmodel   vlm  = tiny()\ndataset data = scenes()\n\n"
        "defaults {\n  shots  = 2\n  trials = 12\n  heads  = {L2H6, L1H0}\n}\n\n"
        'save "my \\"own\\" vectors" {\n  vectors = [fv(each)]\n  on      = [left, above]\n}\n'
    )
    _, text, _ = run(*COMMANDS["heads"], "--print-recipe")
    assert "heads best = top(3, by=gradient, on=[left, right])\n" in text
    assert text.count("shots = 0") == 2 and "shots  = 0" in text
    _, text, _ = run(*COMMANDS["tune"], "--print-recipe")
    assert "tune tuned {\n  start  = fv(each)\n  layer  = 2\n  on     = [left]\n" in text
    assert 'save "vectors/tuned" {\n  vectors = [tuned(each)]\n  layer   = 2\n' in text


@pytest.mark.slow
def test_the_command_runs_the_recipe_that_it_prints(run: Run):
    arguments = ["eval", "--add", "fv(each)", "--layer", "[0, 1]", "--on", "left",
                 "--items", "15", *HEADS]  # fmt: skip
    _, text, _ = run(*arguments, "--print-recipe")
    Path("same.mfv").write_text(text)
    code, out, err = run(*arguments, "--json", "--quiet")
    assert code == 0 and err == ""
    direct = json.loads(out)["rows"]
    assert [(row["layer"], row["n"]) for row in direct] == [(0, 15), (1, 15)]
    _, out, _ = run("run", "same.mfv", "--json", "--quiet")
    assert json.loads(out)["rows"] == direct
    assert Path("runs/eval/recipe.mfv").read_text() == text


def test_extract_writes_a_library(run: Run):
    code, out, err = run("extract", "left", *HEADS, "--out", "mine")
    assert (code, out) == (0, "") and "saved mine/left.safetensors" in err
    stored = load_vector("mine/left.safetensors")
    assert stored.metadata["prompt"]["trials"] == 12
    assert stored.vector.heads == ((1, 0), (2, 6))


@pytest.mark.slow
def test_heads_are_ranked_with_intervals_and_drawn(run: Run):
    arguments = ["heads", "left", "above", "-k", "3", "--trials", "10"]
    code, out, _ = run(*arguments, "--plot", "aie.png", "--quiet", "--json")
    assert code == 0
    found = json.loads(out)
    means = [head["mean"] for head in found["heads"]]
    assert len(means) == 3 and means == sorted(means, reverse=True)
    for head in found["heads"]:
        assert list(head["by_relation"]) == ["left", "above"]
        scores = [score for score, _ in head["by_relation"].values()]
        assert head["mean"] == pytest.approx(sum(scores) / 2, abs=1e-6)
        for score, (low, high) in head["by_relation"].values():
            assert low <= score <= high
    assert {row["eval"] for row in found["rows"]} == {"intact", "without_them"}
    # what is drawn is what the folder has, and its strongest head the best
    best = found["heads"][0]
    assert Image.open("aie.png").width > 900
    drawn = mfv.open_run("runs/heads").plot.aie("mean")[1][0].images[0].get_array()
    assert divmod(int(drawn.argmax()), drawn.shape[1]) == (best["layer"], best["head"])
    assert drawn.max() == pytest.approx(best["mean"], abs=1e-6)
    code, out, _ = run(*arguments, "--quiet")
    assert f"L{best['layer']}H{best['head']}" in out and "without_them" in out


@pytest.mark.slow
def test_heads_by_norm_have_no_interval_and_random_ones_no_score(run: Run):
    code, out, _ = run("heads", "left", "-k", "2", "--by", "norm", "--trials", "8", "--json", "-q")
    assert code == 0
    assert all(head["by_relation"]["left"][1] is None for head in json.loads(out)["heads"])
    arguments = ["heads", "left", "-k", "2", "--by", "random", "--plot", "none.png", "-q"]
    code, out, _ = run(*arguments)
    assert code == 0 and "L" in out and not Path("none.png").exists()


# -- looking at vectors ---------------------------------------------------------------------------
@pytest.mark.slow
def test_ask_before_and_after(run: Run, library: Path):
    vector = str(library / "left.safetensors")
    code, out, err = run("ask", "--scene", "3", "--with", vector, "--plot", "asked.png", "--json")
    assert code == 0 and "drew asked.png" in err
    said = json.loads(out)
    assert said["layer"] == 1  # as the file says
    assert said["after"][0]["answer"] == said["neighbours"]["left"]
    assert said["after"][0]["p"] > said["before"][0]["p"] > said["before"][1]["p"]
    assert Image.open("asked.png").width > 900
    code, out, _ = run("ask", "--scene", "3", "--with", "fv(left)", *HEADS, "--scale", "0", "-q")
    assert code == 0 and "0 × fv(left) at each head's own layer" in out
    lines = [line.split() for line in out.splitlines() if said["before"][0]["answer"] in line]
    assert lines[0][:3] == lines[0][3:]  # nothing was added, nothing changed


def test_ask_about_a_picture(run: Run):
    Image.new("RGB", (90, 60), "white").save("photo.jpg")
    code, out, _ = run("ask", "--image", "photo.jpg", "--query", "red circle", "--top", "3")
    assert code == 0 and "<image>Q:red circle. A:" in out and "with the vector" not in out
    code, out, err = run("ask", "--image", "photo.jpg")
    assert code == 2 and "--query" in err
    code, out, err = run("ask", "--image", "none.jpg", "--query", "red circle")
    assert code == 2 and "error[MFV7108]: there is no image none.jpg" in err
    code, _, err = run("ask", "--plot", "no/such/folder.png")
    assert code == 2 and "error[MFV5355]" in err


@pytest.mark.slow
def test_decode(run: Run, library: Path):
    vector = str(library / "above.safetensors")
    code, out, _ = run("decode", vector, "--top", "4", "--json")
    (said,) = json.loads(out)
    assert code == 0 and said["layer"] is None and len(said["words"]) == 4
    assert said["scores"] == sorted(said["scores"], reverse=True)
    arguments = ["decode", vector, "--norm", "after_stream", "--items", "3"]
    _, out, _ = run(*arguments, "--layer", "2", "--layer", "5", "--json")
    assert [one["layer"] for one in json.loads(out)] == [2, 5]
    _, out, _ = run(*arguments)
    assert len([line for line in out.splitlines() if line.strip()[:1].isdigit()]) == 10
    code, _, err = run("decode", vector, "--norm", "layer")
    assert code == 2 and "after_stream" in err


@pytest.mark.slow
def test_identify_and_similarity(run: Run, library: Path):
    steer = str(library / "steer.safetensors")
    code, out, _ = run("identify", steer, "--library", str(library), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["coefficients"] == pytest.approx(
        {"left": 1.0, "right": -1.0, "above": 2.0}, abs=1e-3
    )
    assert found["residual_share"] < 1e-6
    code, out, _ = run("identify", "fv(left)", *HEADS, "--library", str(library), "-q")
    assert code == 0 and "not explained: 0.0 %" in out
    code, out, _ = run("similarity", str(library), "--plot", "all.png", "--json")
    said = json.loads(out)
    assert said["names"] == ["above", "left", "right", "steer"]
    cosines = np.array(said["cosines"])
    np.testing.assert_allclose(np.diag(cosines), 1)
    np.testing.assert_allclose(cosines, cosines.T)
    assert Path("all.png").exists()
    code, out, _ = run("similarity", steer, str(library / "left.safetensors"))
    assert code == 0 and out.count("1.00") == 2
    Path("empty").mkdir()
    code, _, err = run("similarity", "empty")
    assert code == 2 and "error[MFV5350]" in err
    code, _, err = run("identify", steer, "--library", steer)
    assert code == 2 and "error[MFV5350]" in err


@pytest.mark.slow
def test_collinear_members_are_told(run: Run, library: Path):
    arguments = ["identify", "fv(left)", *HEADS, "--library", str(library), "-q"]
    code, _, err = run(*arguments)  # steer is a sum of the others
    assert code == 0 and "nearly collinear" in err
    _, out, _ = run(*arguments, "--json")
    found = json.loads(out)
    assert found["collinear"] and all(map(math.isfinite, found["coefficients"].values()))


@pytest.mark.slow
def test_norms_and_cost(run: Run, library: Path):
    vector = str(library / "left.safetensors")
    code, out, _ = run("norms", vector, "--items", "4", "--json")
    said = json.loads(out)
    assert code == 0 and said["prompts"] == 32 and len(said["layers"]) == 10
    first = said["layers"][0]
    assert first["share"] == pytest.approx(said["norm"] / first["stream"])
    code, out, _ = run("cost", vector, "--layer", "1", "--items", "14", "--json")
    said = json.loads(out)
    assert code == 0 and said["for"] == ["left"]
    assert list(said["kinds"]) == ["few_shot", "named", "where", "what"]
    for kind in said["kinds"].values():
        assert kind["n"] == 14 and kind["kl_interval"][0] <= kind["kl"] <= kind["kl_interval"][1]
        assert kind["change"] == pytest.approx(kind["accuracy_after"] - kind["accuracy_before"])
    code, out, _ = run("cost", vector, "--layer", "1", "--items", "14", "--for", "right")
    assert code == 0 and "taken as a vector for: right" in out
    right, folder = str(library / "right.safetensors"), str(library / "cost")
    code, out, _ = run("cost", vector, right, "--layer", "1", "--items", "2", "--out", folder)
    assert code == 0 and "right, taken as a vector for: right" in out
    code, out, _ = run("table", folder, "--rows", "what", "--cols", "vector", "--value", "with")
    assert code == 0 and out.splitlines()[0].split() == ["what", "left", "right"]
    assert len(out.splitlines()) == 5 and "–" not in out
    everything = [word for name in ("left", "right") for word in ("--for", name)]
    code, _, err = run("cost", vector, "--layer", "1", "--dataset",
                       "scenes(relations=[left, right])", *everything)  # fmt: skip
    assert code == 3 and "error[MFV5354]" in err


def test_the_readmes_commands_are_understood():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = [text for text in readme.split("```") if "\nmfv ask " in text]
    commands = get_command(app).commands
    for line in block.strip().splitlines():
        _, name, *arguments = shlex.split(line)
        assert commands[name].make_context(name, arguments).params


# -- mistakes -------------------------------------------------------------------------------------
def test_mistakes_are_told_as_in_a_recipe(run: Run):
    code, _, err = run("extract", "lft")
    assert code == 1 and "error[MFV2001]: unknown relation `lft`" in err
    assert "did you mean `left`?" in err
    code, _, err = run("eval", "--add", "fv(left) fv(right)", "--layer", "1")
    assert code == 1 and "error[MFV1" in err
    code, _, err = run("eval", "--add", "fv(left)", "--layer", "0..12", "--print-recipe")
    assert code == 1 and "error[MFV4001]" in err
    code, _, err = run("ask", "--model", "tny")
    assert code == 1 and "did you mean `tiny`?" in err
    code, _, err = run("ask", "--with", "fv(left)", "--layer", "high")
    assert code == 2 and "neither a layer's number nor" in err
    code, _, err = run("decode", "no.safetensors")
    assert code == 3 and "error[MFV6001]" in err
    assert not list(Path.cwd().iterdir())
