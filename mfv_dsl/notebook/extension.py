"""What ``%load_ext mfv_dsl`` does to IPython."""

from __future__ import annotations

from typing import Any

from mfv_dsl.models.quiet import quiet_tqdm
from mfv_dsl.notebook.completion import complete_cell
from mfv_dsl.notebook.magics import MfvMagics


def load(shell: Any) -> None:
    """Add the magics, and the completion of their cells."""
    quiet_tqdm()
    shell.register_magics(MfvMagics)
    matchers = shell.Completer.custom_matchers
    if complete_cell not in matchers:
        matchers.insert(0, complete_cell)


def unload(shell: Any) -> None:
    """Take both away."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("mfv", None)
    matchers = shell.Completer.custom_matchers
    if complete_cell in matchers:
        matchers.remove(complete_cell)
