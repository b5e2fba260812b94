"""Files: written so that nothing is ever half there, and told apart by their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

#: A file up to _WHOLE bytes is hashed whole, of a larger one _BLOCKS blocks of _BLOCK bytes, evenly
#: spaced, the first and the last among them.
_WHOLE, _BLOCKS, _BLOCK = 64 << 20, 64, 64 << 10


def hash_sample(digest: hashlib._Hash, path: Path) -> None:
    """Hash a file's content, of a large one a sample that tells which weights it has."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE:
            digest.update(file.read())
            return
        for i in range(_BLOCKS):
            file.seek((size - _BLOCK) * i // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: temporary file beside it, flush to disk, rename.

    Folders that are missing are made.  Raises OSError where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
