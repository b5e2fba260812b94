"""What every storage promises."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute import object_storage
from mfv_dsl.execute import storage as storages
from mfv_dsl.execute.environment import _try_store
from mfv_dsl.execute.storage import FolderStorage, Storage, creates_once, storage_at
from tests.execute.s3 import bucket, s3_server  # noqa: F401


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return storage_at(tmp_path / "home")
    if request.param == "memory":
        return storage_at(f"memory://bucket/{tmp_path.name}")
    return storage_at(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


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
    assert storage.present(["steps/ab/x", "steps/ab/z", "steps/cd/y"]) == {
        "steps/ab/x",
        "steps/cd/y",
    }
    storage.remove("steps/ab/x")
    storage.remove("steps/ab/x", "stepsister/z")
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
    if "memory" in str(storage):
        pytest.skip("objects in memory are not created atomically")
    for turn in range(5 if isinstance(storage, FolderStorage) else 1):
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


WRITER = """
import sys
from mfv_dsl.execute.storage import FolderStorage
storage = FolderStorage(sys.argv[1])
print("ready", flush=True)
while True:
    for letter in b"ab":
        storage.write("steps/x", bytes([letter]) * 300_000, durable=False)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_no_half_of_a_file(tmp_path: Path):
    storage, rng = FolderStorage(tmp_path), random.Random(0)
    for _ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.001, 0.02))
        writer.kill()
        writer.communicate()
        data = storage.read("steps/x") if storage.exists("steps/x") else b""
        assert len(data) in (0, 300_000) and len(set(data)) <= 1
        assert storage.names("") == (["steps/x"] if data else [])


def test_what_is_tried_on_a_storage_leaves_nothing(tmp_path: Path):
    assert creates_once(FolderStorage(tmp_path / "new" / "store")) and not list(tmp_path.iterdir())
    memory = storage_at("memory://probed/here")
    assert creates_once(memory) and memory.names("") == []


def test_doctor_says_whether_the_store_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    assert _try_store() == (None, True) and not list(tmp_path.iterdir())
    (tmp_path / "store").write_text("no folder")
    problem, is_atomic = _try_store()
    assert is_atomic is None and problem is not None and str(tmp_path / "store") in problem
    with pytest.raises(NotADirectoryError):  # rather than no files
        storage_at(tmp_path / "store").names("steps")
    monkeypatch.setenv("MFV_HOME", "nowhere://bucket")
    assert "nowhere" in str(_try_store()[0])


def test_a_file_url_is_a_folder(tmp_path: Path):
    storage = storage_at(f"file://{tmp_path}/a")
    assert isinstance(storage, FolderStorage) and storage.root == tmp_path / "a"


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("nowhere://bucket/x", "MFV6140", "nowhere"),
        ("s3://", "MFV6140", "no bucket"),
        ("gs://bucket/x", "MFV6141", "mfv-dsl[objects]' gcsfs"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, code: str, said: str):
    with pytest.raises(MfvError) as caught:
        storage_at(url)
    assert caught.value.code == code and said in f"{caught.value.message} {caught.value.help}"


@pytest.mark.slow
def test_what_is_wrong_with_an_object_store_is_told_alike(
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    def uses(storage: Storage):
        return (lambda: storage.read("x"), lambda: storage.write("x", b""),
                lambda: storage.create("x", b""), lambda: storage.exists("x"),
                lambda: storage.names("x"), lambda: storage.for_writing().__enter__())  # fmt: skip

    def code(use) -> str:
        with pytest.raises(MfvError) as caught, disk_trouble():
            use()
        assert caught.value.help and "//" in caught.value.message
        return caught.value.code

    missing = object_storage.S3Storage("s3://nobody-has-this/x")
    assert {code(use) for use in uses(missing)} == {"MFV6142"}
    system = missing._fs
    with monkeypatch.context() as patch:
        for secret in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(secret)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        system.clear_instance_cache()
        refused = object_storage.S3Storage(f"{bucket}/x")
        assert code(uses(refused)[0]) == "MFV6143"
        system.clear_instance_cache()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        away = object_storage.S3Storage(f"{bucket}/x")
        away._fs.retries = 1
        assert code(uses(away)[3]) == "MFV6144"
    system.clear_instance_cache()


@pytest.mark.slow
def test_a_service_that_knows_no_conditions_creates_by_looking(
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    storage = object_storage.S3Storage(f"{bucket}/old")
    plain = storage._fs.pipe_file

    def without_conditions(path: str, data: bytes, mode: str = "overwrite") -> None:
        if mode == "create":
            raise OSError(errno.ENOSYS, "A header you provided is not implemented")
        plain(path, data)

    monkeypatch.setattr(storage._fs, "pipe_file", without_conditions)
    assert storage.create("x", b"mine") and not storage.create("x", b"yours")
    assert storage.read("x") == b"mine"


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_fails_for_a_moment_is_asked_again(
    status: int, monkeypatch: pytest.MonkeyPatch
):
    asked: list[bytes] = []

    class Busy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which says that the data may come

        def do_PUT(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status if len(asked) == 1 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "x")
        object_storage.S3Storage("s3://bucket")._fs.clear_instance_cache()
        storage = object_storage.S3Storage("s3://bucket/x")
        storage.write("steps/x", b"data")
        storage._fs.clear_instance_cache()
        server.shutdown()
    assert len(asked) == 2
