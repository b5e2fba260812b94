"""The browser that tests open pages in; ``python -m tools.browser`` installs one if there is none.

A Chromium or Chrome that is on the path is taken, else the one that Playwright downloads.  Where
neither is there, Debian's package is installed if this is Debian and one may, else Playwright's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: a page that a test opens asks nobody but this machine
_OPTIONS = ("--disable-background-networking", "--disable-component-update", "--no-first-run")


def found() -> str | None:
    """The path of a Chromium or Chrome of the system; None where there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def launched(playwright: Playwright) -> Browser:
    """A Chromium without a window.  Raises playwright's Error where there is none."""
    # the superuser, as in a container, has no sandbox
    rootless = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=found(), args=[*_OPTIONS, *rootless])


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium without a window, as long as it is needed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = launched(playwright)
        try:
            yield opened
        finally:
            opened.close()


def is_installed() -> bool:
    """Whether there is a browser that opens."""
    from playwright.sync_api import Error

    try:
        with browser():
            return True
    except Error:
        return False


def install() -> None:
    """Install a browser.  Raises CalledProcessError where that fails."""
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "--yes", "--quiet", "chromium"]
        if subprocess.run(command, env=environment).returncode == 0:
            return
        subprocess.run(["apt-get", "update", "--quiet"], env=environment)
        if subprocess.run(command, env=environment).returncode == 0:
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


def main() -> None:
    if not is_installed():
        install()


if __name__ == "__main__":
    main()
