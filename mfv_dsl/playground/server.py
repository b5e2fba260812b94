"""The page as a server on this machine: one temporary folder, no requests elsewhere, a clean end.

Everything that is written goes into a folder that is gone when the server ends: uploads, Gradio's
files, and the store of finished steps.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.playground.pictures import LARGEST
from mfv_dsl.playground.studio import Settings, Studio

#: Where ports are looked for if none is given.
FIRST_PORT, PORTS = 7860, 100
#: How many requests may wait; more are told to come back.
WAITING = 32
#: How many browsers' states are kept.
_SESSIONS = 200
_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Address:
    """Where the page is served: ``port`` None is any that is free; ``share`` asks Gradio for a link
    that is open to the internet."""

    host: str = "127.0.0.1"
    port: int | None = None
    share: bool = False
    open_browser: bool = False

    @property
    def warning(self) -> str:
        """Who else can use the page; empty where nobody can."""
        if self.share:
            return "anyone who has the link can use this page and the model behind it"
        if self.host not in _LOCAL:
            return (
                f"whoever reaches {self.host} over the network can use this page and the model "
                "behind it: it has no password"
            )
        return ""


def serve(settings: Settings, address: Address, say: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted; ``say`` is told where it is.

    Raises MfvError: MFV5410 without the package gradio, MFV5414 for a port or host that cannot be
    had, and what opening the model, dataset and libraries raises.
    """
    with _own_folder(), _logged():
        check_gradio()
        free_port(address.host, address.port)  # before anything is loaded
        studio = Studio.open(settings)
        from mfv_dsl.playground.page import STYLE, build, theme

        page = build(studio)
        page.queue(max_size=WAITING, api_open=False)
        port = free_port(address.host, address.port)  # others may have taken it meanwhile
        try:
            _, local, shared = page.launch(
                server_name=address.host, server_port=port, share=address.share,
                inbrowser=address.open_browser, prevent_thread_lock=True, quiet=True,
                show_error=False, max_file_size=LARGEST, footer_links=[], theme=theme(),
                css_paths=[STYLE], state_session_capacity=_SESSIONS, ssr_mode=False, pwa=False,
                enable_monitoring=False, mcp_server=False, run_history=False,
            )  # fmt: skip
            say(f"the playground is at {shared or local} (Ctrl-C ends it)")
            while True:
                time.sleep(3600)
        finally:
            page.close(verbose=False)
            studio.close()


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A temporary folder for all that is written, and an environment that says so."""
    with tempfile.TemporaryDirectory(prefix="mfv-serve-", ignore_cleanup_errors=True) as folder:
        changed = {
            "GRADIO_TEMP_DIR": os.path.join(folder, "pages"),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "MFV_HOME": os.path.join(folder, "store"),
            "MPLCONFIGDIR": os.path.join(folder, "matplotlib"),
            "TMPDIR": folder,
        }
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        usual, tempfile.tempdir = tempfile.tempdir, folder  # what libraries put somewhere, too
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = usual
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def _logged() -> Iterator[None]:
    """What the page logs is written to stderr."""
    log, handler = logging.getLogger("mfv_dsl.playground"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def check_gradio() -> None:
    """Refuse (MFV5410) an installation without the package gradio, without importing it."""
    if "gradio" in sys.modules and sys.modules["gradio"] is not None:
        return
    if "gradio" in sys.modules or find_spec("gradio") is None:
        raise MfvError(
            "MFV5410", "the playground needs the package gradio",
            help="pip install 'mfv-dsl[serve]'",
        )  # fmt: skip


def free_port(host: str, port: int | None) -> int:
    """``port``, or the first free one from :data:`FIRST_PORT`; MFV5414 where it cannot be had."""
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,)
    reason = ""
    for number in ports:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind((host, number))
                return number
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    what = f"port {port} of {host}" if port is not None else f"a port of {host}"
    raise MfvError(
        "MFV5414", f"cannot serve at {what}: {reason}",
        help="give another `--host`" if port is None else "give another `--port`, or leave it out",
    )  # fmt: skip
