"""Files: regular ones read, written so that nothing is ever half there, told apart by content."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

#: A file up to _WHOLE bytes is hashed whole, of a larger one _BLOCKS blocks of _BLOCK bytes, evenly
#: spaced, the first and the last among them.
_WHOLE, _BLOCKS, _BLOCK = 64 << 20, 64, 64 << 10
_AT_ONCE = 256 << 10  # bytes of a file that is hashed whole
#: Bytes at the beginning and in the middle of a tensor that are hashed.
_PIECE = 4 << 10

#: How a pointer begins that git-LFS leaves in a file's place; the whole of it is below 1,024 bytes.
_POINTER = b"version https://git-lfs.github.com/spec/"
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file, open for reading bytes: never a folder, pipe, socket or device, which could
    be read for ever, and no pointer of git-LFS.  Links are followed.

    Raises OSError as ``open`` does; its ``strerror`` also says what else is there, and what to do.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as made, open_regular(made.name) as file:
    ...     file.read(8)
    b''
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "there is a null byte in the path", str(path))
    _need_regular(os.stat(path), path)  # a device may do something when it is opened
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(handle, "rb")
    try:
        status = os.fstat(handle)
        _need_regular(status, path)  # it may be another file by now
        if status.st_size < 1024 and file.peek(len(_POINTER)).startswith(_POINTER):
            raise OSError(
                errno.EINVAL,
                "it is a git-LFS pointer and the file itself is not there; run `git lfs pull`",
                str(path),
            )
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: str | Path, most: int) -> bytes:
    """The bytes of a regular file that has no more than ``most``; raises OSError as
    :func:`open_regular`, and (``EFBIG``) for a larger file, of which no more is read."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1) if size <= most else b""  # one more: it may grow meanwhile
    if size <= most and len(data) <= most:
        return data
    raise OSError(errno.EFBIG, f"it is larger than {_size(most)}", str(path))


def _size(count: int) -> str:
    return f"{count >> 20:,} MiB" if count >= 1 << 20 else f"{count:,} bytes"


def _need_regular(status: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for holds, name in _KINDS if holds(status.st_mode)), "something else")
        code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(code, f"it is {kind}, not a file", str(path))


def hash_sample(digest: hashlib._Hash, path: Path) -> None:
    """Hash a file's content, of a large one a sample that tells which weights it has."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _WHOLE:
            _hash_rest(digest, file)
            return
        for i in range(_BLOCKS):
            file.seek((size - _BLOCK) * i // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))


def hash_whole(path: str | Path) -> str:
    """SHA-256 of a regular file's content, of which a little at a time is in memory."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        _hash_rest(digest, file)
    return digest.hexdigest()


def _hash_rest(digest: hashlib._Hash, file: BinaryIO) -> None:
    while block := file.read(_AT_ONCE):
        digest.update(block)


def hash_tensors(digest: hashlib._Hash, path: Path) -> None:
    """Hash, of a safetensors file of which :func:`hash_sample` takes a sample, its header and a
    little of every tensor, so that other values in any one of them are another hash."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _WHOLE:
            return
        start = 8 + int.from_bytes(file.read(8), "little")
        if start > size:  # no such file; reading it will tell
            return
        header = file.read(start - 8)
        digest.update(header)
        try:
            places = sorted(
                tuple(map(int, entry["data_offsets"]))
                for name, entry in json.loads(header).items()
                if name != "__metadata__"
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        for first, last in places:
            for place in (first, max(first, (first + last - _PIECE) // 2)):
                file.seek(start + place)
                digest.update(file.read(min(_PIECE, last - place)))


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a whole file or nothing: temporary file beside it, flush to disk, rename.

    A file that is there keeps its permissions, and its owner where that is allowed; a new one has
    those that the umask leaves it.  A link is replaced, and what it leads to is left alone.
    Folders that are missing are made.  ``durable=False`` leaves it to the system when the bytes are
    on the disk.  Raises OSError where it cannot be written.
    """
    made = missing_folders(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data, durable)
    except BaseException:
        remove_empty(made)
        raise


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, in a folder that is; FileExistsError where it is.
    Whoever looks meanwhile may see a part of it."""
    with path.open("xb") as file:
        file.write(data)


def open_log(path: Path) -> BinaryIO:
    """A file that what a process prints is added to."""
    return path.open("ab")


def missing_folders(path: Path) -> list[Path]:
    """Those of ``path`` and the folders above it that are not there, the innermost first."""
    return [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of ``folders``, the innermost first, that have nothing in them."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _write(path: Path, data: bytes, durable: bool) -> None:
    status = _regular_status(path)
    mode = 0o666 if status is None else stat.S_IMODE(status.st_mode)
    handle, temporary = _temporary(path, mode & 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if status is not None:
            _take_after(temporary, status, mode)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # of a full disk there is none
        raise


def _regular_status(path: Path) -> os.stat_result | None:
    """The status of a regular file; None where there is none, or a link."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _temporary(path: Path, mode: int) -> tuple[int, Path]:
    """A new file beside ``path``, open for writing, of no more permissions than ``mode`` and the
    umask leave it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        # a name may be as long as the file system takes, and this one is longer
        temporary = path.with_name(f".{path.name[-200:]}.{secrets.token_hex(4)}")
        with suppress(FileExistsError):
            return os.open(temporary, flags, mode), temporary


def _take_after(temporary: Path, status: os.stat_result, mode: int) -> None:
    """Give a file the owner and the permissions of the one that it will replace."""
    if hasattr(os, "chown"):
        own = temporary.stat()
        if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
            with suppress(OSError):  # only some may give files away
                os.chown(temporary, status.st_uid, status.st_gid)
    os.chmod(temporary, mode)
