"""Where `save` may write: into folders of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.places import identity_of_place, user_path
from mfv_dsl.library.folder import Library
from mfv_dsl.library.sources import at_hand, library_at
from tests.lang.support import HEAD, checked

SAVE = 'save "{}" {{ vectors = [fv(left)] }}\n'


@pytest.mark.parametrize(
    "address",
    ["hf://org/repo", "hf://org/repo@main", "hf:org/repo", "s3://bucket/x", "https://a.b/c",
     "file:///tmp/x", "gs://a"],
)  # fmt: skip
def test_an_address_is_no_folder(address: str):
    (found,) = checked(HEAD + SAVE.format(address)).diagnostics
    assert (found.code, found.severity) == ("MFV6016", "error")
    assert address in found.message and "mfv vectors push" in (found.help or "")


def test_the_folder_of_nobody():
    (found,) = checked(HEAD + SAVE.format("~nobody-here/x")).diagnostics
    assert found.code == "MFV6016" and "./~nobody-here" in (found.help or "")


@pytest.mark.parametrize("folder", ["~/x", "~", "./~x", "a~b", "vectors/hf:/x", "C:/x"])
def test_folders_are_folders(folder: str):
    assert checked(HEAD + SAVE.format(folder)).diagnostics == ()


@pytest.mark.slow
def test_a_tilde_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert user_path("~/x") == tmp_path / "home" / "x" and user_path("./~") == Path("~")
    assert identity_of_place("~/x") == identity_of_place(tmp_path / "home" / "x")
    bundled = library_at("vectors/flamingo-tiny")
    (data,) = [bundled.path("left").read_bytes()]
    with Library("~/mine").writing():
        Library("~/mine").put_file("left", data)
    assert (tmp_path / "home" / "mine" / "left.safetensors").read_bytes() == data
    assert not (tmp_path / "~").exists()
    left = mfv.load_vector("~/mine", "left").vector
    mfv.save_vector("~/mine/twice.safetensors", 2 * left, {})
    assert Library(tmp_path / "home" / "mine").names() == ["left", "twice"]
    result = mfv.Recipe(
        "mfv 1\nmodel m = tiny()\ndataset d = scenes()\neval e { items = 1, on = [left] }\n", "r"
    ).run("~/out")
    assert result.folder == tmp_path / "home" / "out" and (result.folder / "results.json").exists()
    assert not (tmp_path / "~").exists()
    facts = at_hand("~/mine", "left")
    assert facts is not None and facts.file == str(tmp_path / "home" / "mine" / "left.safetensors")
    recipe = mfv.Recipe(
        'mfv 1\nmodel m = tiny()\ndataset d = scenes()\neval e { add = load("~/mine", "left"), '
        "layer = 1, on = [left] }\n" + SAVE.format("~/mine"), "r",
    )  # fmt: skip
    assert recipe.plan().rows
