"""What every storage promises."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mfv_dsl.execute import storage as storages
from mfv_dsl.execute.storage import FolderStorage, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return FolderStorage(tmp_path / "home")


def test_files_are_written_read_listed_and_removed(storage: Storage):
    with pytest.raises(KeyError):
        storage.read("steps/ab/x")
    assert storage.names("") == [] and not storage.exists("steps/ab/x")
    storage.write("steps/ab/x", b"one")
    storage.write("steps/ab/x", b"two")
    storage.write("steps/cd/y", b"", durable=False)
    storage.write("stepsister/z", b"no step")
    assert storage.read("steps/ab/x") == b"two" and storage.read("steps/cd/y") == b""
    assert storage.names("steps") == ["steps/ab/x", "steps/cd/y"]
    assert storage.names("") == ["steps/ab/x", "steps/cd/y", "stepsister/z"]
    assert storage.exists("steps/ab/x") and not storage.exists("steps/ab")
    storage.remove("steps/ab/x")
    storage.remove("steps/ab/x")
    assert not storage.exists("steps/ab/x") and storage.names("steps") == ["steps/cd/y"]


def test_one_name_is_created_once(storage: Storage):
    assert storage.create("claims/a/b", b"mine") and not storage.create("claims/a/b", b"yours")
    assert storage.read("claims/a/b") == b"mine"
    assert storage.create("claims/a/b", b"mine")  # whose success was not told to it
    storage.remove("claims/a/b")
    assert storage.create("claims/a/b", b"yours")


def test_a_file_is_replaced_if_it_is_as_it_was(storage: Storage):
    assert not storage.replace("x", b"was", b"new") and not storage.exists("x")
    storage.write("x", b"was")
    assert not storage.replace("x", b"other", b"new") and storage.read("x") == b"was"
    assert storage.replace("x", b"was", b"new") and storage.read("x") == b"new"
    assert not storage.replace("x", b"was", b"newer") and storage.read("x") == b"new"
    assert storage.names("") == ["x"]


@pytest.mark.parametrize("way", ["create", "replace"])
def test_of_many_at_once_one_succeeds(storage: Storage, way: str):
    for turn in range(10):
        name, start, won = f"claims/{turn}", threading.Barrier(8), []
        if way == "replace":
            storage.write(name, b"stale")

        def contend(i: int, name: str = name, start=start, won=won) -> None:
            mine = f"number {i}".encode()
            start.wait()
            done = (
                storage.create(name, mine)
                if way == "create"
                else storage.replace(name, b"stale", mine)
            )
            if done:
                won.append(mine)

        threads = [threading.Thread(target=contend, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [storage.read(name)]


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a//b", "a/../../x", "a/.hidden", "a\\b"])
def test_no_name_leads_out_of_a_storage(storage: Storage, name: str):
    for use in (storage.read, storage.exists, storage.remove):
        with pytest.raises(ValueError, match="no name of a storage"):
            use(name)


def test_a_disk_without_links_creates_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(storages.os, "link", refused)
    storage = FolderStorage(tmp_path)
    assert storage.create("x", b"mine") and not storage.create("x", b"yours")
    assert storage.read("x") == b"mine" and os.listdir(tmp_path) == ["x"]


def test_what_is_being_written_is_no_file_yet(tmp_path: Path):
    storage = FolderStorage(tmp_path)
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / ".x.12345678").write_bytes(b"hal")
    assert storage.names("") == []


def test_a_folder_that_another_removes_is_made_again(tmp_path: Path):
    """Another run drops the folder of parts, which is empty, whenever it can."""
    storage, over = FolderStorage(tmp_path), threading.Event()

    def remove() -> None:
        while not over.is_set():
            try:
                os.rmdir(tmp_path / "parts")
            except OSError:
                continue

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        for i in range(200):
            storage.write("parts/x", str(i).encode(), durable=False)
            storage.remove("parts/x")
    finally:
        over.set()
        thread.join()
