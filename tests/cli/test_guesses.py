"""What a newcomer types, and what it does."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console

import mfv_dsl as mfv
from mfv_dsl.base.places import bundled
from mfv_dsl.cli.output import _folded
from mfv_dsl.library.vector_file import load_vector, save_vector
from mfv_dsl.report.grid import grid
from tests.cli.support import mfv_command

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left], count=20)
eval raw { items = 5 }
"""


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch):
    """Text that is typed into the next command."""

    def type_in(text: str) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
        monkeypatch.setattr(sys, "stdin", stdin)

    return type_in


def test_the_version():
    for words in (["--version"], ["-V"], ["version"]):
        assert mfv_command(*words).stdout == f"mfv-dsl {mfv.__version__}\n"
    assert mfv_command("help", "no-such").returncode == 2


# -- recipes --------------------------------------------------------------------------------------
def test_standard_input_is_a_recipe(tmp_path: Path, typed):
    typed(RECIPE)
    checked = mfv_command("check", "-", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "<stdin>: ok\n")
    typed(RECIPE.replace("items", "itms"))
    wrong = mfv_command("check", "-", cwd=tmp_path)
    assert wrong.returncode == 1 and "--> <stdin>:4:12" in wrong.stderr
    typed(RECIPE)
    assert "5 0-shot prompts of left" in mfv_command("plan", "-", cwd=tmp_path).stdout
    typed(RECIPE)
    ran = json.loads(mfv_command("run", "-", "-q", "--json", cwd=tmp_path).stdout)
    assert ran["folder"] == "runs/stdin" and len(ran["rows"]) == 1
    assert (tmp_path / "runs" / "stdin" / "recipe.mfv").read_text() == RECIPE
    typed("mfv 1\nmodel   m=tiny()\n")
    assert mfv_command("fmt", "-").stdout == "mfv 1\nmodel m = tiny()\n"
    typed(RECIPE)
    assert "error[MFV6023]" in mfv_command("lock", "-", cwd=tmp_path).stderr


@pytest.mark.slow
def test_a_folder_of_a_bundled_name_hides_nothing(tmp_path: Path):
    for name in ("vectors", "quickstart", "recipes", "flamingo-tiny"):
        (tmp_path / name).mkdir()
    for recipe in ("vectors", "quickstart", "recipes/quickstart.mfv", "paper/heads"):
        done = mfv_command("check", recipe, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{recipe}: ok\n"), done.stderr
    listed = mfv_command("vectors", "list", "vectors/flamingo-tiny", "--json", cwd=tmp_path)
    assert listed.returncode == 0 and "left" in listed.stdout


def test_a_folder_stands_for_its_recipes(tmp_path: Path):
    (tmp_path / "mine" / "more").mkdir(parents=True)
    (tmp_path / "mine" / "a.mfv").write_text(RECIPE)
    (tmp_path / "mine" / "more" / "b.mfv").write_text("mfv 1\nmodel   m=tiny()\n")
    done = mfv_command("check", "mine", cwd=tmp_path)
    assert done.stdout.splitlines() == ["mine/a.mfv: ok", "mine/more/b.mfv: ok"]
    assert "mine/more/b.mfv: formatted" in mfv_command("fmt", "mine", cwd=tmp_path).stderr
    assert (tmp_path / "mine" / "more" / "b.mfv").read_text() == "mfv 1\nmodel m = tiny()\n"


@pytest.mark.slow
def test_direct_commands_take_a_seed():
    for words in (["heads", "left"], ["extract", "left"], ["tune", "left"],
                  ["eval", "--add", "fv(left)", "--layer", "1"]):  # fmt: skip
        done = mfv_command(*words, "--seed", "77", "--print-recipe")
        assert done.returncode == 0, done.stderr
        plan = mfv.Recipe(done.stdout).plan()
        assert {step.parameters["seed"] for step in plan.steps if "seed" in step.parameters} == {77}
    one, other = (
        mfv_command("decode", "fv(left)", "--heads", "{L3H1}", "--trials", "4", "--shots", "1",
                    "--seed", seed, "--json", "-q").stdout for seed in ("1", "2")
    )  # fmt: skip
    assert json.loads(one) != json.loads(other)


# -- vectors --------------------------------------------------------------------------------------
@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of the user's own, `mine`, in the working folder."""
    folder = tmp_path / "vectors" / "mine"
    folder.mkdir(parents=True)
    for name in ("left", "right", "steer"):
        shutil.copy(bundled("vectors") / "flamingo-tiny" / f"{name}.safetensors", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vectors/mine/left", "./vectors/mine/left.safetensors", "vectors/flamingo-tiny/left",
             "flamingo-tiny/left", "vectors/flamingo-tiny/left.safetensors"],
)  # fmt: skip
def test_a_path_is_a_path_before_it_is_a_division(library: Path, name: str):
    folder = library.parents[1]
    by_name = mfv_command("decode", name, "--json", cwd=folder)
    assert by_name.returncode == 0, by_name.stderr
    by_file = mfv_command("decode", str(library / "left.safetensors"), "--json", cwd=folder)
    assert by_name.stdout == by_file.stdout
    asked = mfv_command("ask", "--with", name, "--json", cwd=folder)
    assert asked.returncode == 0 and json.loads(asked.stdout)["after"]
    norms = mfv_command("norms", name, "--items", "2", "--json", cwd=folder)
    assert norms.returncode == 0 and json.loads(norms.stdout)["norm"] > 0


def test_a_division_is_still_one(library: Path):
    words = ["--heads", "{L3H1}", "--trials", "4", "--shots", "1", "-q", "--json"]
    halved = mfv_command("decode", "fv(left)/2", *words, cwd=library.parents[1])
    whole = mfv_command("decode", "0.5 * fv(left)", *words, cwd=library.parents[1])
    assert halved.returncode == 0 and halved.stdout == whole.stdout


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("vectors/mine/lft", "MFV6001", "did you mean `left`?"),
        ("vectors/none/left", "MFV6001", "mfv vectors list"),
        ("vectors/mine", "MFV6014", "vectors/mine/NAME"),
        ("left", "MFV3001", "its function vector is `fv(left)`"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(library: Path, name: str, code: str, words: str):
    done = mfv_command("decode", name, cwd=library.parents[1])
    assert done.returncode in (1, 2, 3) and f"[{code}]" in done.stderr and words in done.stderr


def test_libraries_are_found_as_the_list_finds_them(library: Path):
    folder = library.parents[1]
    named = json.loads(mfv_command("similarity", "vectors/mine", "--json", cwd=folder).stdout)
    assert named["names"] == ["left", "right", "steer"]
    all_ = json.loads(mfv_command("similarity", "vectors", "--json", cwd=folder).stdout)
    assert all_ == named
    both = mfv_command("similarity", "vectors/mine", "flamingo-tiny", "--json", cwd=folder)
    names = json.loads(both.stdout)["names"]
    assert names[:3] == [f"vectors/mine/{name}" for name in ("left", "right", "steer")]
    assert "flamingo-tiny/left" in names and "tuned_left" in names
    found = mfv_command(
        "identify", "vectors/mine/steer", "--library", "vectors/flamingo-tiny", "--json", cwd=folder
    )
    assert found.returncode == 0 and "tuned_left" in json.loads(found.stdout)["coefficients"]
    own = mfv_command(
        "identify", "vectors/mine/steer", "--library", "vectors/mine", "--json", cwd=folder
    )
    assert list(json.loads(own.stdout)["coefficients"]) == ["left", "right"]  # not by itself
    expressions = ["fv(left)", "fv(left) * -1", "--heads", "{L3H1}", "--trials", "4"]
    done = mfv_command("similarity", *expressions, "--json", "-q", cwd=folder)
    assert json.loads(done.stdout)["cosines"][0] == pytest.approx([1, -1])


@pytest.mark.slow
def test_a_zero_vector_stops_no_comparison(library: Path):
    stored = load_vector(library / "left.safetensors")
    save_vector(library / "nothing.safetensors", stored.vector * 0.0, stored.metadata)
    folder = library.parents[1]
    done = mfv_command("similarity", "vectors/mine", "--json", "--plot", "s.png", cwd=folder)
    said = json.loads(done.stdout)
    at = said["names"].index("nothing")
    assert done.returncode == 0 and (folder / "s.png").exists()
    for number, row in enumerate(said["cosines"]):
        assert [one is None for one in row] == [number == at or i == at for i in range(4)]
    shown = mfv_command("similarity", "vectors/mine", cwd=folder)
    assert shown.stdout.count("–") == 7 and "zero: nothing" in shown.stderr


# -- pictures and tables --------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["no/such/folder.png", "picture.xyz", "picture", "folder.png"])
def test_a_picture_is_looked_at_before_the_work(tmp_path: Path, name: str, monkeypatch):
    (tmp_path / "folder.png").mkdir()

    def load(*arguments: object, **options: object) -> None:
        raise AssertionError("a model was loaded before it")

    monkeypatch.setattr("mfv_dsl.models.load", load)
    for words in (["heads", "left"], ["ask"], ["similarity", "flamingo-tiny"]):
        done = mfv_command(*words, "--plot", name, cwd=tmp_path)
        assert done.returncode == 2 and "error[MFV5355]" in done.stderr, done.stderr
        assert name.rsplit("/", 1)[0] in done.stderr and done.stdout == ""
    done = mfv_command("data", "show", "scenes", "--relation", "left", "--out", name, cwd=tmp_path)
    assert done.returncode == 2 and "error[MFV5355]" in done.stderr


def test_wide_tables_fold_at_a_terminals_width():
    table = grid({"name": "left", **{f"column {n}": "right" for n in range(12)}})
    for row in "ab":
        table.add_row(f"row {row}", *(f"{row}{n}" for n in range(12)))
    console = Console(width=50, file=io.StringIO(), force_terminal=False)
    parts = list(_folded(table, console))
    for part in parts:
        console.print(part)
    text = console.file.getvalue()
    assert len(parts) > 2 and all(len(line) <= 50 for line in text.splitlines())
    for n in range(12):
        assert text.count(f"column {n} ") + text.count(f"column {n}\n") == 1
        assert f" a{n} " in text and f" b{n} " in text
    assert text.count("row a") == len(parts) and "…" not in text
    wide = Console(width=500, file=io.StringIO())
    assert list(_folded(table, wide)) == [table]


def test_a_piped_table_has_one_line_a_row():
    done = mfv_command("similarity", "flamingo-tiny")
    lines = [line for line in done.stdout.splitlines() if line.split()[:1] == ["left"]]
    assert len(lines) == 1 and len(lines[0].split()) == 22


def test_what_failed_leaves_no_folder(tmp_path: Path):
    (tmp_path / "r.mfv").write_text(RECIPE)
    done = mfv_command("run", "r.mfv", "--device", "cuda:99", "--fresh", "-q", cwd=tmp_path)
    assert done.returncode in (2, 3) and "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.mfv"]


def test_names_that_are_shorter(tmp_path: Path):
    (tmp_path / "mine.mfv").write_text(RECIPE)
    assert mfv_command("check", "mine", cwd=tmp_path).stdout == "mine: ok\n"
    assert mfv_command("run", "mine", "-q", cwd=tmp_path).returncode == 0
    table = mfv_command("table", "mine", cwd=tmp_path)
    assert table.returncode == 0 and "left" in table.stdout
    near = mfv_command("run", "quickstrt", cwd=tmp_path)
    assert near.returncode == 2 and "did you mean `quickstart`?" in near.stderr
    data = mfv_command("data", "check", "mine", "--json", cwd=tmp_path)
    assert data.returncode == 0 and "20 a relation" in data.stdout
    assert mfv_command("explain", "2001").stdout == mfv_command("explain", "MFV2001").stdout
    names = {
        row["name"]: row["purpose"] for row in json.loads(mfv_command("recipes", "--json").stdout)
    }
    assert {"quickstart", "paper/heads"} <= set(names) and all(names.values())
    assert mfv_command("recipes").stdout.count("\n") == len(names)
