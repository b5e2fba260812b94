"""The commands that look inside a model, typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mfv_dsl.base.csv_text import csv_rows
from tests.cli.support import mfv_command

LEFT = ("vectors/flamingo-tiny/left", "--layer", "3")
FEW = ("--relation", "left", "--items", "3", "-q")


@pytest.mark.slow
def test_lens(tmp_path: Path):
    done = mfv_command("lens", "--with", *LEFT, *FEW, "--json", "--out", "l.csv", "--plot", "l.svg",
                       cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["layer"], row["vector"]) for row in rows[:3]] == [
        (0, "without"), (0, "with"), (1, "without"),
    ]  # fmt: skip
    same = [row["p"] for row in rows if row["layer"] < 3]
    assert same[::2] == same[1::2]  # below the vector nothing is changed
    assert rows[-1]["p"] > rows[-2]["p"]
    assert csv_rows((tmp_path / "l.csv").read_text(), {"vector", "says"}) == rows
    assert b"<svg" in (tmp_path / "l.svg").read_bytes()
    shown = mfv_command("lens", *FEW, cwd=tmp_path).stdout
    assert "no vector" in shown and "with the vector" not in shown


@pytest.mark.slow
def test_attribute(tmp_path: Path):
    done = mfv_command(
        "attribute", "--with", *LEFT, *FEW, "--json", "--plot", "a.pdf", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    by_part = {row["part"]: row for row in rows}
    assert len(by_part) == len(rows) and by_part["vector"]["without"] == 0
    for row in rows:
        assert row["change"] == pytest.approx(row["with"] - row["without"], abs=1e-9)
    largest = max(rows, key=lambda row: row["change"])
    assert largest["part"].startswith("X5H")  # cross-attention of layer 5 reads the vector
    raw = json.loads(mfv_command("attribute", *FEW, "--against", "nothing", "--json").stdout)
    relative = json.loads(mfv_command("attribute", *FEW, "--json").stdout)
    assert sum(row["without"] for row in raw) > sum(row["without"] for row in relative)
    shown = mfv_command("attribute", *FEW, "--top", "2").stdout
    assert "the logit" in shown and "all of cross head, 40" in shown


@pytest.mark.slow
def test_paths(tmp_path: Path):
    done = mfv_command("paths", *LEFT, *FEW, "--json", "--plot", "p.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole, straight, *rows = json.loads(done.stdout)
    assert whole["removed_log_p"] == -whole["sent_log_p"] and straight["sent_p"] < whole["sent_p"]
    assert all(row["layer"] > 3 for row in rows)
    assert min(rows, key=lambda row: row["removed_logit"])["reader"].startswith("X5H")
    shown = mfv_command("paths", *LEFT, *FEW, "--top", "1", "--effect", "p").stdout
    assert len([line for line in shown.splitlines() if "[" in line]) == 3


@pytest.mark.slow
def test_attention(tmp_path: Path):
    command = ("attention", "X5H3, X5H6", "--with", *LEFT, "--relation", "left", "-q")
    files = [tmp_path / name for name in ("one.pdf", "two.pdf")]
    for file in files:
        done = mfv_command(*command, "--json", "--plot", file.name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = json.loads(done.stdout)
    patches = [row for row in rows if row["latent"] is None]
    assert len(patches) == 2 * 16 and len(rows) == 2 * (16 + 16)
    for head in ("X5H3", "X5H6"):
        latents = [r["with"] for r in rows if r["head"] == head and r["latent"] is not None]
        assert sum(latents) == pytest.approx(1, abs=1e-5)
    shown = mfv_command("attention", "L3H1", "--model", 'tiny("llava")', "--demonstrations", "1",
                        "-q").stdout  # fmt: skip
    assert len([line for line in shown.splitlines() if "L3H1" in line]) == 2  # two pictures


@pytest.mark.slow
def test_train_lens(tmp_path: Path):
    command = ("train-lens", "lens.safetensors", "--items", "8", "--epochs", "2", "-q", "--json")
    done = mfv_command(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 9 and np.mean([row["tuned"] < row["logit"] for row in rows]) > 0.5
    lens = ("--lens", "lens.safetensors")
    tuned = mfv_command("lens", *FEW, "--json", *lens, cwd=tmp_path)
    logit = mfv_command("lens", *FEW, "--json", cwd=tmp_path)
    p = [[row["p"] for row in json.loads(each.stdout)] for each in (tuned, logit)]
    assert p[0][-1] == p[1][-1] and p[0][0] != p[1][0]
    decode = ("decode", LEFT[0], "--norm", "after_stream", "--layer", "2", "--items", "2", "-q")
    assert mfv_command(*decode, *lens, cwd=tmp_path).stdout != mfv_command(*decode).stdout
    assert "a tuned lens is of states" in mfv_command("decode", LEFT[0], *lens, cwd=tmp_path).stderr
    other = mfv_command("lens", *FEW, *lens, "--model", 'tiny("llava")', cwd=tmp_path)
    assert other.returncode and "MFV5584" in other.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("lens", "--layer", "3"), "name one by --with"),
        (("lens", "--with", LEFT[0], "--layer", "99", *FEW), "MFV5103"),
        (("lens", "--with", LEFT[0], "--layer", "x", *FEW), "neither a layer's number"),
        (("lens", "--lens", "nowhere.safetensors", *FEW), "MFV5585"),
        (("lens", "--relation", "lft", "--items", "2", "-q"), "MFV7112"),
        (("lens", *FEW, "--split", "nowhere"), "MFV7112"),
        (("lens", "--items", "2", "--split", "nowhere", "-q"), "MFV7112"),
        (("lens", *FEW, "--items", "100000"), "MFV7110"),
        (("lens", *FEW, "--plot", "l.doc"), "MFV5355"),
        (("lens", *FEW, "--out", "l.txt"), "has to be a .csv file"),
        (("lens", *FEW, "--out", "nowhere/l.csv"), "there is no folder"),
        (("lens", "--with", LEFT[0], *FEW, "--model", 'tiny("llava")'), "MFV5303"),
        (("attribute", *FEW, "--against", "all"), "none of others, nothing"),
        (("attribute", "--with", "fv(lft)", *FEW), "MFV2"),
        (("paths", LEFT[0], "--layer", "9", *FEW), "MFV5583"),
        (("paths", LEFT[0], "--layer", "10", *FEW), "MFV5103"),
        (("paths", LEFT[0], "--layer", "-1", *FEW), "MFV5119"),
        (("paths", LEFT[0], "--effect", "loss", *FEW), "none of logit, log_p, p"),
        (("attention", "L1", "-q"), "is no head such as"),
        (("attention", "L0H0", "-q"), "such as X1H0"),
        (("attention", "X0H0", "-q"), "MFV5103"),
        (("attention", "X1H8", "-q"), "MFV5104"),
        (("attention", "X1H0", "--item", "100000", "-q"), "MFV7110"),
        (("attention", "X1H0", "--relation", "lft", "-q"), "MFV7112"),
        (("attention", "X1H0", "--model", 'tiny("llava")', "-q"), "MFV5102"),
        (("train-lens", "lens.bin"), "has to be a .safetensors file"),
        (("train-lens", "nowhere/lens.safetensors"), "there is no folder"),
    ],
)
def test_what_is_refused(command: tuple[str, ...], said: str, tmp_path: Path):
    done = mfv_command(*command, cwd=tmp_path)
    assert done.returncode in (1, 2, 3), done.stdout
    assert said in " ".join(done.stderr.split()) and "MFV5900" not in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
