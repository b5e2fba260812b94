"""Whose a run's folder is: nobody's files are lost, and those of two runs are never mixed."""

from __future__ import annotations

import json
import os
import signal
import stat
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.base.places import recipe_label, run_folder
from mfv_dsl.execute.records import table
from mfv_dsl.execute.run_folder import LOCK, Origin, RunFolder
from tests.cli.support import mfv_command

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right])
defaults { trials = 2, shots = 1, items = 4, layer = 1, heads = top(3, on=[left, right]) }
eval zero { shots = 0 }
eval raw { add = fv(each) }
"""
OF = Origin("r.mfv", "../../r.mfv")


def write(folder: Path, *names: str, origin: Origin = OF, text: str = RECIPE) -> None:
    """A run that writes these files beside those of every run."""
    place = RunFolder(folder)
    place.check(origin, text)
    names = ("recipe.mfv", "plan.json", "results.json", "results.csv", *names)
    place.write(
        {name: partial(write_atomically, data=text.encode()) for name in names},
        {**origin.to_json(), "mfv_version": "1"},
    )


def files(folder: Path) -> set[str]:
    return {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or p.is_file()
    }


def refused(code: str, folder: Path, origin: Origin = OF, text: str = RECIPE) -> str:
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    with pytest.raises(MfvError) as raised:
        RunFolder(folder).check(origin, text)
    assert raised.value.code == code and str(folder) in raised.value.message
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before
    return raised.value.message


# -- default folders ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("recipe", "folder"),
    [
        ("composition", "composition"),
        ("paper/composition", "paper/composition"),
        ("recipes/paper/composition.mfv", "paper/composition"),
        ("composition.mfv", "composition"),
        ("./b/../a/small.mfv", "a/small"),
        ("b/small.MFV", "b/small"),
        ("{here}/b/small.mfv", "b/small"),
        ("../small.mfv", "{above}/small"),
        ("/somewhere/else/small.mfv", "somewhere/else/small"),
        ("v1.5", "v1.5"),
        ("recipes", "recipes"),
    ],
)
def test_a_runs_folder_is_its_recipes_path(
    recipe: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    places = {"here": tmp_path, "above": str(tmp_path.parent).lstrip("/")}
    assert run_folder(recipe.format(**places)) == Path("runs") / folder.format(**places)


def test_libraries_keep_recipes_of_one_name_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert [recipe_label(name) for name in ("small.mfv", "b/small.mfv", "/x/y/small.mfv")] == [
        "small", "b_small", "small",
    ]  # fmt: skip


def test_parts_of_a_recipe_have_folders_of_their_own():
    recipe = mfv.Recipe(RECIPE, "r.mfv")
    folders = [
        recipe.folder_of(only).as_posix()
        for only in ([], ["raw"], ["zero"], ["raw", "zero"], ["zero", "raw"], ["vectors/x"])
    ]
    assert folders[:3] == ["runs/r", "runs/r-only-raw", "runs/r-only-zero"]
    assert folders[3] == folders[4] and len({*folders}) == 5


# -- whose a folder is ----------------------------------------------------------------------------
def test_another_recipes_folder_is_refused(tmp_path: Path):
    write(tmp_path / "run")
    assert "r.mfv" in refused("MFV6070", tmp_path / "run", Origin("r.mfv", "../../b/r.mfv"))
    refused("MFV6070", tmp_path / "run", Origin("composition", "bundled composition"))
    refused("MFV6070", tmp_path / "run", Origin("r.mfv", "text"))
    # the same file by another name, under other settings
    write(tmp_path / "run", origin=Origin("./r.mfv", "../../r.mfv", "llava", ("raw.layer=2",)))


def test_a_part_never_takes_the_place_of_the_whole_or_of_another(tmp_path: Path):
    write(tmp_path / "run")
    part = Origin(*("r.mfv", "../../r.mfv"), only=("raw",))
    assert "a run of the whole" in refused("MFV6071", tmp_path / "run", part)
    write(tmp_path / "part", origin=part)
    other = Origin(*("r.mfv", "../../r.mfv"), only=("zero",))
    assert "the run of raw alone" in refused("MFV6071", tmp_path / "part", other)
    write(tmp_path / "part", origin=part)
    write(tmp_path / "part", origin=Origin("r.mfv", "../../r.mfv", only=("zero", "raw")))
    write(tmp_path / "part")
    refused("MFV6071", tmp_path / "part", part)


def test_another_text_of_one_name_is_warned_of(tmp_path: Path):
    text = Origin("heads")
    write(tmp_path, origin=text)
    write(tmp_path, origin=text)
    with pytest.warns(UserWarning, match="holds the run of another text"):
        write(tmp_path, origin=text, text=RECIPE + "# more\n")
    # a recipe of a file, and a text of another name, where the folder was named and where not
    for other in (OF, Origin("more")):
        refused("MFV6070", tmp_path, other, "mfv 1\n")
        named = replace(other, names_folder=True)
        with pytest.warns(UserWarning, match="holds the run of another text"):
            RunFolder(tmp_path).check(named, "mfv 1\n")
    write(tmp_path, origin=replace(OF, names_folder=True), text=RECIPE + "# more\n")
    refused("MFV6070", tmp_path, text, "mfv 1\n")
    refused("MFV6070", tmp_path, Origin("r.mfv", "../b/r.mfv", names_folder=True), "mfv 1\n")


@pytest.mark.parametrize("name", ["results.csv", "recipe.mfv", "plan.json", "manifest.json"])
@pytest.mark.parametrize("link", [False, True])
def test_files_that_no_run_has_written_are_refused(name: str, link: bool, tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    if link:
        (folder / name).symlink_to(tmp_path / "nowhere")
        with pytest.raises(MfvError) as raised:
            RunFolder(folder).check(OF, RECIPE)
        assert raised.value.code == "MFV6072"
    else:
        (folder / name).write_text('{"mine": 1}')
        assert name in refused("MFV6072", folder)
    (folder / name).unlink()
    (folder / "notes.txt").write_text("mine")
    (folder / "recipe.mfv").write_text(RECIPE)  # the very recipe, which stays as it is
    write(folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_runs_of_older_versions_are_known_by_name_or_text(tmp_path: Path):
    manifest = {"mfv_version": "0.1.0", "recipe": "r.mfv", "profile": None, "set": []}
    old = ("aie/left_0123abcd.safetensors", "vectors/fv_left_0123abcd.safetensors", "trace.txt",
           "tune/t/left.json", "results.json", "vectors/mine.safetensors",
           "vectors/index.json")  # fmt: skip
    for name in old:
        write_atomically(tmp_path / name, b"old")
    write_atomically(tmp_path / "manifest.json", json.dumps(manifest).encode())
    write_atomically(tmp_path / "recipe.mfv", RECIPE.encode())
    refused("MFV6070", tmp_path, Origin("other.mfv", "../other.mfv"), "mfv 1\n")
    RunFolder(tmp_path).check(Origin("renamed.mfv", "../renamed.mfv"), RECIPE)
    write(tmp_path)
    assert files(tmp_path) == {
        "recipe.mfv", "plan.json", "results.json", "results.csv", "manifest.json",
        "vectors/mine.safetensors", "vectors/index.json",
    }  # fmt: skip


# -- what is in it --------------------------------------------------------------------------------
def test_files_of_the_run_before_go_and_others_stay(tmp_path: Path):
    write(tmp_path, "aie/left_1.safetensors", "aie/right_1.safetensors")
    write(tmp_path, "aie/left_1.safetensors", "trace.txt", "tune/t/l.json")
    write_atomically(tmp_path / "aie" / "mine.txt", b"mine")
    write_atomically(tmp_path / "vectors" / "index.json", b"{}")
    write(tmp_path, "aie/right_1.safetensors", "vectors/fv_left.safetensors")
    always = {"recipe.mfv", "plan.json", "results.json", "results.csv", "manifest.json"}
    assert files(tmp_path) == always | {
        "aie/right_1.safetensors", "aie/mine.txt", "vectors/index.json",
        "vectors/fv_left.safetensors",
    }  # fmt: skip
    assert not (tmp_path / "tune").exists()
    written = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert set(written) == always | {"aie/right_1.safetensors", "vectors/fv_left.safetensors"}


def test_a_folder_says_that_a_run_was_stopped_while_it_wrote(tmp_path: Path):
    write(tmp_path, "aie/left.safetensors")

    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    place = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        place.write({"aie/right.safetensors": stop}, {**OF.to_json(), "mfv_version": "1"})
    assert place.is_unfinished()
    for of in ("results", "heads"):
        with pytest.raises(MfvError, match="was stopped while it did"):
            table([tmp_path], of=of)
    write(tmp_path)  # the next run knows the files of both
    assert not place.is_unfinished()
    assert not (tmp_path / "aie").exists()


def test_a_second_run_into_one_folder_at_once_is_refused(tmp_path: Path):
    recipe = mfv.Recipe(RECIPE, "r.mfv")
    with RunFolder(tmp_path).held():
        with pytest.raises(MfvError, match="MFV5730"):
            recipe.run(tmp_path)
        assert os.listdir(tmp_path) == [LOCK]
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on Unix alone")
def test_a_run_that_was_killed_keeps_no_other_out(tmp_path: Path):
    child = os.fork()
    if not child:
        with RunFolder(tmp_path).held():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / LOCK).exists()
    with RunFolder(tmp_path).held():
        pass


@pytest.mark.parametrize("name", ["aie", "vectors", "tune"])
def test_nothing_is_written_through_a_folder_that_is_a_link(name: str, tmp_path: Path):
    write(tmp_path / "run", f"{name}/one.bin")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (elsewhere / "one.bin", elsewhere / "two.bin"):
        path.write_text("mine")
    (tmp_path / "run" / name / "one.bin").unlink()
    (tmp_path / "run" / name).rmdir()
    (tmp_path / "run" / name).symlink_to(elsewhere)
    with pytest.raises(MfvError) as raised:
        write(tmp_path / "run")
    assert raised.value.code == "MFV6072"
    RunFolder(tmp_path / "run").write({}, {**OF.to_json(), "mfv_version": "1"})
    assert files(elsewhere) == {"one.bin", "two.bin"}


def test_a_manifest_names_no_file_outside(tmp_path: Path):
    folder = tmp_path / "run"
    write(folder)
    (tmp_path / "mine.txt").write_text("mine")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] += ["../mine.txt", str(tmp_path / "mine.txt"), "a/../../mine.txt", 3, ""]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write(folder)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_links_and_permissions_of_its_files(tmp_path: Path):
    folder = tmp_path / "run"
    write(folder, "aie/left.bin")
    for name in ("results.json", "aie/left.bin"):
        (folder / name).chmod(0o600)
    (tmp_path / "kept.csv").write_text("mine")
    (folder / "results.csv").unlink()
    (folder / "results.csv").symlink_to(tmp_path / "kept.csv")
    write(folder, "aie/left.bin")
    assert (tmp_path / "kept.csv").read_text() == "mine"
    assert not (folder / "results.csv").is_symlink()
    for name in ("results.json", "aie/left.bin"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


# -- whole runs -----------------------------------------------------------------------------------
@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "r.mfv").write_text(RECIPE)
    (tmp_path / "b" / "r.mfv").write_text(RECIPE.replace("eval raw", "eval other"))
    return tmp_path


@pytest.mark.slow
def test_recipes_of_one_name_keep_their_results(here: Path):
    for recipe in ("r.mfv", "b/r.mfv"):
        assert mfv_command("run", recipe, "--quiet").returncode == 0
    names = {
        folder: {line[0] for line in table([folder], "eval", value="n").lines}
        for folder in ("runs/r", "runs/b/r")
    }
    assert names == {"runs/r": {"zero", "raw"}, "runs/b/r": {"zero", "other"}}
    done = mfv_command("run", "b/r.mfv", "--quiet", "--out", "runs/r")
    assert done.returncode == 2 and "error[MFV6070]" in done.stderr
    assert mfv_command("run", str(here / "r.mfv"), "--quiet").returncode == 0  # the same recipe
    whole = (here / "runs/r/results.json").read_bytes()
    done = mfv_command("run", "r.mfv", "--only", "raw", "--quiet")
    assert done.returncode == 0 and (here / "runs/r-only-raw/results.json").exists()
    done = mfv_command("run", "r.mfv", "--only", "raw", "--quiet", "--out", "runs/r")
    assert done.returncode == 2 and "error[MFV6071]" in done.stderr
    assert (here / "runs/r/results.json").read_bytes() == whole


@pytest.mark.slow
def test_the_heads_of_a_changed_recipe_are_its_own(here: Path):
    assert mfv_command("run", "r.mfv", "--quiet", "--trace").returncode == 0
    assert len(list((here / "runs/r/aie").iterdir())) == 2
    (here / "runs/r/notes.txt").write_text("mine")
    os.chmod(here / "runs/r/results.json", 0o600)
    (here / "r.mfv").write_text(RECIPE.replace("top(3, on=[left, right])", "top(3, on=[left])"))
    assert mfv_command("run", "r.mfv", "--quiet").returncode == 0
    assert [p.name.split("_")[0] for p in (here / "runs/r/aie").iterdir()] == ["left"]
    assert not (here / "runs/r/trace.txt").exists()
    assert (here / "runs/r/notes.txt").read_text() == "mine"
    assert stat.S_IMODE((here / "runs/r/results.json").stat().st_mode) == 0o600
    assert table([here / "runs/r"], "head", first=1).columns == ("head", "left")


@pytest.mark.slow
def test_a_command_warns_in_one_line(here: Path):
    for relation in ("left", "right"):
        sizes = ("--trials", "2", "--shots", "1", "--heads", "{L3H1}")
        done = mfv_command("extract", relation, *sizes, "--quiet", cwd=here)
        assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "another text" in line]
    assert line.startswith("warning: runs/extract holds the run of another text")
