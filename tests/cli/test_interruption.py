"""Ctrl-C and SIGTERM, sent to a process as a terminal or the system sends them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import mfv_dsl
from mfv_dsl.base.places import bundled
from mfv_dsl.cli.interruption import Interrupted, kept, show_interruption
from tests.warm import Warm

LONG = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right])
defaults { heads = top(3, by=aie, trials=200), trials = 60, layer = 2 }
eval few { shots = 4, items = 200 }
eval raw { add = fv(each), items = 200 }
"""


class Process:
    """``mfv …`` in a process of its own, with signals as a terminal gives them."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        root = str(Path(mfv_dsl.__file__).parents[1])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mfv_dsl", *arguments],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
            preexec_fn=_hear_signals,
        )  # fmt: skip
        self.pid, self.poll = self._process.pid, self._process.poll

    def wait(self) -> int:
        self._said = self._process.communicate(timeout=300)[1]
        return self._process.returncode

    def stderr(self) -> str:
        return self._said


def stopped(
    process: Process | Warm, number: signal.Signals, when: Callable[[], bool], group: bool = False
) -> tuple[int, str]:
    """The exit code of a process that gets a signal as soon as ``when()``, and what it says on
    stderr."""
    end = time.monotonic() + 300
    while not when():
        assert process.poll() is None, (process.wait(), process.stderr())
        assert time.monotonic() < end
        time.sleep(0.02)
    (os.killpg if group else os.kill)(process.pid, number)
    return process.wait(), process.stderr()


def _hear_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def temporary(folder: Path) -> list[Path]:
    """Files that are left half written."""
    return [path for path in folder.rglob(".*") if path.is_file() and path.name != ".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_run_says_what_is_kept_and_goes_on(tmp_path: Path, name: str, monkeypatch):
    monkeypatch.delenv("MFV_HOME", raising=False)
    number = signal.Signals[name]
    (tmp_path / "long one.mfv").write_text(LONG)
    process = Warm(tmp_path, "run", "-q", "long one.mfv", "--out", "the results", "--fresh")
    steps = tmp_path / ".mfv" / "steps"
    code, stderr = stopped(process, number, lambda: any(steps.glob("*/*.safetensors")))
    assert code == 128 + number
    first, second = stderr.strip().splitlines()
    done = len(list(steps.glob("*/*.safetensors")))
    assert f": {done} of 17 steps are finished and kept in .mfv" in first
    assert second == "  to go on: mfv run -q 'long one.mfv' --out 'the results'"
    assert not (tmp_path / "the results").exists() and temporary(tmp_path) == []


@pytest.mark.slow
def test_commands_that_write_recipes_say_it_too(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("MFV_HOME", raising=False)
    steps = tmp_path / ".mfv" / "steps"
    process = Warm(tmp_path, "tune", "left", "-q", "--start", "random", "--epochs", "5000")
    parts = tmp_path / ".mfv" / "parts"
    code, stderr = stopped(process, signal.SIGINT, lambda: any(parts.rglob("*.safetensors")))
    assert code == 130 and len(stderr.strip().splitlines()) == 2
    assert "0 of 3 steps are finished and kept in .mfv" in stderr
    assert "to go on: mfv tune left -q --start random --epochs 5000" in stderr
    assert not any(steps.rglob("*.safetensors")) and temporary(tmp_path) == []
    assert not (tmp_path / "vectors").exists() and not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("group", [False, True])
def test_making_a_dataset_leaves_none_that_looks_whole(tmp_path: Path, group: bool):
    process = Process(
        tmp_path, "data", "make", "-q", "--out", "d", "--count", "5000", "--kinds", "shapes"
    )
    images = tmp_path / "d"
    code, stderr = stopped(process, signal.SIGINT, lambda: any(images.glob("image_*.png")), group)
    assert code == 130 and "Traceback" not in stderr
    first, second = stderr.strip().splitlines()
    assert "of 5000 images are in d, which is no dataset yet" in first
    assert second.endswith("to go on: mfv data make -q --out d --count 5000 --kinds shapes")
    assert not (images / "metadata.csv").exists() and temporary(tmp_path) == []


@pytest.mark.slow
def test_a_signal_while_things_are_loaded_is_no_traceback(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "home"))
    began = time.monotonic()
    Process(tmp_path, "--version").wait()
    own = time.monotonic() - began  # before, Python itself begins, which has tracebacks
    for delay in (0.2, 0.8, 1.6):
        end = time.monotonic() + own + delay
        process = Process(tmp_path, "heads", "left", "-q", "--trials", "200")
        code, stderr = stopped(process, signal.SIGINT, lambda end=end: time.monotonic() > end)
        assert code in (130, -signal.SIGINT) and "Traceback" not in stderr


def test_the_command_goes_on_with_what_is_kept(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(Interrupted) as caught, kept(lambda: "outer"), kept(lambda: "inner"):
        raise Interrupted("SIGTERM")
    assert caught.value.kept == "inner" and caught.value.exit_code == 143
    show_interruption(caught.value, ["run", "a b.mfv", "--fresh"])
    assert capsys.readouterr().err == "ended (SIGTERM): inner\n  to go on: mfv run 'a b.mfv'\n"


class _Silent(BaseHTTPRequestHandler):
    """A Hub that takes every request and answers none."""

    asked = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        time.sleep(60)

    do_POST = do_HEAD = do_GET


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("push", "lib", "hf://org/repo"), ("pull", "hf://org/repo", "lib")]
)
def test_a_transfer_says_what_it_leaves(tmp_path: Path, words: tuple[str, ...], monkeypatch):
    (tmp_path / "lib").mkdir()
    shutil.copy(bundled("vectors") / "flamingo-tiny" / "left.safetensors", tmp_path / "lib")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    _Silent.asked.clear()
    process = Process(tmp_path, "vectors", *words)
    code, stderr = stopped(process, signal.SIGINT, _Silent.asked.is_set)
    server.shutdown()
    assert code == 130 and "Traceback" not in stderr
    assert ("whole or not at all" if words[0] == "push" else "every vector") in stderr
    assert f"to go on: mfv vectors {' '.join(words)}" in stderr
    assert [path.name for path in (tmp_path / "lib").iterdir()] == ["left.safetensors"]
