"""How a run is put on workers: from ``[launcher]`` of ``mfv.toml`` beside the recipe, and over it
what the command or the call says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mfv_dsl.base.arguments import by_name, shown, texts
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.kinds import fits
from mfv_dsl.base.places import bundled_name
from mfv_dsl.base.source import Source, Span
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_text, reason
from mfv_dsl.launch.options import (
    OPTIONS,
    Options,
    Place,
    checked_options,
    error_at,
    made_options,
    options_of_texts,
)
from mfv_dsl.launch.toml_places import place_of_key

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "mfv.toml"
Workers: TypeAlias = "int | Literal['auto']"


@dataclass(frozen=True)
class LaunchSettings:
    """How a run is put on workers.

    Attributes:
        launcher: ``local``, ``slurm`` or ``ray``.
        workers: How many, or ``auto`` for as many as there are places.
        gpus_per_worker: GPUs of each; None leaves it to the launcher.
        options: The launcher's own.
    """

    launcher: str
    workers: Workers
    gpus_per_worker: int | None
    options: Options


@dataclass(frozen=True)
class _Table:
    """``[launcher]`` of a file, checked."""

    launcher: str | None = None
    workers: Workers | None = None
    gpus_per_worker: int | None = None
    options: Mapping[str, Mapping[str, Any]] | None = None


def launch_settings(
    folder: Path,
    launcher: str | None = None,
    workers: int | str | None = None,
    gpus_per_worker: int | None = None,
    launcher_options: Mapping[str, object] | Sequence[str] = (),
) -> LaunchSettings | None:
    """How a run is put on workers; None where neither ``mfv.toml`` nor the caller asks for any.

    Args:
        folder: The recipe's, where ``mfv.toml`` is looked for.
        launcher: In place of the file's.
        workers: Likewise, a number or ``auto``.
        gpus_per_worker: Likewise.
        launcher_options: Of the launcher, by name, or ``name=value`` each; over the file's.

    Raises:
        MfvError: MFV5640 for a launcher, a key or an option that there is not, MFV5641 for a value
            of another kind, MFV5642 for a file that cannot be read; with the place in the file.

    >>> launch_settings(Path("nowhere"), workers=2)
    LaunchSettings(launcher='local', workers=2, gpus_per_worker=None, options=LocalOptions())
    """
    table = _read(folder / FILE)
    if launcher is not None:
        _check_launcher(launcher)
    count = None if workers is None else _workers(workers, lambda: None)
    if gpus_per_worker is not None:
        _check_gpus(gpus_per_worker, lambda: None)
    chosen = launcher or table.launcher or "local"
    if isinstance(launcher_options, Mapping):
        over = checked_options(chosen, by_name(launcher_options, "launcher_options"))
    else:
        over = options_of_texts(chosen, texts(launcher_options, "launcher_options"))
    asked = (launcher, count, gpus_per_worker, table.launcher, table.workers, table.gpus_per_worker)
    if all(value is None for value in asked) and not launcher_options:
        return None
    if gpus_per_worker is None:
        gpus_per_worker = table.gpus_per_worker
    own = (table.options or {}).get(chosen, {})
    return LaunchSettings(
        chosen, count or table.workers or "auto", gpus_per_worker, made_options(chosen, own, over)
    )


def settings_folder(recipe: Path | None) -> Path:
    """Where ``mfv.toml`` of a recipe is looked for: beside its file; for a text that is no file, or
    a recipe that came with mfv-dsl, in the current folder.

    >>> settings_folder(Path("lab/steer.mfv")).as_posix(), settings_folder(None).as_posix()
    ('lab', '.')
    """
    return Path() if recipe is None or bundled_name(recipe) is not None else recipe.parent


def _read(path: Path) -> _Table:
    try:
        source = Source(read_text(path, LARGEST_CONFIG), str(path))
    except FileNotFoundError:
        return _Table()
    except (OSError, BadText) as error:
        help = "settings of launchers are in it; mend or move it"
        raise MfvError("MFV5642", f"cannot read {path}: {reason(error)}", help) from None
    try:
        whole = tomllib.loads(source.text)
    except (ValueError, RecursionError) as error:
        help = "[launcher] is a table, its keys are launcher, workers and gpus-per-worker"
        raise MfvError("MFV5642", f"{path} is not TOML: {error}", help) from None

    def where(*keys: str) -> tuple[Source, Span]:
        return place_of_key(source, *keys)

    for name in whole:
        if name != "launcher":
            raise error_at("MFV5640", f"{path.name} has no table `{name}`",
                           "its table is [launcher]", where(name))  # fmt: skip
    table = whole.get("launcher", {})
    if not isinstance(table, dict):
        raise error_at("MFV5641", "`launcher` is a table", "write [launcher] on a line of its own, "
                       "and the settings below it", where("launcher"))  # fmt: skip
    return _checked(table, lambda *keys: where("launcher", *keys))


def _checked(table: dict[str, Any], where: Callable[..., Place]) -> _Table:
    names = ("launcher", "workers", "gpus-per-worker", *OPTIONS)
    for name in table:
        if name not in names:
            owner = next((one for one in OPTIONS if name in OPTIONS[one].__annotations__), None)
            there = f"there are {', '.join(names)}"
            help = f"it belongs into [launcher.{owner}]"
            help = did_you_mean(name, names, there) if owner is None else help
            raise error_at("MFV5640", f"[launcher] has no key `{name}`", help, where(name))
    if (launcher := table.get("launcher")) is not None:
        _check_launcher(launcher, where("launcher"))
    workers = table.get("workers")
    if workers is not None:
        workers = _workers(workers, lambda: where("workers"))
    if (gpus := table.get("gpus-per-worker")) is not None:
        _check_gpus(gpus, lambda: where("gpus-per-worker"))
    options = {}
    for name in OPTIONS:
        own = table.get(name, {})
        if not isinstance(own, dict):
            help = f"write [launcher.{name}] on a line of its own"
            raise error_at("MFV5641", f"`{name}` is a table of options", help, where(name))
        options[name] = checked_options(name, own, partial(where, name))
    return _Table(launcher, workers, gpus, options)


def _check_launcher(name: object, place: Place = None) -> None:
    if not isinstance(name, str) or name not in OPTIONS:
        help = f"there are {', '.join(OPTIONS)}"
        help = did_you_mean(name, OPTIONS, help) if isinstance(name, str) else help
        raise error_at("MFV5640", f"there is no launcher {shown(name)}", help, place)


def _workers(value: object, where: Callable[[], Place]) -> Workers:
    if isinstance(value, str) and value.isascii() and value.isdecimal():  # as typed
        value = int(value)
    if isinstance(value, str) and value == "auto":
        return "auto"
    if isinstance(value, int) and fits(value, int) and value >= 1:
        return value
    raise error_at("MFV5641", f"the number of workers is {shown(value)}",
                   "it is 1 or more, or auto for as many as there are places", where())  # fmt: skip


def _check_gpus(value: object, where: Callable[[], Place]) -> None:
    if not (isinstance(value, int) and fits(value, int) and value >= 0):
        raise error_at("MFV5641", f"the number of GPUs of a worker is {shown(value)}",
                       "it is a whole number, 0 for none", where())  # fmt: skip
