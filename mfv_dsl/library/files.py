"""Files: those that come with mfv-dsl, and writing so that nothing is ever half there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def bundled(folder: str) -> Path:
    """A folder that comes with mfv-dsl (``recipes``, ``vectors``): inside the installed package, or
    beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: temporary file, flush to disk, rename."""
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
