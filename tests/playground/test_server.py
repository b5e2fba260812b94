"""The server: where it listens, what it keeps to itself, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.playground.server import Address, free_port
from tests.playground.served import OPTIONS, Server, served

pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="without gradio")

#: Where every command keeps the language's grammar, for the next.
GRAMMAR = ".cache/mfv-dsl"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("server"), *OPTIONS) as running:
        yield running


def status(url: str, data: bytes | None = None) -> int:
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def config(server: Server) -> dict[str, Any]:
    """What the server tells the page of itself."""
    with urllib.request.urlopen(server.url, timeout=120) as answer:
        text = answer.read().decode()
    found: dict[str, Any] = json.loads(
        text.partition("window.gradio_config = ")[2].partition(";</script>")[0]
    )
    return found


def called(server: Server, number: int, data: list[Any]) -> dict[str, Any]:
    """How a call of a function of the page ends."""
    session = f"test{time.time_ns()}"
    body = {"data": data, "fn_index": number, "session_hash": session, "event_data": None}
    assert status(f"{server.url}gradio_api/queue/join", json.dumps(body).encode()) == 200
    address = f"{server.url}gradio_api/queue/data?session_hash={session}"
    with urllib.request.urlopen(address, timeout=120) as told:
        for line in told:
            message = json.loads(line.decode().removeprefix("data: ")) if line.strip() else {}
            if message.get("msg") == "process_completed":
                return dict(message)
    raise AssertionError("the call did not end")


@pytest.mark.slow
def test_only_this_machine_is_listened_to(server: Server):
    assert server.url.startswith("http://127.0.0.1:")
    port = int(server.url.rstrip("/").rpartition(":")[2])
    other = socket.gethostbyname(socket.gethostname())
    if not other.startswith("127."):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((other, port), timeout=2).close()


@pytest.mark.slow
def test_no_file_of_the_machine_is_given(server: Server):
    secret = server.here / "secret.txt"
    secret.write_text("mine", encoding="utf-8")
    paths = [str(secret), "/etc/passwd", "secret.txt", "../../etc/passwd", __file__]
    for path in paths:
        assert status(f"{server.url}gradio_api/file={path}") in (403, 404), path
    secret.unlink()


@pytest.mark.slow
def test_the_page_does_not_send_others_elsewhere(server: Server):
    sent = config(server)
    assert sent["analytics_enabled"] is False
    named = [d["api_name"] for d in sent["dependencies"] if d["api_visibility"] == "public"]
    assert named == []


@pytest.mark.slow
def test_nothing_is_fetched_for_those_who_ask(server: Server):
    """Gradio downloads a file that is named by an address, whatever the component takes."""
    kinds = {one["id"]: one["type"] for one in config(server)["components"]}
    calls = [
        (number, [kinds[one] for one in dependency["inputs"]])
        for number, dependency in enumerate(config(server)["dependencies"])
    ]
    (upload,) = (number for number, takes in calls if takes[:1] == ["file"])
    check = next(number for number, takes in calls if takes == ["textbox"])
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        address = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/a.png"
        file = {"path": address, "meta": {"_type": "gradio.FileData"}}
        for number, data in ((upload, [file, ""]), (check, [file]), (check, [[{"in": file}]])):
            outcome = called(server, number, data)
            assert not outcome["success"]
            assert "not fetched from elsewhere" in outcome["output"]["error"]
        elsewhere.settimeout(0.2)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


@pytest.mark.slow
def test_an_upload_of_too_many_bytes_is_refused(server: Server):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body += bytes(21 << 20) + b"\r\n--x--\r\n"
    request = urllib.request.Request(
        f"{server.url}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(request, timeout=120)
    assert sum(path.stat().st_size for path in server.folder.rglob("*.png")) < 21 << 20


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_it_ends_cleanly_and_leaves_nothing(tmp_path: Path, number: int, code: int):
    with served(tmp_path, *OPTIONS) as server:
        assert server.folder.is_dir()
        ended, errors = server.end(number)
    assert (ended, errors) == (code, "the playground has ended\n")
    assert list(server.temporary.iterdir()) == []
    left = [path for path in server.here.rglob("*") if path.is_file()]
    assert {path.parent.relative_to(server.here).as_posix() for path in left} <= {GRAMMAR}


@pytest.mark.slow
def test_it_ends_cleanly_while_a_vector_is_computed(tmp_path: Path):
    with served(tmp_path) as server:
        expression = "fv(left, trials=200, shots=12) + fv(right, trials=200, shots=12)"
        ask = next(d["id"] for d in config(server)["dependencies"] if d["api_name"] == "ask")
        data = [None, "yellow ring", expression, True, 3, 1, 8]
        body = {"data": data, "fn_index": ask, "session_hash": "test"}
        assert status(f"{server.url}gradio_api/queue/join", json.dumps(body).encode()) == 200
        time.sleep(2)
        assert status(server.url) == 200  # the page is given meanwhile
        ended = server.end(signal.SIGINT)
    assert ended == (0, "the playground has ended\n")
    assert list(server.temporary.iterdir()) == []


@pytest.mark.slow
def test_a_port_that_is_taken_and_settings_that_are_wrong_are_said(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options, said in (
            (["--port", port], "MFV5414"), (["--model", "tinny"], "did you mean `tiny`?"),
            (["--library", "nowhere"], "nowhere"), (["--trials", "3", "--heads", "top("], "MFV"),
        ):  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-m", "mfv_dsl", "serve", *options], cwd=tmp_path, text=True,
                capture_output=True, timeout=300, check=False,
            )  # fmt: skip
            assert done.returncode in (1, 2, 3) and said in done.stderr, done.stderr
            assert "Traceback" not in done.stderr and done.stdout == ""


def test_who_can_reach_it_is_said():
    assert Address().warning == "" == Address("localhost").warning
    assert "no password" in Address("0.0.0.0").warning
    assert "anyone who has the link" in Address(share=True).warning


def test_a_free_port_is_found_and_one_that_is_taken_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MfvError, match="MFV5414"):
            free_port("127.0.0.1", port)
    with pytest.raises(MfvError, match="MFV5414"):
        free_port("198.51.100.1", None)
    assert free_port("127.0.0.1", None) >= 7860


@pytest.mark.slow
def test_without_gradio_it_is_said_what_to_install(tmp_path: Path):
    code = (
        "import sys; sys.modules['gradio'] = None; sys.argv = ['mfv', 'serve']\n"
        "from mfv_dsl.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2 and "pip install 'mfv-dsl[serve]'" in done.stderr


@pytest.mark.slow
def test_help_needs_no_gradio():
    code = (
        "import sys; sys.argv = ['mfv', 'serve', '--help']\n"
        "try:\n    from mfv_dsl.cli import main; main()\n"
        "except SystemExit:\n    print({'gradio', 'torch', 'pandas'} & {*sys.modules} or [])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "--library" in done.stdout
