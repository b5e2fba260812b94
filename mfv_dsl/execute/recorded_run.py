"""A run as its folder tells of it: read without torch, without a model, and without the store."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mfv_dsl.base.columns import cell
from mfv_dsl.base.short import Short
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_text
from mfv_dsl.execute.item_lines import BEFORE, ItemLine, read_items
from mfv_dsl.execute.rows import Results
from mfv_dsl.execute.run_files import PLAN, csv_of, json_of, results_of, unknown_form
from mfv_dsl.execute.run_folder import MANIFEST, RECIPE, is_within
from mfv_dsl.execute.run_tables import RunTables
from mfv_dsl.execute.tables import COLUMNS, OPTIONS, Line
from mfv_dsl.lang.entries import PLACED

CHOSEN = "chosen"  # in place of what was settled for each relation
_AGAIN = "run the recipe again; its finished steps are kept"


@dataclass(frozen=True, repr=False)
class RecordedRun(Short):
    """What the folder of a run holds.

    ``items`` is None where it has no file of them; ``heads`` are the lines of ``heads.csv``;
    ``plan`` is as in ``plan.json``; ``tunes`` are the files of trainings; ``used`` are the texts of
    the files that the recipe uses, by name.
    """

    path: Path
    name: str
    manifest: Mapping[str, Any]
    recipe: str
    used: Mapping[str, str]
    plan: Mapping[str, Any]
    results: Results
    items: list[ItemLine] | None
    heads: list[Line]
    tunes: list[Mapping[str, Any]]

    @cached_property
    def metrics(self) -> dict[str, tuple[str, ...]]:
        """What each eval reports."""
        known = {row["eval"]: tuple(row["metrics"]) for row in self.plan["rows"]}
        default = ("accuracy", "p_answer")
        return {row.eval: known.get(row.eval, default) for row in self.results.rows}

    @cached_property
    def steps(self) -> dict[str, Mapping[str, Any]]:
        """The plan's steps by key."""
        return {step["key"]: step for step in self.plan["steps"]}

    @cached_property
    def choose(self) -> dict[str, tuple[str, ...]]:
        """By eval, what was settled for each relation."""
        return {
            row["eval"]: tuple(
                "vector" if name in PLACED else name
                for name in self.steps[row["step"]]["parameters"].get("choose") or ()
            )
            for row in self.plan["rows"]
        }

    @cached_property
    def _datasets(self) -> dict[tuple[Any, ...], str]:
        """The names of datasets by eval, relation, shots and values of sweeps."""
        return {
            (
                row["eval"], row["relation"], str(row["shots"]),
                tuple((name, cell(value)) for name, value in row.get("axes", {}).items()),
            ): self.steps[row["step"]]["dataset"]
            for row in self.plan["rows"]
        }  # fmt: skip

    def dataset_of(self, line: ItemLine) -> str:
        """The name of the dataset that an item is of; empty where the plan does not say."""
        return self._datasets.get((line.eval, line.relation, line.shots, line.axes), "") or ""

    def dataset_hash(self, name: str) -> str | None:
        """The hash of a dataset's items and pictures, where the plan has it."""
        facts = self.plan["datasets"].get(name, {}).get("facts") or {}
        return facts.get("hash")

    @cached_property
    def _options(self) -> dict[tuple[Any, ...], list[str]]:
        """The options of every question with their probabilities, as people read them, by the
        condition and the item; their order is the question's."""
        found: dict[tuple[Any, ...], list[str]] = {}
        text = csv_of(self.path, OPTIONS)
        try:
            for row in csv.DictReader(io.StringIO(text or "", newline="")):
                axes = frozenset(
                    (name, value)
                    for name, value in row.items()
                    if name not in COLUMNS[OPTIONS] and value != ""
                )
                key = (*(row[name] for name in BEFORE), axes, row["split"], row["image"],
                       row["place"], row["question"])  # fmt: skip
                found.setdefault(key, []).append(f"{row['text']} ({float(row['p']):.2f})")
        except (KeyError, ValueError, TypeError, csv.Error) as error:
            raise unknown_form(self.path, f"{OPTIONS}: {error!r}") from None
        return found

    def options_of(self, line: ItemLine) -> str:
        """The options of an item's question with their probabilities under its condition; empty
        where it has none."""
        key = (*line[: len(BEFORE)], frozenset(line.axes), line.split, line.image, line.place,
               line.query)  # fmt: skip
        return " · ".join(self._options.get(key, ()))

    def settled(self, line: ItemLine) -> ItemLine:
        """The line with ``chosen`` in place of what was settled for its relation."""
        fields = {name: CHOSEN for name in self.choose.get(line.eval, ()) if name in line._fields}
        return line._replace(**fields) if fields else line


def read_runs(folders: Sequence[Path]) -> list[RecordedRun]:
    """The runs in folders; those of one name are called by their paths.

    Raises MfvError: MFV6113 for a folder without a finished run, or whose files are damaged,
    MFV6114 for a run of a newer version.
    """
    runs = [_read(folder) for folder in folders]
    names = [run.name for run in runs]
    return [
        run if names.count(run.name) == 1 else replace(run, name=run.path.as_posix())
        for run in runs
    ]


def _read(folder: Path) -> RecordedRun:
    data = results_of(folder)
    manifest, plan = (_object(folder / name) for name in (MANIFEST, PLAN))
    try:
        run = RecordedRun(
            folder,
            folder.resolve().name,
            manifest,
            _text(folder / RECIPE),
            {name: _text(folder / name) for name in manifest.get("used") or () if is_within(name)},
            plan,
            Results.of_json(data),
            read_items(folder),
            RunTables(folder).lines("heads"),
            [_object(path) for path in sorted((folder / "tune").glob("*/*.json"))],
        )
        _ = run.metrics, run.choose, run._datasets  # which are read from the plan
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unknown_form(folder, repr(error)) from None
    return run


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    data = json_of(path.parent, path.name)
    if not isinstance(data, dict):
        raise unknown_form(path.parent, f"{path.name} holds no object")
    return data


def _text(path: Path) -> str:
    """A recipe's text; empty where it cannot be read."""
    with suppress(OSError, BadText):
        return read_text(path, LARGEST_CONFIG)
    return ""
