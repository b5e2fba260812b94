"""The command line, typed in this process."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from mfv_dsl.cli import main


def mfv_command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What ``mfv …`` prints and how it ends, without the seconds that a process of its own takes to
    import torch; ``test_commands.py`` holds that such a process does the same."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        patch.setattr(sys, "argv", ["mfv", *arguments])
        if cwd is not None:
            patch.chdir(cwd)
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())
