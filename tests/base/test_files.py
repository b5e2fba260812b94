"""Regular files alone are read, within bounds, and nothing else is waited for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mfv_dsl.base.files import open_regular, read_regular

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def refused(path: Path, most: int = 1 << 20) -> str:
    """Why a file is not read."""
    with pytest.raises(OSError) as found:  # noqa: PT011
        read_regular(path, most)
    assert found.value.filename == str(path)
    assert found.value.strerror is not None
    return found.value.strerror


def test_a_file_is_read_whole_also_behind_a_link(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(path)
    assert read_regular(path, 3) == read_regular(str(tmp_path / "link"), 3) == b"abc"
    with open_regular(path) as file:
        assert (file.read(1), file.read()) == (b"a", b"bc")
    (tmp_path / "empty").touch()
    assert read_regular(tmp_path / "empty", 0) == b""


def test_a_larger_file_is_refused_and_not_read(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"abcd")
    assert refused(path, 3) == "it is larger than 3 bytes"
    os.truncate(path, 1 << 40)  # sparse
    assert refused(path, 512 << 20) == "it is larger than 512 MiB"


def test_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "it is a pipe, not a file"
    assert refused(tmp_path) == "it is a folder, not a file"
    assert refused(Path("/dev/zero")) == "it is a device, not a file"
    (tmp_path / "link").symlink_to("/dev/zero")
    assert refused(tmp_path / "link") == "it is a device, not a file"
    here = Path.cwd()
    os.chdir(tmp_path)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            assert refused(Path("socket")) == "it is a socket, not a file"
    finally:
        os.chdir(here)
    assert refused(Path("a\0b")) == "there is a null byte in the path"
    assert refused(tmp_path / "nowhere") == "No such file or directory"


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path):
    path = tmp_path / "weights.bin"
    path.write_bytes(POINTER)
    assert "git-LFS pointer" in refused(path) and "`git lfs pull`" in refused(path)
    path.write_bytes(POINTER + bytes(1024))
    assert read_regular(path, 1 << 20).startswith(POINTER)
