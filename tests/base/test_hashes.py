"""Hashes of files: as the content is, and each made once."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mfv_dsl.base import files, hashes
from mfv_dsl.base.files import hash_tensors
from mfv_dsl.base.hashes import content_hashes


@pytest.fixture(autouse=True)
def own_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A store of its own, and which files are hashed."""
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(hashes, "_known", {})
    monkeypatch.setattr(hashes, "_SETTLED", -(10**12))  # as if a while had gone by
    hashed: list[str] = []
    plain = hashes.hash_whole

    def noted(name: str) -> str:
        hashed.append(Path(name).name)
        return plain(name)

    monkeypatch.setattr(hashes, "hash_whole", noted)
    return hashed


def of(*paths: Path) -> list[str]:
    made = content_hashes({path: path.stat() for path in paths})
    assert made == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return list(made.values())


def test_each_file_is_hashed_once(tmp_path: Path, own_hashes: list[str]):
    (tmp_path / "store").mkdir()
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    of(*paths[:2])
    of(*paths)
    assert sorted(own_hashes) == ["a", "b", "c"]
    hashes._known.clear()  # another process
    of(*paths)
    assert len(own_hashes) == 3


@pytest.mark.parametrize("how", ["same time", "renamed over"])
def test_another_content_of_one_size_is_another_hash(
    how: str, tmp_path: Path, own_hashes: list[str]
):
    path = tmp_path / "a"
    path.write_bytes(b"1" * 100)
    before = path.stat()
    first = of(path)
    time.sleep(0.02)  # the clocks of disks are coarse
    if how == "same time":
        path.write_bytes(b"2" * 100)
    else:
        (tmp_path / "b").write_bytes(b"2" * 100)
        os.replace(tmp_path / "b", path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert of(path) != first and own_hashes == ["a", "a"]


def test_what_was_just_changed_is_not_kept(
    tmp_path: Path, own_hashes: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hashes, "_SETTLED", 3 * 10**9)
    path = tmp_path / "a"
    path.write_bytes(b"1")
    of(path)
    of(path)
    assert own_hashes == ["a", "a"]


def test_few_files_make_no_store_and_a_broken_one_is_none(tmp_path: Path, own_hashes: list[str]):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    of(path)
    assert not (tmp_path / "store").exists()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / hashes.NAME).write_bytes(b"no database" * 100)
    hashes._known.clear()
    of(path)
    assert own_hashes == ["a", "a"]


def test_paths_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text(folder)
        monkeypatch.chdir(tmp_path / folder)
        of(Path("a"), Path("../x/a"))


def test_a_pipe_is_no_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe"):
        of(tmp_path / "pipe")


def test_other_values_in_one_tensor_of_a_large_file_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "_WHOLE", 1 << 10)
    tensors = {f"t{i}": np.full((64, 256), i, np.float32) for i in range(20)} | {
        "scalar": np.zeros((), np.float32), "empty": np.zeros((0, 3), np.float32),
    }  # fmt: skip

    def hashed(changed: str = "") -> str:
        one = {n: np.asarray(t + 1) if n == changed else t for n, t in tensors.items()}
        save_file(one, tmp_path / "weights.safetensors")
        digest = hashlib.sha256()
        hash_tensors(digest, tmp_path / "weights.safetensors")
        return digest.hexdigest()

    usual = hashed()
    assert hashed() == usual
    assert len({usual, *(hashed(name) for name in tensors)}) == len(tensors)  # `empty` has none
    (tmp_path / "short").write_bytes(b"\xff" * 2000)
    hash_tensors(hashlib.sha256(), tmp_path / "short")  # no such file, which loading tells
