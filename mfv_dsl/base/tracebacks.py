"""What IPython shows of an error of ours: the user's own lines that led to it, and what it says."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic, render

_PACKAGE = str(Path(__file__).parents[1])
#: Packages whose lines are not the user's.
_MACHINERY = {"IPython", "ipykernel"}
_MOST = 5  # lines of the user's that are shown, the last
_MAGIC = "get_ipython().run_"  # what a magic is to Python


def traceback_lines(
    error: BaseException, diagnostics: Sequence[Diagnostic], is_shown: bool
) -> list[str]:
    """The lines, with a terminal's colours.

    ``is_shown``: what is wrong stands above already, so that a summary is enough.  With
    ``MFV_DEBUG`` all frames are shown, those of mfv-dsl too.
    """
    if os.environ.get("MFV_DEBUG"):
        whole = traceback.format_exception(type(error), error, error.__traceback__)
        return "".join(whole).rstrip("\n").split("\n")
    if is_shown:
        errors = [one for one in diagnostics if one.severity == "error"] or list(diagnostics)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return [f"{type(error).__name__}: {errors[0].code}: {errors[0].message}{more}"]
    frames = takewhile(lambda f: not _is_ours(f), traceback.extract_tb(error.__traceback__))
    lines = [
        f"{_place(frame.filename)}, line {frame.lineno}: {frame.line}"
        for frame in frames
        if _is_users(frame)
    ][-_MOST:]
    colour = "NO_COLOR" not in os.environ
    text = "\n\n".join(render(diagnostic, colour) for diagnostic in diagnostics)
    return [*lines, *([""] if lines else []), *text.split("\n")]


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(_PACKAGE + os.sep)


def _is_users(frame: traceback.FrameSummary) -> bool:
    """Whether it is neither IPython's nor what IPython makes of a magic."""
    is_magic = (frame.line or "").startswith(_MAGIC)
    return not is_magic and not _MACHINERY.intersection(Path(frame.filename).parts)


def _place(file: str) -> str:
    """A file, or the cell that IPython made one of."""
    module = sys.modules.get("IPython")
    shell: Any = None if module is None else module.get_ipython()
    try:
        kind, name = shell.compile.format_code_name(file)
    except (AttributeError, TypeError, ValueError):  # none of IPython's cells
        return file
    return f"{kind} {name}"
