"""Where things lie: what comes with mfv-dsl, and the store of finished steps."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import did_you_mean


def store_home() -> str:
    """Where the store is: ``$MFV_HOME``, a folder or a URL, else ``.mfv`` in the current folder,
    beside ``runs``."""
    return os.environ.get("MFV_HOME") or ".mfv"


def store_root(home: str | None = None) -> Path:
    """The folder of the store at ``home``, by default :func:`store_home`; for one at a URL the
    folder of this user that holds what was read of it.

    >>> store_root("/lab/store").as_posix(), store_root("file:///lab/store").as_posix()
    ('/lab/store', '/lab/store')
    """
    home = store_home() if home is None else home
    protocol, is_url, place = home.partition("://")
    if is_url and protocol not in ("file", "local"):
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return Path(caches, "mfv-dsl", hashlib.sha256(home.rstrip("/").encode()).hexdigest()[:16])
    return Path(place if is_url else home)


def store_name() -> str:
    """What the store is called: its folder or its URL."""
    home = store_home()
    return home if "://" in home else str(store_root())


def step_name(key: str) -> str:
    """The name of the file of the finished step ``key`` in a store."""
    return f"steps/{key[:2]}/{key}.safetensors"


def step_file(root: Path, key: str) -> Path:
    """The file of the finished step ``key`` in the store at ``root``."""
    return root / step_name(key)


def user_path(path: str | Path) -> Path:
    """A path as it is meant: ``~`` at its beginning is the user's own folder.

    >>> user_path("vectors/mine").as_posix()
    'vectors/mine'
    """
    return Path(os.path.expanduser(path))


def bundled(folder: str) -> Path:
    """A folder that comes with mfv-dsl (``recipes``, ``vectors``): inside the installed package, or
    beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


#: The libraries in ``vectors`` that come with mfv-dsl; recipes that are run in a checkout save
#: theirs beside them.
LIBRARIES = ("flamingo-tiny",)


def identity_of_place(path: str | Path) -> tuple[object, ...]:
    """What two paths have in common that lead to one place, there or yet to be made: through links,
    ``.`` and ``..``, and letter case where the disk makes no difference of it.

    >>> identity_of_place("vectors/a") == identity_of_place("./vectors//b/../a/")
    True
    """
    if "://" in str(path):
        return (str(path),)
    try:
        there = Path(os.path.realpath(user_path(path)))
        rest: list[str] = []
        while not there.exists() and there != there.parent:
            rest.insert(0, there.name)
            there = there.parent
        status = there.stat()
    except (OSError, ValueError):  # no path; what is wrong is said where it is used
        return (str(path),)
    names = map(_folded, rest) if rest and _ignores_case(there) else rest
    return (status.st_dev, status.st_ino, *names)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _ignores_case(folder: Path) -> bool:
    """Whether the disk of a folder takes a name in other letters for the same."""
    for path in (folder, *folder.parents):
        swapped = path.with_name(path.name.swapcase()) if path.name else path
        if swapped != path:
            return swapped.exists() and swapped.samefile(path)
    return False


def run_folder(recipe: str, variant: str = "") -> Path:
    """Where a run leaves its results: ``runs``, and in it the recipe's path, from the current
    folder or the one named ``recipes`` in it, and what tells its ``variant`` from others.  A recipe
    that lies elsewhere has its whole path there.

    >>> run_folder("recipes/paper/heads.mfv", "tiny").as_posix()
    'runs/paper/heads-tiny'
    >>> run_folder("mine/../yours/steer.mfv").as_posix()
    'runs/yours/steer'
    >>> run_folder("/home/me/steer.mfv").as_posix()
    'runs/home/me/steer'
    """
    path = _from_here("stdin" if recipe == "<stdin>" else recipe)[0]
    name = path.stem if path.suffix.lower() == ".mfv" else path.name
    return Path("runs", *path.parts[:-1], f"{name}-{variant}" if variant else name)


def recipe_label(recipe: str) -> str:
    """What a recipe is called beside others in a library: its path from the current folder, or for
    one that lies elsewhere its name alone, which says nothing of the machine.

    >>> recipe_label("recipes/paper/heads.mfv"), recipe_label("/home/me/steer.mfv")
    ('paper_heads', 'steer')
    """
    path, is_here = _from_here(recipe)
    return "_".join((path if is_here else Path(path.name)).with_suffix("").parts)


def _from_here(recipe: str) -> tuple[Path, bool]:
    """A recipe's path below the current folder or the one named ``recipes`` in it, and True; or its
    whole path without what it begins with, and False."""
    path, is_here = Path(os.path.normpath(recipe)), True
    if path.is_absolute() or path.parts[:1] == ("..",):
        whole = Path(os.path.abspath(path))
        path, is_here = whole.relative_to(whole.anchor), False
        for place in (whole, Path(os.path.realpath(whole))):
            if place.is_relative_to(os.getcwd()):
                path, is_here = place.relative_to(os.getcwd()), True
    if path.parts[:1] == ("recipes",) and len(path.parts) > 1:
        path = path.relative_to("recipes")
    return path, is_here


def bundled_name(file: Path) -> str | None:
    """What a recipe that came with mfv-dsl is called there (``paper/heads``); None for any other
    file."""
    folder = Path(os.path.realpath(bundled("recipes")))
    path = Path(os.path.realpath(file))
    return path.relative_to(folder).with_suffix("").as_posix() if folder in path.parents else None


def find_recipe(path: str | Path) -> Path:
    """``path`` if it is a file, else the bundled recipe of that name (``paper/heads``), else the
    file ``path.mfv``.

    MfvError (MFV6101) if there is none of these, or none that can be looked for.
    """
    try:
        return _found(Path(path), str(path))
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise MfvError("MFV6101", f"cannot read {path}: {error.strerror}") from None


def _found(here: Path, name: str) -> Path:
    if here.is_file():
        return here
    folder = bundled("recipes")
    inside = here.relative_to("recipes") if here.parts[:1] == ("recipes",) else here
    recipe = folder / (inside if here.suffix == ".mfv" else f"{inside}.mfv")
    if not here.is_absolute() and ".." not in here.parts and recipe.exists():
        return recipe
    with_suffix = here.with_name(f"{here.name}.mfv") if here.name else here
    if with_suffix.is_file():
        return with_suffix
    if here.exists():  # what it is, is said where it is read
        return here
    raise MfvError(
        "MFV6101", f"there is no recipe {name}",
        help=did_you_mean(name, bundled_recipes(), "`mfv recipes` lists the bundled ones"),
    )  # fmt: skip


def bundled_recipes() -> list[str]:
    """The names of the recipes that come with mfv-dsl, but for what they share."""
    folder = bundled("recipes")
    files = [file for file in sorted(folder.rglob("*.mfv")) if file.parent.name != "shared"]
    return [file.relative_to(folder).with_suffix("").as_posix() for file in files]
