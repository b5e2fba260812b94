"""The cache and the network: nothing is fetched unasked, and what is fetched is found again."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mfv_dsl.models.checkpoints.load import load_checkpoint as load

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NO_NETWORK = """
import socket
def refuse(*_, **__):
    raise AssertionError("the network was used")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""
LOCATE = """
import sys
from mfv_dsl import MfvError
from mfv_dsl.models.checkpoints.layout import checkpoint_layout
from mfv_dsl.models.checkpoints.locate import locate, resolved
try:
    print(locate(checkpoint_layout(sys.argv[1]), download=len(sys.argv) > 2), resolved(sys.argv[1]))
except MfvError as error:
    print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's interface as fetching files takes; ``folders`` are its repositories."""

    folders: dict[str, Path]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = urlsplit(self.path).path.lstrip("/")
        self.asked.append(path)
        listing = path.startswith("api/models/")
        name = "/".join(path.removeprefix("api/models/").split("/")[:2])
        folder = self.folders.get(name)
        file = path.partition("/resolve/")[2].partition("/")[2]
        if folder is None or (not listing and not (folder / file).is_file()):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if folder else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if listing:
            files = [f for f in sorted(folder.iterdir()) if f.is_file()]
            rows = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0" * 40}
                    for f in files]  # fmt: skip
            data = json.dumps(rows).encode()
        else:
            data = (folder / file).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json" if listing else "binary/octet-stream")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{abs(hash((name, file))):040x}"')
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(neox: Path, tmp_path: Path) -> Iterator[tuple[str, list[str], Path]]:
    """A hub with a language and a vision model; a folder with the rest of a checkpoint."""
    asked: list[str] = []
    folders = {"owner/language": neox / "language", "owner/vision": neox / "vision"}
    handler = type("Here", (Hub,), {"folders": folders, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(neox / "checkpoint.pt", mine)
    settings = {"language": "owner/language", "vision": "owner/vision",
                "cross_attn_every_n_layers": 2}  # fmt: skip
    (mine / "flamingo.json").write_text(json.dumps(settings))
    yield f"http://127.0.0.1:{server.server_address[1]}", asked, mine
    server.shutdown()
    server.server_close()


def run(program: str, *arguments: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True,
        env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_folder_is_loaded_without_the_network(neox: Path, no_network: None):
    assert load(str(neox), "fp32", "cpu").facts.d_model == 32


def test_missing_files_do_not_make_it_use_the_network(tmp_path: Path):
    said = run(
        NO_NETWORK + LOCATE, "openflamingo/OpenFlamingo-9B-vitl-mpt7b", HF_HOME=str(tmp_path)
    )
    assert "error[MFV7213]" in said and "pytorch_model-00003-of-00003.bin" in said


@pytest.mark.slow
def test_files_are_fetched_when_asked_and_found_again(
    hub, tmp_path: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
):
    url, asked, mine = hub
    where = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1"}
    assert "error[MFV7213]" in run(LOCATE, mine, **where)
    assert asked == []
    located = run(LOCATE, mine, "download", **where)
    assert f"'repository': 'owner/language', 'commit': '{COMMIT}'" in located
    fetched = {path.rpartition("/")[2] for path in asked if "/resolve/" in path}
    assert fetched == {
        "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "model.safetensors", "open_clip_config.json", "open_clip_model.safetensors",
    }  # fmt: skip
    asked.clear()
    assert run(NO_NETWORK + LOCATE, mine, "download", **where) == located
    assert asked == []
    cache = str(tmp_path / "home" / "hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", cache)
    assert load(str(mine), "fp32", "cpu").facts.d_model == 32


@pytest.mark.slow
def test_why_fetching_failed(hub, tmp_path: Path):
    url, _, mine = hub
    where = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": url}
    said = run(LOCATE, mine, "download", **where, HF_HUB_OFFLINE="1")
    assert "error[MFV7214]: cannot fetch the files of owner/language: " in said
    settings = json.loads((mine / "flamingo.json").read_text()) | {"vision": "owner/nothing"}
    (mine / "flamingo.json").write_text(json.dumps(settings))
    said = run(LOCATE, mine, "download", **where)
    assert "error[MFV7214]: cannot fetch the files of owner/nothing: " in said
