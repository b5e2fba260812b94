"""Figures as files: PDF and SVG with letters that stay letters, and PNG; the same figure gives the
same bytes."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from mfv_dsl.base.disk import check_path
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.report.figures.style import TIMELESS, styled

FORMATS = tuple(f".{kind}" for kind in TIMELESS)


def check_file(path: Path) -> None:
    """Refuse (MFV5355), before any work, a picture that could not be written after it."""
    reason = ""
    if path.suffix.lower() not in FORMATS:
        reason = (
            f"`{path.suffix}` is no kind of picture" if path.suffix else "its name has no ending"
        )
    elif path.is_dir():
        reason = "it is a folder"
    elif not path.parent.is_dir():
        reason = f"there is no folder {path.parent}"
    else:
        try:
            check_path(path if not path.exists() else path.parent)
        except MfvError as error:
            reason = error.message
    if reason:
        raise _unwritable(path, reason)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its file's ending says.  Raises MfvError (MFV5355) where it
    cannot be written."""
    check_file(path)
    try:
        write_atomically(path, figure_bytes(figure, path.suffix))
    except OSError as error:
        raise _unwritable(path, str(error)) from None


def figure_bytes(figure: Figure, ending: str, dpi: int = 300) -> bytes:
    """The contents of the file of a figure, by the ending of its name, such as ``.pdf``; ``dpi``
    are the pixels of an inch."""
    data = io.BytesIO()
    kind = ending.lower().removeprefix(".")
    with styled():
        figure.savefig(data, format=kind, metadata=TIMELESS[kind], dpi=dpi)
    return data.getvalue()


def _unwritable(path: Path, reason: str) -> MfvError:
    return MfvError(
        "MFV5355", f"cannot write the picture {path}: {reason}",
        help="name a .pdf, .svg or .png file",
    )  # fmt: skip
