"""What a report says of one run beside its numbers: what was asked, with what, and how to again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.plan.estimate import duration
from mfv_dsl.report.page.figures import run_figures
from mfv_dsl.report.page.render import RunPart
from mfv_dsl.report.page.tables import PageTable, run_tables

if TYPE_CHECKING:
    from mfv_dsl.execute.recorded_run import RecordedRun

_NAMES = ("name", "download", "device")  # arguments that say nothing about numbers


def run_part(run: RecordedRun, file: Path) -> RunPart:
    """A run's part of the report that is written to ``file``."""
    results = run.results
    evals = dict.fromkeys(row.eval for row in results.rows)
    failed = sum(bool(row.error) for row in results.rows)
    failures = []
    if failed:
        failures.append(f"{failed} of {len(results.rows)} rows failed and have no numbers.")
    things = [*run.plan["models"].values(), *run.plan["datasets"].values()]
    told = dict.fromkeys(
        str(_mapping(thing.get("facts")).get("description") or _constructed(thing))
        for thing in things
    )
    summary = " · ".join(
        [
            f"{_counted(len(evals), 'eval')}, {_counted(len(results.rows), 'row')}",
            *map(_short, told),
            f"finished {_moment(run.manifest.get('finished'))}",
        ]
    )
    recipes = [("recipe.mfv", run.recipe), *run.used.items()]
    return RunPart(
        name=run.name,
        summary=summary,
        tables=run_tables(run),
        figures=run_figures(run),
        notes=[str(note.get("text", "")) for note in results.notes],
        failures=failures,
        recipes=[(name, text) for name, text in recipes if text],
        docs=results.docs,
        settings=_settings(run),
        provenance=_provenance(run),
        made=_made(run),
        commands=_commands(run, file),
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _moment(text: Any) -> str:
    """``2026-01-31T12:00:00Z`` as people read it."""
    return str(text or "at a time unknown").replace("T", " ").replace("Z", " UTC")


def _constructed(declared: Mapping[str, Any]) -> str:
    """A model or dataset as a recipe would declare it, without what is at its default nowhere."""
    arguments = ", ".join(
        f"{name}={_literal(value)}"
        for name, value in declared["arguments"].items()
        if name not in _NAMES and value is not None
    )
    return f"{declared['constructor']}({arguments})"


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _settings(run: RecordedRun) -> list[tuple[str, str]]:
    """Which recipe was run, and under which settings."""
    manifest = run.manifest
    facts = [("recipe", str(manifest.get("recipe", "?")))]
    source = str(manifest.get("source") or "")
    if source.startswith("bundled "):
        facts.append(("source", f"comes with mfv-dsl as {source.removeprefix('bundled ')}"))
    facts.append(("profile", str(manifest.get("profile") or "none")))
    facts.append(("settings (--set)", ", ".join(map(str, manifest.get("set") or ())) or "none"))
    only = manifest.get("only")
    facts.append(("parts (--only)", ", ".join(map(str, only)) if only else "the whole recipe"))
    return facts


def _provenance(run: RecordedRun) -> list[tuple[str, str]]:
    """Versions, times and seeds."""
    manifest = run.manifest
    seconds = [s for s in _mapping(manifest.get("seconds")).values() if isinstance(s, int | float)]
    steps = _mapping(manifest.get("steps"))
    cached = sum(bool(_mapping(step).get("cached")) for step in steps.values())
    seeds = {step["parameters"].get("seed") for step in run.plan["steps"]} - {None}
    packages = _mapping(manifest.get("packages"))
    return [
        ("finished", _moment(manifest.get("finished"))),
        ("mfv-dsl", str(manifest.get("mfv_version", "?"))),
        ("Python", str(manifest.get("python", "?"))),
        *((name, str(version)) for name, version in packages.items() if version),
        ("threads", str(manifest.get("threads", "?"))),
        ("time of all steps", duration(sum(seconds)) if seconds else "unknown"),
        ("steps", f"{len(steps):,}, {cached:,} of them from the store" if cached
         else f"{len(steps):,}"),
        ("seeds of what was drawn", ", ".join(map(str, sorted(seeds, key=str))) or "none"),
    ]  # fmt: skip


def _made(run: RecordedRun) -> list[PageTable]:
    """The models and the data, with what tells them from others."""
    recorded = _mapping(run.manifest.get("models"))
    models = []
    for name, model in run.plan["models"].items():
        own = _mapping(recorded.get(name))
        files = ", ".join(map(str, _mapping(own.get("files")).values()))
        models.append((name, _constructed(model), str(own.get("fingerprint") or ""),
                       str(own.get("device") or "not loaded"), files))  # fmt: skip
    columns = ("model", "declared as", "fingerprint", "device", "files")
    data = []
    for name, dataset in run.plan["datasets"].items():
        facts = _mapping(dataset.get("facts"))
        data.append((name, _constructed(dataset), str(facts.get("hash") or ""),
                     str(facts.get("description") or "")))  # fmt: skip
    tables = [_words("Models", columns, models)]
    tables.append(_words("Data", ("dataset", "declared as", "hash of its items", "what"), data))
    return [table for table in tables if table.n_rows]


def _words(caption: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> PageTable:
    """A table of words; columns with nothing in them are left out."""
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in rows)]
    return PageTable.plain(
        caption, [columns[i] for i in kept], [[row[i] for i in kept] for row in rows], len(kept)
    )


def _commands(run: RecordedRun, file: Path) -> str:
    """The commands that make the run and its report anew."""
    manifest, folder = run.manifest, run.path
    source = str(manifest.get("source") or "text")
    if source.startswith("bundled "):
        recipe = source.removeprefix("bundled ")
    elif source == "text":
        recipe = str(folder / "recipe.mfv")
    else:
        recipe = os.path.normpath(os.path.join(folder, source))
    words = ["mfv", "run", recipe]
    words += ["--profile", str(manifest["profile"])] if manifest.get("profile") else []
    for name in ("set", "only"):
        for value in manifest.get(name) or ():
            words += [f"--{name}", str(value)]
    words += ["--out", str(folder)]
    report = ["mfv", "report", str(folder)]
    if file.resolve() != (folder / "report.html").resolve():
        report += ["--out", str(file)]
    return f"{shlex.join(words)}\n{shlex.join(report)}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
