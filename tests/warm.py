"""``mfv …`` in processes of their own that need not import torch first.

Each is forked from one process that has imported what a run on the bundled models imports, so that
a start costs next to nothing.  ``cli/test_commands.py`` holds that a process from nothing prints
the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.warm_imports"])


class Warm:
    """``mfv …`` in a folder and a group of its own, with signals as a terminal gives them; as of a
    ``subprocess.Popen`` one asks for ``pid`` and whether it has ended."""

    def __init__(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._texts = tempfile.TemporaryDirectory()
        given = (arguments, folder, dict(os.environ if env is None else env), self._texts.name)
        self._process = _CONTEXT.Process(target=_become, args=given, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 300) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            self._process.kill()
            raise subprocess.TimeoutExpired("mfv", timeout)
        return code

    def stdout(self) -> str:
        return Path(self._texts.name, "stdout").read_text()

    def stderr(self) -> str:
        return Path(self._texts.name, "stderr").read_text()


def _become(
    arguments: tuple[str, ...], folder: Path, environment: dict[str, str], texts: str
) -> None:
    """Be that process."""
    from mfv_dsl.cli import main

    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in enumerate(("stdout", "stderr"), 1):
        os.dup2(os.open(Path(texts, name), os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["mfv", *arguments]
    main()
