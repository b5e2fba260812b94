"""Whose a run's folder is, and which of its files are a run's: none is lost, none is mixed in.

The manifest of a run names its recipe and every file that the run wrote.  Another run of the recipe
takes these files away and leaves all others, which somebody else put there.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json, read_text
from mfv_dsl.execute.item_lines import ITEMS, ZIPPED
from mfv_dsl.execute.tables import SOMETIMES
from mfv_dsl.plan.steps import Plan
from mfv_dsl.version import __version__

MANIFEST, RECIPE, RESULTS = "manifest.json", "recipe.mfv", "results.json"
#: The page that `mfv report` makes of a run; another run takes it away.
REPORT = "report.html"
#: What every run writes, and those of its files whose names depend on the recipe.
_ALWAYS = (
    RECIPE, MANIFEST, "plan.json", RESULTS, "results.csv", "confusion.csv", "choices.csv",
)  # fmt: skip
_FOLDERS = ("aie", "vectors", "tune")
_OF_OLDER_RUNS = re.compile(
    r"trace\.txt|tune/[^/]+/[^/]+\.json|(aie|vectors)/\w+_[0-9a-f]{8}\.safetensors"
)

#: Held while a run writes into its folder; what systems say of disks that know no locks.
LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)

#: How the manifest says when a run was finished.
FINISHED = "%Y-%m-%dT%H:%M:%SZ"

#: What writes a file to a path.
Write = Callable[[Path], object]


@dataclass(frozen=True)
class Origin:
    """Which recipe a run is of: its name, where its file lies seen from the run's folder (or that
    it is bundled, or a text), and what of it is run under which settings."""

    recipe: str
    source: str = "text"
    profile: str | None = None
    set: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    names_folder: bool = False  # whether whoever runs it named the folder
    #: the texts of other files that it uses, by their names in the run's folder
    used: Mapping[str, str] = field(default_factory=dict)
    alone: str = ""  # the recipe's text with what these declare in it

    def to_json(self) -> dict[str, Any]:
        """The origin as in ``manifest.json``."""
        return {
            "recipe": self.recipe, "source": self.source, "profile": self.profile,
            "set": list(self.set), "only": list(self.only) or None,
            **({"used": self._hashes()} if self.used else {}),
        }  # fmt: skip

    def _hashes(self) -> dict[str, str]:
        """SHA-256 of the used files, by name."""
        return {name: sha256(text.encode()).hexdigest() for name, text in self.used.items()}


class RunFolder:
    """The folder ``path`` of a run, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, origin: Origin, text: str) -> None:
        """Refuse, before any work, to put the run of a recipe of this ``text`` where it would take
        something else's place.

        Raises MfvError: MFV6070 for the folder of another recipe's run, MFV6071 for that of a whole
        run or of other parts where parts are run, MFV6072 for files that are no run's.
        """
        manifest = self._manifest()
        if manifest is None:
            self._check_strangers(text, origin.used)
        elif self._is_refused(manifest, origin, text):
            raise MfvError(
                "MFV6070", f"{self.path} holds the run of another recipe, {manifest['recipe']}",
                help="name another folder by --out, or remove it first",
            )  # fmt: skip
        else:
            if self.has_others(origin):
                parts = manifest.get("only") or ()
                what = f"the run of {', '.join(parts)} alone" if parts else "a run of the whole"
                raise MfvError(
                    "MFV6071", f"{self.path} holds {what} recipe, and `--only` would leave only "
                    f"{', '.join(origin.only)} of it",
                    help="name another folder by --out, or remove it first",
                )  # fmt: skip
            if "text" in (origin.source, manifest.get("source")):
                self._warn_of_other_text(text)
            own = self._files()
            # older runs wrote none of these, and somebody else may have
            for name in (ITEMS, ZIPPED, *SOMETIMES):
                if name not in own and os.path.lexists(self.path / name):
                    raise self._in_the_way(name, "a file")
        for name in _FOLDERS:
            if (self.path / name).is_symlink():
                raise self._in_the_way(name, "a link")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the folder, which is there.

        A lock that another process holds is let go of when it ends, however it ends.  On a disk
        that knows no locks nothing keeps them out.

        Raises MfvError (MFV5730) where another run has it.
        """
        from filelock import FileLock, Timeout

        file = self.path / LOCK
        lock = FileLock(file, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise MfvError(
                "MFV5730", f"another run is writing into {self.path}",
                help="wait until it ends, or name another folder by --out (out= in Python)",
            ) from None  # fmt: skip
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            yield
            return
        try:
            yield
        finally:
            with suppress(OSError):  # on Windows it stays, as no file that is open can go
                file.unlink()
            lock.release()

    def has_others(self, origin: Origin) -> bool:
        """Whether the run that is there has other parts of the recipe than those to be run, or all
        of it; False where there is none."""
        manifest = self._manifest()
        if manifest is None or not origin.only:
            return False
        parts = manifest.get("only") or ()
        return not (parts and set(parts) <= set(origin.only))

    def write(self, files: Mapping[str, Write], manifest: Mapping[str, Any]) -> None:
        """Write the files of a run, by their names in the folder, and its manifest; take away those
        of the run before.

        Until all is written the manifest says ``unfinished``.
        """
        old, names = self._files(), sorted({*files, MANIFEST})
        self._write_manifest({**manifest, "unfinished": True, "files": sorted({*old, *names})})
        self._remove(old - set(names))
        for name, write in files.items():
            write(self.path / name)
        self._write_manifest({**manifest, "files": names})

    def copy(self, other: RunFolder, origin: Origin) -> bool:
        """Write what the run in another folder wrote, as a run of ``origin``; False where there is
        none that was finished."""
        manifest = other._manifest()
        if manifest is None or manifest.get("unfinished"):
            return False
        files = {name: _contents(other.path / name) for name in other.results()}
        self.write(files, {**manifest, **origin.to_json()})
        return True

    def results(self) -> list[str]:
        """The names of the files that the run which is there has written, but the manifest, and but
        a report of it, which says where it lies."""
        return sorted(self._files() - {MANIFEST, REPORT})

    def add_report(self) -> None:
        """Note that there is a report of the run, so that another run takes it away."""
        manifest = self._manifest()
        if manifest is not None and isinstance(manifest.get("files"), list):
            files = sorted({*manifest["files"], REPORT})
            self._write_manifest({**manifest, "files": files})

    def is_again(self, origin: Origin, plan: Plan) -> bool:
        """Note in the manifest that the run which is there was run again and all its steps were in
        the store; False where the manifest is not that of such a run."""
        manifest = self._manifest()
        if manifest is None or manifest.get("unfinished"):
            return False
        models = manifest.get("models")
        if not isinstance(models, dict) or models.keys() != plan.models.keys():
            return False
        same = {**origin.to_json(), "mfv_version": __version__}
        if any(manifest.get(name) != value for name, value in same.items()):
            return False
        steps = {step.key: {"label": step.label, "cached": True} for step in plan.steps}
        again = {
            "models": {name: {**model, "device": None} for name, model in models.items()},
            "finished": time.strftime(FINISHED, time.gmtime()),
            "seconds": dict.fromkeys(steps, 0.0),
            "steps": steps,
        }
        self._write_manifest({**manifest, **again})
        return True

    def is_unfinished(self) -> bool:
        """Whether a run was stopped while it wrote its files."""
        return bool((self._manifest() or {}).get("unfinished"))

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / MANIFEST, text.encode())

    def _manifest(self) -> dict[str, Any] | None:
        """What the run that is there says of itself; None where there is none."""
        try:
            manifest = read_json(self.path / MANIFEST, LARGEST_CONFIG, finite=False)
        except (OSError, BadText):
            return None
        if not isinstance(manifest, dict) or "mfv_version" not in manifest:
            return None
        return {"recipe": "?", **manifest}

    def _is_refused(self, manifest: Mapping[str, Any], origin: Origin, text: str) -> bool:
        """Whether a manifest is that of a run of another recipe, whatever is changed in it.  Texts
        have no place to be known by: where the folder was named, others are warned of."""
        source, same_name = manifest.get("source"), manifest["recipe"] == origin.recipe
        if source is None:  # of an older version, which knew the name alone
            return not same_name and self._text() != text
        if "text" in (source, origin.source) and origin.names_folder:
            return False
        return source != origin.source or (source == "text" and not same_name)

    def _text(self, name: str = RECIPE) -> str | None:
        try:
            return read_text(self.path / name, LARGEST_CONFIG)
        except (OSError, BadText):
            return None

    def _warn_of_other_text(self, text: str) -> None:
        if self._text() not in (None, text):
            warnings.warn(
                f"{self.path} holds the run of another text, whose results are replaced; to keep "
                "both, name another folder by --out (out= in Python)",
                stacklevel=4,
            )

    def _check_strangers(self, text: str, used: Mapping[str, str]) -> None:
        """Refuse files that a run would write over and that no run has written."""
        for name, content in used.items():
            if os.path.lexists(self.path / name) and self._text(name) != content:
                raise self._in_the_way(name, "a file")
        for name in (*_ALWAYS, ITEMS, ZIPPED, *SOMETIMES):
            path = self.path / name
            if os.path.lexists(path) and not (name == RECIPE and self._text() == text):
                raise self._in_the_way(name, "a file")

    def _in_the_way(self, name: str, what: str) -> MfvError:
        return MfvError(
            "MFV6072", f"{self.path / name} is {what} that no run has written",
            help="name another folder by --out, or move it away",
        )  # fmt: skip

    def _files(self) -> set[str]:
        """The names of the files that the run which is there has written."""
        manifest = self._manifest()
        if manifest is None:
            return set()
        if isinstance(manifest.get("files"), list):
            return {name for name in manifest["files"] if is_within(name)}
        return {name for name in self._all() if name in _ALWAYS or _OF_OLDER_RUNS.fullmatch(name)}

    def _all(self) -> Iterator[str]:
        for path in (self.path, *(self.path / name for name in _FOLDERS)):
            for file in path.rglob("*") if path != self.path else path.glob("*"):
                yield file.relative_to(self.path).as_posix()

    def _remove(self, names: Collection[str]) -> None:
        """Remove files, and folders that are empty without them."""
        folders = set()
        for name in sorted(names):
            path = self.path / name
            if os.path.realpath(path.parent) != os.path.join(
                os.path.realpath(self.path), *PurePosixPath(name).parts[:-1]
            ):
                continue  # a folder in between is a link, and what it leads to is not the run's
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
            folders |= {folder for folder in path.parents if self.path in folder.parents}
        for folder in sorted(folders, key=lambda path: -len(path.parts)):
            with suppress(OSError):  # something else is in it
                folder.rmdir()


def _contents(source: Path) -> Write:
    """What writes the contents of a file, as they are now."""
    return partial(write_atomically, data=source.read_bytes())


def is_within(name: object) -> bool:
    """Whether a name in a manifest is that of a file in the run's folder or below it."""
    path = PurePosixPath(name if isinstance(name, str) else "")
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
