"""Trouble with the disk, told as an error that names the path and says what to do.

Whatever reads or writes files raises OSError as Python does.  At the edge, where a command ends or
a function of the Python interface returns, :func:`disk_trouble` makes an
:class:`~mfv_dsl.base.errors.MfvError` of it, the same for all of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import missing_folders, remove_empty
from mfv_dsl.base.names import DEVICES
from mfv_dsl.base.places import store_root

#: Of each code, the numbers of the system's errors, and what to do.
_KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "MFV6120": (
        ("ENOSPC", "EDQUOT", "EFBIG"),
        "free some space, or raise the limit, and run the same command again",
    ),
    "MFV6121": (
        ("EACCES", "EPERM", "EROFS"),
        "name another place, or see to it that this user may use this one",
    ),
    "MFV6122": (
        ("ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY", "ENAMETOOLONG", "ELOOP", "EINVAL",
         "EXDEV", "EBUSY", "ETXTBSY", "EILSEQ", "ENXIO"),
        "name another place, or move away what is there",
    ),
    "MFV6123": (
        ("EMFILE", "ENFILE"),
        "close other programs, or raise the limit: `ulimit -n 4096`",
    ),
    "MFV6124": (
        ("EIO", "ESTALE", "ENODEV", "ENOLCK", "EREMOTEIO", "ENOTCONN"),
        "look whether the disk is still there and sound",
    ),
}  # fmt: skip
_CODES = {
    getattr(errno, name): code
    for code, (names, _) in _KINDS.items()
    for name in names
    if hasattr(errno, name)
}
_STORE = "; the environment variable MFV_HOME names another folder for the store"


class StoreTrouble(OSError):
    """What went wrong with a store that is no folder; ``error`` says it as it is told."""

    def __init__(self, error: MfvError) -> None:
        super().__init__(str(error))
        self.error = error


def is_disk_error(error: OSError) -> bool:
    """Whether ``error`` is of files or of the store, rather than of a network or of a format."""
    return error.errno in _CODES or isinstance(error, StoreTrouble)


def disk_error(
    error: OSError, path: str | Path | None = None, *, what: str = "", code: str = ""
) -> MfvError:
    """What the system said of a file, as an error of ours.

    Args:
        error: One that :func:`is_disk_error` knows.
        path: The file, where ``error`` names none.
        what: What was to be done, before the path: ``cannot make the folder``.
        code: The error's code, if it has one of its own.

    Returns:
        MFV6120 for a disk without room, MFV6121 for what is not allowed, MFV6122 for a path that
        cannot be, MFV6123 for too many open files, MFV6124 for a disk that failed; of a store that
        is no folder its own error.

    >>> print(disk_error(OSError(errno.ENOSPC, "No space left on device", "runs/a/plan.json")))
    error[MFV6120]: runs/a/plan.json: no space left on device
      = help: free some space, or raise the limit, and run the same command again
    """
    if isinstance(error, StoreTrouble):
        return error.error
    kind = _CODES[error.errno or 0]
    name = error.filename2 or error.filename or path
    where = _shown(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) else ""
    said = error.strerror or os.strerror(error.errno or 0)
    if error.errno == errno.EEXIST and where:
        said = "a file stands in the place of a folder"
    subject = " ".join(filter(None, (what, where)))
    message = f"{subject}: {said[:1].lower()}{said[1:]}" if subject else said
    return MfvError(code or kind, message, help=_KINDS[kind][1] + _of_store(name))


def _shown(where: str) -> str:
    """A path as it is printed: of one that is too long its two ends."""
    return where if len(where) <= 300 else f"{where[:120]} … {where[-120:]}"


def _of_store(name: object) -> str:
    if not isinstance(name, str | os.PathLike):
        return ""
    root = Path(os.path.abspath(store_root()))
    return _STORE if Path(os.path.abspath(name)).is_relative_to(root) else ""


@contextmanager
def disk_trouble(
    path: str | Path | None = None, *, what: str = "", code: str = ""
) -> Iterator[None]:
    """What the system says of files within, as :func:`disk_error`; also a decorator.

    >>> with disk_trouble():
    ...     _ = open("README.md/left")
    Traceback (most recent call last):
        ...
    mfv_dsl.base.errors.MfvError: error[MFV6122]: README.md/left: not a directory
      = help: name another place, or move away what is there
    """
    try:
        yield
    except OSError as error:
        if not is_disk_error(error):
            raise
        raise disk_error(error, path, what=what, code=code) from error


@contextmanager
def folder_for(path: Path, *, what: str = "cannot write into", code: str = "") -> Iterator[None]:
    """A folder that can be written, made if it is not there.  Where what is within fails, what was
    made and is still empty goes again.

    Raises MfvError (MFV6120 to MFV6124, or ``code``) where it cannot be made or written.
    """
    import tempfile  # which few commands need

    made: list[Path] = []
    try:
        with disk_trouble(path, what=what, code=code):
            made = missing_folders(path)
            path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path).close()
        yield
    except BaseException:
        remove_empty(made)
        raise


def check_path(path: str | Path) -> None:
    """Refuse a folder that could not be made, without making it.

    Raises MfvError: MFV6122 for a name that is too long or has a null byte, for a file in a
    folder's place and for links that lead nowhere; MFV6121 where this user may not write.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise MfvError(
            "MFV6122", f"{text!r}: no path has a null byte in it", help=_KINDS["MFV6122"][1]
        )
    kept = [part for part in Path(text).parts if part.split(".")[0].lower() in DEVICES]
    if kept and os.name == "nt":
        raise MfvError(
            "MFV6122", f"{text}: Windows keeps `{kept[0]}` for a device", help="name another"
        )
    with disk_trouble(path):
        here = Path(path)
        for folder in (here, *here.parents):
            try:
                os.lstat(folder)  # a name that is too long says so here
            except FileNotFoundError:
                continue
            if not os.path.isdir(folder):
                os.stat(folder)  # a link that leads nowhere or in circles
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
            if _is_too_long(here.relative_to(folder), folder):
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), text)
            if not os.access(folder, os.W_OK | os.X_OK):
                code = errno.EROFS if _read_only(folder) else errno.EACCES
                raise OSError(code, os.strerror(code), str(folder))
            return


def _is_too_long(path: Path, folder: Path) -> bool:
    """Whether a part of ``path`` is longer than the disk of ``folder`` lets a name be."""
    try:
        most = os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, ValueError, OSError):  # not every system tells
        most = 255
    return any(len(os.fsencode(part)) > most for part in path.parts)


def _read_only(folder: Path) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except (AttributeError, OSError):  # not every system tells
        return False
