"""``mfv serve`` as a process of its own, for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MAIN = "from mfv_dsl.cli import main; main()"
OPTIONS = ("--heads", "{L2H6, L4H1}", "--trials", "8")


@dataclass
class Server:
    """A running page: ``here`` is the folder that it was started in, ``temporary`` the one that it
    is to put its files into."""

    process: subprocess.Popen[str]
    url: str
    here: Path
    temporary: Path
    seconds: float

    @property
    def folder(self) -> Path:
        """Its own temporary folder."""
        (folder,) = self.temporary.glob("mfv-serve-*")
        return folder

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """End it; its exit code, and what it said on stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=300)
        return self.process.returncode, errors


@contextmanager
def served(folder: Path, *options: str, before: str = "") -> Iterator[Server]:
    """A server that is started in a folder of its own, and ended after; ``before`` is run first in
    its process."""
    here, temporary = folder / "here", folder / "temporary"
    here.mkdir()
    temporary.mkdir()
    root = Path(__file__).parents[2]
    environment = {
        **os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(root), "HOME": str(here),
        "MFV_HOME": "", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{_MAIN}", "serve", *options],
        cwd=here, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        said = re.search(r"http://\S+", line)
        assert said, (line, process.communicate(timeout=5))
        seconds = time.perf_counter() - begin
        yield Server(process, said[0], here, temporary, seconds)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
