"""Everything of a library that can be checked without its model."""

from __future__ import annotations

from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import SUFFIX
from mfv_dsl.library.folder import INDEX, Library
from mfv_dsl.library.stored import read


def verify_library(library: Library) -> list[dict[str, Any]]:
    """A row for each file: ``file``, and ``error``, None where nothing is wrong.

    Vector files are read whole: bounds, shapes, values, hashes; each must bear its own name.  The
    index must be what the files give.
    """
    rows = []
    for name in library.names():
        try:
            own_name = read(library.path(name))[1]["name"]
            error = f"it says that it is `{own_name}`" if own_name != name else None
        except MfvError as refusal:
            error = refusal.message
        rows.append({"file": str(library.root / f"{name}{SUFFIX}"), "error": error})
    path = library.root / INDEX
    stale = not path.is_file() or path.read_bytes() != library.index_bytes()
    error = f"it is not what the files give: `mfv vectors index {library.root}`" if stale else None
    return [*rows, {"file": str(path), "error": error}]
