"""Runs that are there already: a folder and libraries hold just what they would write.

A run in which nothing failed leaves a record in the store: what was run, and hashes of the files of
its steps and of all that it wrote.  As long as every one of them is as it was, the same run gives
what is there, and neither torch nor a model is loaded; in another folder the files are copied.
Otherwise it is run as ever, and its finished steps come from the store.  Where the store is in an
object storage records stay on this machine, and of steps it is asked whether they are there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mfv_dsl.base.disk import disk_trouble, folder_for
from mfv_dsl.base.files import hash_whole, write_atomically
from mfv_dsl.base.names import plain
from mfv_dsl.base.places import step_file, store_home, store_root
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json
from mfv_dsl.execute.rows import Results
from mfv_dsl.execute.run_folder import RESULTS, Origin, RunFolder
from mfv_dsl.execute.run_result import RunResult, StoredValues
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.execute.storage import FolderStorage, finished, storage_at
from mfv_dsl.library.folder import CARD, INDEX
from mfv_dsl.plan.steps import Plan
from mfv_dsl.version import package_versions

_log = logging.getLogger(__name__)


def remember(result: RunResult, text: str, name: str, origin: Origin) -> None:
    """Leave the record of a run in which nothing failed; none where the disk does not let it, or
    where the results would not come back from their file as they are."""
    data = json.loads(json.dumps(result.results.to_json()))
    if result.failed or Results.of_json(data) != result.results:
        return
    with suppress(OSError):
        record = {
            "run": _identity(result.plan, text, name, origin),
            "folder": str(result.folder.absolute()),
            "saved": list(map(str, result.saved)),
            "files": _hashes(_files(result, name)),
        }
        for path in (_record(result.folder), _last(result.plan, text, name, origin)):
            write_atomically(path, json.dumps(record).encode())


def recall(
    plan: Plan, text: str, folder: Path, settings: RunSettings, *, name: str, origin: Origin
) -> RunResult | None:
    """What :func:`~mfv_dsl.execute.run.run_plan` would give, if all of it is there; else None.  Of
    what it would write, the manifest alone is written where ``folder`` holds this run; where the
    last such run is in another folder its files are copied.

    Raises:
        MfvError: Of the folder, as ``run_plan``.
    """
    started = time.perf_counter()
    if settings.fresh or settings.trace or plan.errors:
        return None
    record = _intact(_record(folder), plan)
    own = record is not None and record["run"] == _identity(plan, text, name, origin)
    if not own:
        record = _intact(_last(plan, text, name, origin), plan)
    if record is None or not _has_steps(plan):
        return None
    there, run = Path(record["folder"]), RunFolder(folder)
    try:
        results = Results.of_json(json.loads((there / RESULTS).read_bytes()))
        saved = [Path(path) for path in record["saved"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with ExitStack() as stack:
        stack.enter_context(disk_trouble())
        run.check(origin, text)
        if not own:
            stack.enter_context(folder_for(folder, what="cannot make the folder", code="MFV6102"))
        if folder.is_dir():
            stack.enter_context(run.held())
        if not own and not run.copy(RunFolder(there), origin):
            return None
        if not run.is_again(origin, plan):
            return None
    values = StoredValues({step.key: step.operation for step in plan.steps}, store_home())
    seconds = time.perf_counter() - started
    _log.info("%s holds this run already, all %d steps of it", there, len(plan.steps))
    result = RunResult(plan, results, folder, saved, seconds, values, len(plan.steps))
    if not own:
        remember(result, text, name, origin)
    return result


def _intact(path: Path, plan: Plan) -> dict[str, Any] | None:
    """The record at ``path``, if all that it tells of is as it was; else None."""
    try:
        record: dict[str, Any] = read_json(path, LARGEST_CONFIG)
        files = record["files"]
        steps = set(map(str, _steps(plan)))
        is_whole = steps <= set(files) and _hashes(map(Path, files)) == files
        return record if is_whole and {"run", "folder", "saved"} <= set(record) else None
    except (OSError, BadText, ValueError, KeyError, TypeError, AttributeError):
        return None  # there is no record, or something of it is gone


def _identity(plan: Plan, text: str, name: str, origin: Origin) -> str:
    """A hash of all that a run's files depend on beside the values of its steps."""
    folders = [str(Path(item.folder).absolute()) for item in plan.saves]
    parts = [
        plan.to_json(), text, name, origin.to_json(), folders, _program(), package_versions(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def _program() -> list[tuple[str, int, int]]:
    """The files of this program, with their sizes and moments of change: another version of it may
    make other rows of the same values.  Looked at once, as they are loaded once."""
    package = Path(__file__).parents[1]
    stats = {path.relative_to(package).as_posix(): path.stat() for path in package.rglob("*.py")}
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items())


def _last(plan: Plan, text: str, name: str, origin: Origin) -> Path:
    """The file of the record of the last such run, in whatever folder it is."""
    anywhere = replace(origin, source="")
    return store_root() / "runs" / f"{_identity(plan, text, name, anywhere)}.json"


def _record(folder: Path) -> Path:
    """The file of the record of the run in a folder."""
    place = hashlib.sha256(os.path.realpath(folder).encode()).hexdigest()
    return store_root() / "runs" / f"{place}.json"


def _has_steps(plan: Plan) -> bool:
    """Whether a store that is no folder has all steps; files in a folder are looked at by hash."""
    keys = {step.key for step in plan.steps}
    return bool(_steps(plan)) or finished(keys) == keys


def _steps(plan: Plan) -> list[Path]:
    """The files of a plan's steps; none where the store is no folder."""
    if not isinstance(storage_at(store_home()), FolderStorage):
        return []
    return [step_file(store_root(), step.key).absolute() for step in plan.steps]


def _files(result: RunResult, name: str) -> list[Path]:
    """The files of a run's steps, of its folder without the manifest, and of its libraries."""
    libraries = {path.parent for path in result.saved}
    return [
        *_steps(result.plan),
        *(result.folder / file for file in RunFolder(result.folder).results()),
        *result.saved,
        *(root / file for root in libraries for file in (INDEX, CARD, f"{plain(name)}.mfv")),
    ]


def _hashes(files: Iterable[Path]) -> dict[str, Any]:
    return {str(path.absolute()): hash_whole(path) for path in files}
