"""Where things lie: what comes with mfv-dsl, and the store of finished steps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def store_root() -> Path:
    """``$MFV_HOME``, else ``.mfv`` in the current folder, beside ``runs``."""
    return Path(os.environ.get("MFV_HOME") or ".mfv")


def step_file(root: Path, key: str) -> Path:
    """The file of the finished step ``key`` in the store at ``root``."""
    return root / "steps" / key[:2] / f"{key}.safetensors"


def finished(keys: Iterable[str]) -> set[str]:
    """Those of ``keys``, the keys of steps, whose results the store holds."""
    root = store_root()
    return {key for key in keys if step_file(root, key).exists()}


def bundled(folder: str) -> Path:
    """A folder that comes with mfv-dsl (``recipes``, ``vectors``): inside the installed package, or
    beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder
