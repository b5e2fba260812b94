"""Where things lie: what comes with mfv-dsl, and the store of finished steps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mfv_dsl.base.errors import MfvError


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


def run_folder(recipe: str, variant: str = "") -> Path:
    """Where a run leaves its results: ``runs``, and in it the recipe's name, with its folder below
    ``recipes``, and what tells its ``variant`` from others.

    >>> run_folder("recipes/paper/heads.mfv", "tiny").as_posix()
    'runs/paper/heads-tiny'
    >>> run_folder("elsewhere/mine.mfv").as_posix()
    'runs/mine'
    """
    path = Path("stdin" if recipe == "<stdin>" else recipe)
    if path.parts[:1] == ("recipes",):
        path = path.relative_to("recipes")
    elif path.suffix == ".mfv" or path.is_absolute():
        path = Path(path.name)
    name = path.stem + (f"-{variant}" if variant else "")
    return Path("runs", *(part for part in path.parts[:-1] if part != ".."), name)


def find_recipe(path: str | Path) -> Path:
    """``path`` if it is a file, else the bundled recipe of that name (``paper/heads``).

    MfvError (MFV6101) if there is neither.
    """
    here = Path(path)
    if here.is_file():
        return here
    folder = bundled("recipes")
    inside = here.relative_to("recipes") if here.parts[:1] == ("recipes",) else here
    recipe = folder / (inside if here.suffix == ".mfv" else f"{inside}.mfv")
    if not here.is_absolute() and ".." not in here.parts and recipe.exists():
        return recipe
    if here.exists():  # what it is, is said where it is read
        return here
    names = ", ".join(
        file.relative_to(folder).with_suffix("").as_posix()
        for file in sorted(folder.rglob("*.mfv"))
    )
    raise MfvError("MFV6101", f"there is no recipe {path}", help=f"the bundled recipes are {names}")
