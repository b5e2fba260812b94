"""Files are written whole, as those that were there, and never through links."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mfv_dsl
from mfv_dsl.base.files import write_atomically

ROOT = Path(mfv_dsl.__file__).parent


@contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o027])
def test_a_new_file_has_what_the_umask_leaves(mask: int, tmp_path: Path):
    with umask(mask):
        write_atomically(tmp_path / "folder" / "new.json", b"{}")
    assert mode_of(tmp_path / "folder" / "new.json") == 0o666 & ~mask
    assert mode_of(tmp_path / "folder") == 0o777 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755, 0o664])
def test_a_file_keeps_its_permissions(mode: int, tmp_path: Path):
    path = tmp_path / "old.json"
    path.write_bytes(b"old")
    path.chmod(mode)
    with umask(0o022):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and mode_of(path) == mode


@pytest.mark.skipif(
    not hasattr(os, "chown") or os.getuid() != 0, reason="only root gives files away"
)
def test_a_file_keeps_its_owner(tmp_path: Path):
    path = tmp_path / "theirs.json"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    path.chmod(0o600)
    write_atomically(path, b"new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode_of(path)) == (12345, 23456, 0o600)


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_replaced_and_what_it_leads_to_stays(dangling: bool, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere.json"
    if not dangling:
        elsewhere.write_bytes(b"mine")
        elsewhere.chmod(0o600)
    link = tmp_path / "results.json"
    link.symlink_to(elsewhere)
    with umask(0o022):
        write_atomically(link, b"new")
    assert not link.is_symlink() and link.read_bytes() == b"new" and mode_of(link) == 0o644
    assert elsewhere.exists() != dangling
    assert dangling or elsewhere.read_bytes() == b"mine"


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "folder", b"a file in a folder's place")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "kept.json"]
    assert path.read_bytes() == b"old"


def test_a_name_may_be_as_long_as_the_disk_takes(tmp_path: Path):
    path = tmp_path / ("n" * 250 + ".json")
    write_atomically(path, b"{}")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.slow
def test_every_file_is_written_by_one_function():
    """``write_text`` and its like heed neither links nor permissions, and may leave half a file."""
    direct = {"write_text", "write_bytes", "savefig", "mkstemp", "NamedTemporaryFile", "to_csv"}
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name == "savefig" and path.parent.name == "figures":
                continue  # into memory, or where a user who calls it wants it
            assert name not in direct, f"{path}:{node.lineno} {name}"
            modes = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
            if name == "open":
                modes += [k.value.value for k in node.keywords if k.arg == "mode"]
                writes = [m for m in modes if isinstance(m, str) and set(m) & set("wax+")]
                assert not writes or path.name == "files.py", f"{path}:{node.lineno} open {modes}"
