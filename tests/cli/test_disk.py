"""Ordinary trouble with the disk, in every command that writes: its own error, the path, what to
do, and nothing half written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mfv_dsl
from mfv_dsl.base.places import bundled
from tests.cli.support import mfv_command

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left], count=20)
eval raw { items = 5 }
"""
TINY = ("--heads", "{L1H1}", "--trials", "2", "--shots", "1", "-q")
#: a part of a path that no disk takes, and what is shown of it
LONG = "x" * 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe, a library, and things that stand in the way."""
    (tmp_path / "r.mfv").write_text(RECIPE)
    (tmp_path / "l.mfv").write_text(
        RECIPE + 'eval e { add = load("lib", "left"), layer = 1, items = 5 }\n'
    )
    (tmp_path / "file").write_text("a file")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lib").mkdir()
    shutil.copy(bundled("vectors") / "flamingo-tiny" / "left.safetensors", tmp_path / "lib")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The limit on a file's size stands for a full disk: both end a write half way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITERS = {
    "run": ("run", "r.mfv", "-q", "--out", "PLACE"),
    "extract": ("extract", "left", "--out", "PLACE", *TINY),
    "eval": ("eval", "--items", "3", "--on", "left", "-q", "--out", "PLACE"),
    "cost": ("cost", "lib/left", "--layer", "1", "--items", "2", "-q", "--out", "PLACE"),
    "data make": ("data", "make", "-q", "--count", "2", "--workers", "1", "--out", "PLACE"),
    "data show": ("data", "show", "scenes", "--relation", "left", "--out", "PLACE/p.png"),
    "plot": ("similarity", "lib", "--plot", "PLACE/p.png"),
    "export": ("vectors", "export", "lib/left", "PLACE/v.npy", "--layer", "1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", "file/below", "loop", LONG, f"new/{LONG}"])
@pytest.mark.parametrize("command", WRITERS)
def test_a_place_that_cannot_be(folder: Path, command: str, place: str):
    before = names(folder)
    words = [word.replace("PLACE", place) for word in WRITERS[command]]
    done = mfv_command(*words, cwd=folder)
    assert done.returncode in (1, 2, 3) and done.stdout == "", done.stdout
    assert "error[MFV" in done.stderr and "= help: " in done.stderr
    assert "MFV5900" not in done.stderr and "Traceback" not in done.stderr
    assert place.split("/")[0][:60] in done.stderr
    assert names(folder) == before


@pytest.mark.parametrize("home", ["file", "file/below", "loop", LONG])
def test_a_store_that_cannot_be_is_told_before_the_work(folder: Path, home: str, monkeypatch):
    monkeypatch.setenv("MFV_HOME", home)

    def load(*arguments: object, **options: object) -> None:
        raise AssertionError("a model was loaded before it")

    monkeypatch.setattr("mfv_dsl.models.load", load)
    before = names(folder)
    for words in (["run", "r.mfv", "-q"], ["heads", "left", "-q"]):
        done = mfv_command(*words, cwd=folder)
        assert done.returncode == 2 and "error[MFV6122]: " in done.stderr
        assert "MFV_HOME" in done.stderr
        assert names(folder) == before
    if home == "file":
        for words in (["cache", "list"], ["cache", "verify"], ["cache", "clear"]):
            done = mfv_command(*words, cwd=folder)
            assert done.returncode == 2 and "error[MFV6122]: file: " in done.stderr
    assert (folder / "file").read_text() == "a file"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "extract", "data make", "export"])
def test_a_disk_that_is_full(folder: Path, name: str, monkeypatch):
    monkeypatch.setenv("MFV_HOME", str(folder / "home"))
    words = [word.replace("PLACE", "new") for word in WRITERS[name]]
    with largest_file(200):
        done = mfv_command(*words, cwd=folder)
    assert done.returncode == 3 and "error[MFV6120]: " in done.stderr, done.stderr
    assert "free some space" in done.stderr and "file too large" in done.stderr
    half = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size == 200]
    assert half == [] and not list(folder.rglob(".*.????????"))
    done = mfv_command(*words, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_libraries_and_locks_say_the_path(folder: Path):
    with largest_file(50):
        for words in (["vectors", "rename", "lib/left", "l"], ["vectors", "index", "lib"],
                      ["lock", "l.mfv"]):  # fmt: skip
            done = mfv_command(*words, cwd=folder)
            assert done.returncode == 3 and "error[MFV6" in done.stderr, done.stderr
            assert "file too large" in done.stderr and "= help: " in done.stderr
    assert "lib/left.safetensors" in names(folder)
    assert not list(folder.rglob("*.????????"))
    (folder / "lib" / ".lock").unlink(missing_ok=True)
    (folder / "lib" / ".lock").mkdir()
    done = mfv_command("vectors", "index", "lib", cwd=folder)
    assert done.returncode == 3 and "error[MFV6008]: cannot write to " in done.stderr
    assert "lib/.lock: is a directory" in done.stderr


def test_a_library_that_cannot_be_begun_is_not_there(folder: Path):
    mfv_command("vectors", "export", "lib/left", "a.npy", "--layer", "1", cwd=folder)
    before = names(folder)
    words = ["vectors", "import", "a.npy", "new/one", "--model", "tiny", "--layer", "1"]
    with largest_file(50):
        done = mfv_command(*words, cwd=folder)
    assert done.returncode == 3 and "error[MFV6120]: " in done.stderr
    assert names(folder) == before
    assert mfv_command(*words, cwd=folder).returncode == 0


def test_fmt_leaves_a_recipe_whole(folder: Path):
    (folder / "bad.mfv").write_text(RECIPE.replace("model m", "model    m") * 1)
    text = (folder / "bad.mfv").read_text()
    with largest_file(20):
        done = mfv_command("fmt", "bad.mfv", cwd=folder)
    assert done.returncode == 3 and "error[MFV6120]: " in done.stderr and "bad.mfv" in done.stderr
    assert (folder / "bad.mfv").read_text() == text


def test_too_many_open_files(folder: Path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    try:
        mfv_command("vectors", "export", "lib/left", "a.npy", "--layer", "1", cwd=folder)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) - 1, before[1]))
        done = mfv_command("vectors", "export", "lib/left", "b.npy", "--layer", "1", cwd=folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for handle in held:
            os.close(handle)
    assert done.returncode == 3 and "Too many open files".lower() in done.stderr.lower()
    assert "MFV5900" not in done.stderr and not (folder / "b.npy").exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_output_that_cannot_be_written(folder: Path):
    root = str(Path(mfv_dsl.__file__).parents[1])
    for words in (["models", "--json"], ["reference"], ["vectors", "list", "lib"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "mfv_dsl", *words],
                cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "PYTHONPATH": root},
            )  # fmt: skip
        assert done.returncode == 3 and "Traceback" not in done.stderr
        assert "error[MFV6120]: standard output: no space left on device" in done.stderr
        assert done.stderr.count("error") == 1 and "Exception ignored" not in done.stderr
