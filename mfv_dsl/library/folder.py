"""A library: a folder of vector files, an index of them, a card, and the recipes that made them.

The files are the truth; ``index.json`` and ``README.md`` are made of them.  Every write is atomic
and under a lock, so that several runs may save into one folder, and be killed, at any moment.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import missing_folders, remove_empty, write_atomically
from mfv_dsl.base.names import SUFFIX, check_clash, check_name, file_name, plain
from mfv_dsl.base.places import user_path
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_text, to_text
from mfv_dsl.library.card import card_text, is_foreign
from mfv_dsl.library.header import Header, read_header

INDEX, CARD, LOCK = "index.json", "README.md", ".lock"
PATIENCE = 60.0  # seconds to wait for another writer
_ABANDONED = 3600.0  # seconds after which a temporary file is nobody's
_TEMPORARY = re.compile(r"\..+\.(safetensors|json|md|mfv)\.\w{8}")


class Library:
    """The vectors under ``root``, a folder, which need not exist before something is written.

    What is read is what the files say at that moment.  Everything that writes is called within
    :meth:`writing`.

    >>> library = Library("vectors/flamingo-tiny")
    >>> library.names()[:2]
    ['above', 'above_left']
    >>> dict(library.entries())["left"].metadata["expression"]
    'fv(left)'
    """

    def __init__(self, root: str | Path) -> None:
        self.root = user_path(root)

    # -- reading ----------------------------------------------------------------------------------
    def names(self) -> list[str]:
        """The vectors' names, sorted."""
        if not os.path.isdir(self.root):  # nor anything that could be one
            return []
        return sorted(
            path.name.removesuffix(SUFFIX)
            for path in self.root.glob(f"*{SUFFIX}")
            if not path.name.startswith(".")
        )

    def path(self, name: str) -> Path:
        """The file of a vector that is there; MFV6001 lists those that are, where it is not, and
        MFV6007 is raised for a link that leads out of the library."""
        path = self._entry(name)
        if not self._holds(path):
            raise MfvError(
                "MFV6007",
                f"{path} is a link that leads out of its library",
                help="put the file itself there, or remove the link: `mfv vectors remove`",
            )
        return path

    def _entry(self, name: str) -> Path:
        """The file or link of a name that is there, wherever it leads; MFV6001 otherwise."""
        names = self.names()
        if name not in names and (of_relation := file_name(name)) in names:
            name = of_relation  # as the vectors of relations are called whose names are no files'
        path = self.root / f"{check_name(name)}{SUFFIX}"
        if name not in names:
            there = f"the library has: {', '.join(names)}" if names else None
            raise MfvError(
                "MFV6001", f"there is no vector file {path}", help=did_you_mean(name, names, there)
            )
        return path

    def entries(self) -> Iterator[tuple[str, Header | MfvError]]:
        """Every vector's name with its header, or with what is wrong with its file."""
        for name in self.names():
            try:
                yield name, read_header(self.path(name))
            except MfvError as error:
                yield name, error

    def recipes(self) -> list[Path]:
        """The recipes kept in it."""
        return sorted(
            path for path in self.root.glob("*.mfv") if self._holds(path) and path.is_file()
        )

    def index(self) -> dict[str, Any]:
        """What ``index.json`` must say: the files that can be read, by name."""
        vectors = {
            name: {
                "file": f"{name}{SUFFIX}",
                "hash": metadata["content_sha256"],
                "relation": metadata.get("relation"),
                "model": metadata["model"].get("id"),
                "fingerprint": metadata["model"]["fingerprint"],
                "kind": metadata["kind"],
            }
            for name, metadata in self._metadata().items()
        }
        return {"format_version": "1.0", "vectors": vectors}

    def index_bytes(self) -> bytes:
        """The content of ``index.json``."""
        return (json.dumps(self.index(), indent=2, allow_nan=False) + "\n").encode()

    def card_bytes(self, license: str | None = None, force: bool = False) -> bytes:
        """The content of the card; one that somebody else wrote is left as it is unless ``force``.
        ``license`` is for vectors whose files name none."""
        path = self.root / CARD
        content = path.read_bytes() if path.is_file() and self._holds(path) else b""
        try:
            old = to_text(content)
        except BadText:  # nothing of ours, and its author's words would be lost
            old = str(path)
        if is_foreign(old) and not force:
            return content
        recipes = {}
        for path in self.recipes():
            with suppress(OSError, BadText):
                recipes[path.name] = read_text(path, LARGEST_CONFIG)
        return card_text(self.root.resolve().name, self._metadata(), recipes, old, license).encode()

    def _metadata(self) -> dict[str, Mapping[str, Any]]:
        """The metadata of the files that can be read, by name."""
        return {
            name: header.metadata for name, header in self.entries() if isinstance(header, Header)
        }

    def _holds(self, path: Path) -> bool:
        """Whether a file truly lies in the library: a link in it may lead anywhere."""
        root = os.path.realpath(self.root)
        return Path(os.path.realpath(path)).is_relative_to(root)

    # -- writing ----------------------------------------------------------------------------------
    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the library's lock; at the end, index and card are made anew.

        MFV6008 where another writer does not let go of it or the folder cannot be written, MFV6120
        to MFV6124 where the disk fails later.
        """
        from filelock import FileLock, Timeout

        made: list[Path] = []
        try:
            with disk_trouble(self.root, what="cannot write to", code="MFV6008"):
                made = missing_folders(self.root)
                self.root.mkdir(parents=True, exist_ok=True)
                lock = FileLock(self.root / LOCK, timeout=PATIENCE)
                lock.acquire()
        except Timeout:
            raise MfvError(
                "MFV6008", f"another process has been writing to {self.root} for a minute",
                help=f"wait until it ends; `fuser {self.root / LOCK}` says which one it is",
            ) from None  # fmt: skip
        try:
            with disk_trouble(self.root):
                self._sweep()
                try:
                    yield
                finally:
                    self.write_index()
                    self.write_card()
        except BaseException:
            self._leave_nothing(made)
            raise
        finally:
            lock.release()

    def _leave_nothing(self, made: Sequence[Path]) -> None:
        """Remove what is not worth keeping of a library that could not be begun: its lock where
        nothing else is, its index and card too where the folders ``made`` are its own."""
        own = {LOCK, INDEX, CARD} if made else {LOCK}
        with suppress(OSError):
            if set(os.listdir(self.root)) <= own:
                for name in own:
                    (self.root / name).unlink(missing_ok=True)
        remove_empty(made)

    def put(self, name: str, arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> Path:
        """Write a vector, within :meth:`writing`; returns its file.

        ``arrays`` and ``metadata`` are as :func:`mfv_dsl.library.stored.write` takes them.  MFV6004
        for what a vector file cannot hold, MFV6005 and MFV6006 for a name that it cannot have.
        """
        from mfv_dsl.library.stored import write

        path = self._free(name)
        write(path, arrays, {**metadata, "name": name})
        return path

    def put_recipe(self, name: str, text: str) -> None:
        """Keep the recipe that made vectors, within :meth:`writing`."""
        write_atomically(self.root / f"{plain(name)}.mfv", text.encode())

    def put_file(self, name: str, data: bytes) -> None:
        """Write the bytes of a vector file, within :meth:`writing`."""
        write_atomically(self._free(name), data)

    def rename(self, old: str, new: str) -> Path:
        """Give a vector another name, in its file too; within :meth:`writing`.

        The new file is written before the old one goes: a kill in between leaves both.
        """
        from mfv_dsl.library.stored import read

        source = self.path(old)
        if check_name(new) in self.names():
            raise MfvError("MFV6006", f"{self.root} has a vector `{new}` already")
        target = self.put(new, *read(source))
        source.unlink()
        return target

    def remove(self, name: str) -> None:
        """Remove a vector, within :meth:`writing`; of a link the link alone, wherever it leads."""
        self._entry(name).unlink()

    def write_index(self) -> None:
        """Make ``index.json`` anew."""
        self._write(INDEX, self.index_bytes())

    def write_card(self, license: str | None = None, force: bool = False) -> None:
        """Make the card anew; one that somebody else wrote is kept unless ``force``."""
        self._write(CARD, self.card_bytes(license, force))

    def _write(self, name: str, data: bytes) -> None:
        path = self.root / name
        if path.is_symlink() or not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data)

    def _free(self, name: str) -> Path:
        """The path that a vector of this name may be written to."""
        check_clash(check_name(name), self.names())
        return self.root / f"{name}{SUFFIX}"

    def _sweep(self) -> None:
        """Remove temporary files of writers that were killed."""
        for path in self.root.glob(".*"):
            with suppress(FileNotFoundError):
                old = time.time() - path.stat().st_mtime > _ABANDONED
                if old and _TEMPORARY.fullmatch(path.name):
                    path.unlink()
