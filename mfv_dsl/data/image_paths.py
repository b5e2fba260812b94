"""Where the images of a table are: paths from its folder, in whichever Unicode form."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from unicodedata import normalize

_AROUND = " \t\r\n\f\v\u00a0\u200b\u2060\ufeff"


def image_name(text: str) -> str:
    """The name of an image as a table writes it, without what is not seen around it, in the Unicode
    form NFC: one image has one name.

    >>> image_name(" a  b.png\\u200b")
    'a  b.png'
    """
    return normalize("NFC", text.strip(_AROUND))


class Folder:
    """A folder of images, each of its folders listed once at most.

    >>> Folder(Path("photos")).path("1.jpg").as_posix()
    'photos/1.jpg'
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = cache(_names)
        self._inside = cache(self._is_inside)

    def path(self, image: str) -> Path:
        """The file of an image, which may be missing: as it is written, else as its name is in
        another Unicode form."""
        path = self.root / image
        if image.isascii() or _exists(path):
            return path
        names = self._names(path.parent)
        return next((path.parent / n for n in names if normalize("NFC", n) == path.name), path)

    def instead(self, image: str) -> str | None:
        """A file that is there where an image is missing: of the same name but for letter case and
        suffix."""
        path = self.root / image
        near = [n for n in self._names(path.parent) if n.casefold() == path.name.casefold()]
        if not near:
            stem = path.stem.casefold()
            near = [n for n in self._names(path.parent) if Path(n).stem.casefold() == stem]
        return min(near, default=None)

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
