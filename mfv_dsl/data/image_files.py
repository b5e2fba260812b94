"""The images of a table: where they are, in whichever Unicode form, and what tells them apart."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO
from unicodedata import normalize

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.hashes import content_hashes

_AROUND = " \t\r\n\f\v\u00a0\u200b\u2060\ufeff"


@dataclass(frozen=True)
class ImageFile:
    """An image by its path or by what opens it, and its size in bytes, None where it is missing.

    ``instead`` is a file that is there in place of a missing one, ``outside`` whether it lies
    outside of the table's folder, and ``content`` the SHA-256 of its content where its name does
    not tell that.
    """

    source: Path | Callable[[], BinaryIO]
    bytes: int | None
    instead: str | None = None
    outside: bool = False
    content: str | None = None

    def open(self) -> Path | BinaryIO:
        return self.source if isinstance(self.source, Path) else self.source()


def image_name(text: str) -> str:
    """The name of an image as a table writes it, without what is not seen around it and without
    ``./``, in the Unicode form NFC: one image has one name.

    >>> image_name(" ./a  b.png\\u200b"), image_name("/photos//1.jpg")
    ('a  b.png', '/photos/1.jpg')
    """
    name = normalize("NFC", text.strip(_AROUND))
    if "./" not in name and "//" not in name:
        return name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/" * name.startswith("/") + "/".join(parts)


class Folder:
    """A folder of images, each of its folders listed once at most.

    >>> Folder(Path("photos")).path("1.jpg").as_posix()
    'photos/1.jpg'
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = cache(_names)
        self._inside = cache(self._is_inside)
        self._near = cache(self._names_near)  # a set of 100,000 images may lack half of them

    def path(self, image: str) -> Path:
        """The file of an image, which may be missing: as it is written, else as its name is in
        another Unicode form."""
        path = self.root / image
        if image.isascii() or _exists(path):
            return path
        path = self.root
        for part in Path(image).parts:
            folder, path = path, path / part
            if not _exists(path):
                names = self._names(folder)
                path = next((folder / n for n in names if normalize("NFC", n) == part), path)
        return path

    def instead(self, image: str) -> str | None:
        """A file that is there where an image is missing: of the same name but for letter case and
        suffix."""
        path = self.root / image
        by_name, by_stem = self._near(path.parent)
        return by_name.get(path.name.casefold()) or by_stem.get(path.stem.casefold())

    def _names_near(self, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
        """The first file of each name and of each stem, letter case aside."""
        by_name: dict[str, str] = {}
        by_stem: dict[str, str] = {}
        for name in self._names(folder):
            if name.isprintable():
                by_name.setdefault(name.casefold(), name)
                by_stem.setdefault(Path(name).stem.casefold(), name)
        return by_name, by_stem

    def holds(self, image: str) -> bool:
        """Whether the file of an image lies in this folder, not beside it or behind a link that
        leads out."""
        path = self.path(image)
        if os.path.islink(path):
            return self._inside(Path(os.path.realpath(path)).parent)
        return self._inside(path.parent)

    def _is_inside(self, folder: Path) -> bool:
        root = os.path.realpath(self.root)
        return Path(os.path.realpath(folder)).is_relative_to(root)


def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(folder)))
    except (OSError, ValueError):
        return ()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def files_in(folder: Path, images: Iterable[str]) -> dict[str, ImageFile]:
    """The images of these names under ``folder``."""
    within = Folder(folder)
    return {image: _file(within, image) for image in dict.fromkeys(images)}


def _file(folder: Folder, image: str) -> ImageFile:
    path = folder.path(image)
    size = _size(path)
    if size is None:
        return ImageFile(path, None, folder.instead(image))
    return ImageFile(path, size, outside=not folder.holds(image))


def _size(path: Path) -> int | None:
    """Bytes of a file, None where there is none or its name is impossible."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size if S_ISREG(status.st_mode) else None


def with_contents(images: Mapping[str, ImageFile]) -> dict[str, ImageFile]:
    """The images with the hashes of their files.

    Raises MfvError (MFV7109) for one that cannot be read.
    """
    try:
        statuses = {
            f.source: f.source.stat() for f in images.values() if isinstance(f.source, Path)
        }
        contents = content_hashes(statuses)
    except OSError as error:
        raise MfvError(
            "MFV7109", f"the image {error.filename} cannot be read: {error.strerror}"
        ) from None
    return {
        name: replace(file, content=contents[file.source])
        if isinstance(file.source, Path)
        else file
        for name, file in images.items()
    }
