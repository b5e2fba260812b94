"""Trouble with the disk, as it is told."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import mfv_dsl
from mfv_dsl.base.disk import check_path, disk_error, disk_trouble, folder_for, is_disk_error
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically


def test_every_kind_of_trouble_has_its_code(tmp_path: Path):
    kinds = {
        "MFV6120": (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "MFV6121": (errno.EACCES, errno.EPERM, errno.EROFS),
        "MFV6122": (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT),
        "MFV6123": (errno.EMFILE, errno.ENFILE),
        "MFV6124": (errno.EIO, errno.ESTALE),
    }
    for code, numbers in kinds.items():
        for number in numbers:
            error = disk_error(OSError(number, os.strerror(number), "runs/a"))
            assert error.code == code and error.message.startswith("runs/a: ") and error.help
    assert not is_disk_error(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))


def test_other_errors_pass():
    with pytest.raises(ConnectionError), disk_trouble():
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_the_store_has_a_remedy_of_its_own(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MFV_HOME", str(tmp_path))
    inside = disk_error(OSError(errno.ENOSPC, "full", str(tmp_path / "steps" / "x")))
    outside = disk_error(OSError(errno.ENOSPC, "full", str(tmp_path.parent / "x")))
    assert "MFV_HOME" in inside.help and "MFV_HOME" not in outside.help


def test_what_stands_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("not/there")
    for name in ("file", "file/below", "loop/x", "nowhere/x", "x" * 256, f"a/{'é' * 130}", "a\0b"):
        with pytest.raises(MfvError) as caught:
            check_path(tmp_path / name)
        assert caught.value.code == "MFV6122", name
        assert len(caught.value.message) < 500 and caught.value.help
    for name in ("", "new", "a/b/c", "x" * 255):
        check_path(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop", "nowhere"]


def test_a_folder_is_there_while_it_is_needed(tmp_path: Path):
    with folder_for(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(ZeroDivisionError), folder_for(tmp_path / "c" / "d"):
        _ = 1 / 0
    assert not (tmp_path / "c").exists()
    with pytest.raises(ZeroDivisionError), folder_for(tmp_path / "a" / "b"):
        _ = 1 / 0
    assert (tmp_path / "a" / "b").is_dir()  # it was there before
    with pytest.raises(ZeroDivisionError), folder_for(tmp_path / "e"):
        (tmp_path / "e" / "kept").write_text("")
        _ = 1 / 0
    assert (tmp_path / "e" / "kept").exists()
    with pytest.raises(MfvError) as caught, folder_for(tmp_path / "e" / "kept" / "x"):
        raise AssertionError("it cannot be made")
    assert caught.value.code == "MFV6122" and "kept" in caught.value.message


def test_a_full_disk_names_the_file_and_leaves_no_part_of_it(tmp_path: Path):
    """The limit on a file's size stands for the disk: both end a write half way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(MfvError) as caught, disk_trouble():
            write_atomically(tmp_path / "large", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "MFV6120" and str(tmp_path / "large") in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_another_user_is_told_whose_folder_it_is_not(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from mfv_dsl.base.disk import check_path, folder_for\n"
        "from mfv_dsl.base.errors import MfvError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "for refuse in (check_path, lambda path: folder_for(path).__enter__()):\n"
        "    try: refuse(__import__('pathlib').Path(sys.argv[2]))\n"
        "    except MfvError as error: print(error.code, sys.argv[2] in error.message)\n"
    )
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents):  # the way there is open
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    root = str(Path(mfv_dsl.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, root, str(locked)], capture_output=True, text=True
    )
    if "PermissionError" in done.stderr or "ModuleNotFoundError" in done.stderr:
        pytest.skip("the project itself is not open to others here")
    assert done.stdout.split() == ["MFV6121", "True"] * 2, done.stderr
