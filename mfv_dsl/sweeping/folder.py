"""The folder of a sweep: one folder for each variant, and in it what all of them gave together.

``results.json`` and its tables have the form of a run's, so that tables and figures are made of a
sweep as of a run; ``sweep.json`` says what was varied and what became of each variant, and
``sweep.csv`` and ``sweep.md`` hold the table that is shown.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mfv_dsl.base.csv_text import csv_text
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.base.table_text import TextTable
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json
from mfv_dsl.execute.rows import ALWAYS, ResultRow, Results
from mfv_dsl.execute.run_files import SWEEP
from mfv_dsl.execute.run_folder import FINISHED, MANIFEST, RESULTS
from mfv_dsl.execute.tables import result_files, result_lines
from mfv_dsl.report.columns import result_columns
from mfv_dsl.sweeping.joined import Outcome
from mfv_dsl.sweeping.variants import Variants
from mfv_dsl.version import __version__

TABLE, MARKDOWN = "sweep.csv", "sweep.md"
#: Of ``sweep.json``.
FORMAT = 1
_HELP = "name another folder by --out (out= in Python), or move it away"


def check_folder(folder: Path, variants: Variants) -> None:
    """Refuse, before any work, to write where something else lies (MFV5692)."""
    said = _said(folder)
    if said is None:
        for name in (MANIFEST, SWEEP, TABLE, MARKDOWN, RESULTS, *result_files({"rows": []})):
            if os.path.lexists(folder / name):
                what = (
                    "the run of a recipe" if name == MANIFEST else f"{name}, which no sweep wrote"
                )
                raise MfvError("MFV5692", f"{folder} holds {what}", help=_HELP)
    elif _identity(said) != _identity(_of(folder, variants)):
        raise MfvError(
            "MFV5692", f"{folder} holds a sweep of another recipe, {said.get('recipe')}", help=_HELP
        )


def write_sweep(
    folder: Path, variants: Variants, outcomes: Sequence[Outcome], results: Results,
    shown: Sequence[ResultRow], metrics: Mapping[str, Sequence[str]],
) -> None:  # fmt: skip
    """Write what all variants gave together; the files of an earlier sweep go."""
    files = {RESULTS: _json(results.to_json()), **result_files(results.to_json())}
    lines = result_lines({"rows": [row.to_json() for row in shown]})
    files[TABLE] = csv_text(lines, ALWAYS)
    files[MARKDOWN] = text_table(shown, metrics).markdown()
    said = _of(folder, variants) | {
        "variants": [_outcome(outcome, folder) for outcome in outcomes],
        "metrics": {name: list(own) for name, own in metrics.items()},
        "finished": time.strftime(FINISHED, time.gmtime()),
        "files": sorted(files),
    }
    before = (_said(folder) or {}).get("files")
    for name in before if isinstance(before, list) else ():
        if isinstance(name, str) and Path(name).name == name and name not in files:
            with suppress(FileNotFoundError):
                (folder / name).unlink()
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    write_atomically(folder / SWEEP, _json(said).encode())


def text_table(rows: Sequence[ResultRow], metrics: Mapping[str, Sequence[str]]) -> TextTable:
    """Rows as texts, as the command line shows them."""
    columns = result_columns(rows, metrics)
    return TextTable(tuple(columns), tuple(zip(*columns.values(), strict=True)))


def _of(folder: Path, variants: Variants) -> dict[str, Any]:
    """What ``sweep.json`` says before anything has run."""
    recipe = variants.recipe
    return {
        "format": FORMAT,
        "mfv_version": __version__,
        "recipe": recipe.name,
        "source": variants.all[0].recipe.source_in(folder),
        "profile": recipe.profile,
        "set": list(recipe.overrides),
        "only": list(variants.only) or None,
        "over": [
            {"name": over.name, "values": [value.text for value in over.values]}
            for over in variants.overs
        ],
    }


def _outcome(outcome: Outcome, folder: Path) -> dict[str, Any]:
    error = outcome.error
    return {
        "name": outcome.variant.name,
        "values": outcome.variant.values,
        "folder": os.path.relpath(outcome.folder, folder),
        "steps": len(outcome.variant.plan.steps),
        "cached": outcome.cached,
        "seconds": round(outcome.seconds, 2),
        "saved": [str(path) for path in outcome.saved],
        "failed": outcome.failed,
        "error": None if error is None
        else {"code": error.code, "message": error.message, "help": error.help or ""},
    }  # fmt: skip


def _identity(said: Mapping[str, Any]) -> tuple[object, ...]:
    """Which recipe a sweep is of: texts have no place to be known by."""
    source = said.get("source")
    return (source, said.get("recipe") if source == "text" else None)


def _said(folder: Path) -> dict[str, Any] | None:
    """What the sweep that is there says of itself, None where there is none."""
    try:
        said = read_json(folder / SWEEP, LARGEST_CONFIG, finite=False)
    except (OSError, BadText):
        return None
    return said if isinstance(said, dict) and "over" in said else None


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, allow_nan=False) + "\n"
