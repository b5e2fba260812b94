"""Where the files of the store lie: named bytes, in a folder or in an object store.

A storage promises what runs on several machines need and no more: a file is there whole or not at
all, and of several who create one name at once one succeeds.  Nothing is locked.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path
from typing import Protocol

from mfv_dsl.base.disk import disk_trouble, folder_for
from mfv_dsl.base.files import (
    missing_folders,
    read_regular,
    remove_empty,
    write_atomically,
    write_new,
)
from mfv_dsl.base.names import checked_name
from mfv_dsl.base.places import step_name, store_home, store_root

#: What systems say of a disk that has no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
#: How often it is tried anew when another process changes the same file or folder just now.
_TRIES = 300
#: Bytes of the largest file that is read.
_MOST = 1 << 40


class Storage(Protocol):
    """Named bytes.  Names are relative, with ``/`` between their parts, none of which begins with a
    full stop.  All functions raise OSError where the storage fails."""

    def read(self, name: str) -> bytes:
        """The bytes of a file; KeyError where there is none."""

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file, whole or not at all, in place of the one that is there; ``durable=False``
        does not wait until the bytes are on a disk."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet; False where there is one.  Of several who create one
        name at once one is told True.  A creator whose success was not told to it recognises its
        own ``data``, so these should be like no other's."""

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""

    def present(self, names: Iterable[str]) -> set[str]:
        """Those of ``names`` that there are."""

    def names(self, prefix: str) -> list[str]:
        """The names of all files in the folder ``prefix`` and below it, sorted; of all files for an
        empty one."""

    def remove(self, *names: str) -> None:
        """Remove files; nothing where there is none."""

    def replace(self, name: str, was: bytes, data: bytes) -> bool:
        """Write ``data`` in place of ``was``; False where the file holds something else or is not
        there.  Of several who replace the same at once one is told True, as far as the storage can
        tell."""

    def place(self, name: str) -> Path | str:
        """Where a file lies, whether it is there or not: its path or URL."""

    def for_writing(self) -> AbstractContextManager[None]:
        """Within, files can be written; OSError or MfvError where they cannot.  What was made for
        it and is still empty where this fails goes again."""


class FolderStorage:
    """Files in a folder, which may be on a network file system that several machines share.

    There, ``flock`` may not reach other machines and statuses of files may be some seconds old; so
    a file is created by a hard link, replaced by a rename, and looked for anew in its folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     storage = FolderStorage(folder)
    ...     print(storage.create("claims/a", b"mine"), storage.create("claims/a", b"yours"))
    ...     print(storage.replace("claims/a", b"mine", b"yours"), storage.read("claims/a"))
    ...     print(storage.names(""))
    True False
    True b'yours'
    ['claims/a']
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"FolderStorage({str(self.root)!r})"

    def path(self, name: str) -> Path:
        """The path of the file of that name, whether it is there or not."""
        return self.root.joinpath(*checked_name(name).split("/"))

    def place(self, name: str) -> Path:
        """As :meth:`Storage.place`."""
        return self.path(name)

    def for_writing(self) -> AbstractContextManager[None]:
        """As :meth:`Storage.for_writing`: MFV6120 to MFV6124 where the disk does not let them."""
        return folder_for(self.root / "steps", what="cannot keep finished steps in")

    def read(self, name: str) -> bytes:
        """As :meth:`Storage.read`."""
        path = self.path(name)
        for left in reversed(range(_TRIES)):
            _look_anew(path.parent)
            try:
                return read_regular(path, _MOST)
            except (FileNotFoundError, NotADirectoryError):
                raise KeyError(name) from None
            except OSError as error:
                # another machine put a new file in its place between the look and the opening
                if error.errno != errno.ESTALE or not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """As :meth:`Storage.write`."""
        path = self.path(name)
        with suppress(OSError):  # nothing of ours is an empty folder
            path.rmdir()
        self._write(path, data, durable)

    @staticmethod
    def _write(path: Path, data: bytes, durable: bool) -> None:
        for _ in range(_TRIES - 1):
            # another may remove the folder, while it is empty, as soon as it is made
            with suppress(FileNotFoundError, FileExistsError):
                write_atomically(path, data, durable=durable)
                return
        write_atomically(path, data, durable=durable)

    def create(self, name: str, data: bytes) -> bool:
        """As :meth:`Storage.create`."""
        path = self.path(name)
        _look_anew(path.parent)
        if os.path.lexists(path):
            return self._holds(name, data)
        aside = self._aside(path)
        self._write(aside, data, durable=False)
        try:
            os.link(aside, path)
        except FileExistsError:  # or the first of two requests succeeded and its reply was lost
            return self._holds(name, data)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                error.filename, error.filename2 = str(path), None
                raise
            return self._create_without_links(path, data)
        finally:
            aside.unlink(missing_ok=True)
        return True

    def _create_without_links(self, path: Path, data: bytes) -> bool:
        """The same where the disk has no links: for a moment the file may be there in part."""
        try:
            write_new(path, data)
        except FileExistsError:
            return False
        return True

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.read(name) == data
        except KeyError:  # it was removed meanwhile
            return False

    def exists(self, name: str) -> bool:
        """As :meth:`Storage.exists`."""
        path = self.path(name)
        if path.is_file():
            return True
        _look_anew(path.parent)  # that it is not there may have been true some seconds ago
        return path.is_file()

    def present(self, names: Iterable[str]) -> set[str]:
        """As :meth:`Storage.present`."""
        return {name for name in names if self.exists(name)}

    def names(self, prefix: str) -> list[str]:
        """As :meth:`Storage.names`."""
        return sorted(self._below(prefix))

    def _below(self, prefix: str) -> Iterator[str]:
        folder = self.path(prefix) if prefix else self.root
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        except NotADirectoryError:
            os.listdir(self.root)  # where that is no folder, it is what is named
            raise
        for entry in entries:
            name = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.name.startswith("."):  # a file that is being written
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(name)
            else:
                yield name

    def remove(self, *names: str) -> None:
        """As :meth:`Storage.remove`."""
        for path in map(self.path, names):
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()

    def replace(self, name: str, was: bytes, data: bytes) -> bool:
        """As :meth:`Storage.replace`: of several who rename the same file away one succeeds.  For a
        moment there is no file; who creates it then has it, and this is told False."""
        path = self.path(name)
        if not self._holds(name, was):
            return False
        aside = self._aside(path)
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return False
        try:
            if aside.read_bytes() != was:  # another was faster; its file goes back
                with suppress(OSError):
                    os.link(aside, path)
                return False
        finally:
            aside.unlink(missing_ok=True)
        return self.create(name, data)

    @staticmethod
    def _aside(path: Path) -> Path:
        return path.with_name(f".{path.name[-200:]}.{secrets.token_hex(8)}")


def storage_at(home: str | Path) -> Storage:
    """The storage at ``home``, a folder or a URL.

    Raises MfvError (MFV6140, MFV6141) for a URL that cannot be used here.
    """
    root = store_root(str(home))
    if "://" not in str(home) or str(home).startswith(("file://", "local://")):
        return FolderStorage(root)
    return _object_storage(str(home))


@cache
def _object_storage(url: str) -> Storage:
    from mfv_dsl.execute.object_storage import object_storage

    return object_storage(url)


def creates_once(storage: Storage) -> bool:
    """Whether a storage tells one alone of two who create the same name, tried out on it; nothing
    is left there.  OSError or MfvError where it cannot be written."""
    made = missing_folders(storage.root) if isinstance(storage, FolderStorage) else []
    name = f"probe/{secrets.token_hex(8)}"
    try:
        with storage.for_writing():
            try:
                first, second = storage.create(name, b"first"), storage.create(name, b"second")
                return first and not second and storage.read(name) == b"first"
            finally:
                storage.remove(name)
    finally:
        if isinstance(storage, FolderStorage):
            remove_empty([storage.root / "probe", storage.root / "steps", *made])


def finished(keys: Iterable[str]) -> set[str]:
    """Those of ``keys``, the keys of steps, whose results the store holds."""
    names = {step_name(key): key for key in keys}
    with disk_trouble():
        return {names[name] for name in storage_at(store_home()).present(names)}


def _look_anew(folder: Path) -> None:
    """Have a network file system ask its server what is in a folder, rather than remember it: it
    asks where a folder is opened."""
    with suppress(OSError):
        os.close(os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)))
