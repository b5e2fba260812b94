"""The tables of a run, read from its folder: lines of typed values by column, the same as in its
CSV files.  Neither the store nor a model is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mfv_dsl.base.arguments import text
from mfv_dsl.base.csv_text import csv_rows, typed
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.execute.item_lines import AFTER, BEFORE, read_items
from mfv_dsl.execute.run_files import csv_of, effects_in, json_of, results_of, unknown_form
from mfv_dsl.execute.tables import (
    COLUMNS,
    EPOCHS,
    HEADS,
    LATER,
    NORMS,
    OF_RESULTS,
    OPTIONS,
    SIMILARITY,
    Line,
    first_columns,
)

#: Columns whose values are words whatever they look like, in every table of a CSV file.
_WORDS = ("step", "relation", "by", "tune", "variable", "vector", "other", "model", "dataset",
          "image", "place", "question", "text")  # fmt: skip


class RunTables:
    """The tables of the run in a folder.

    Raises MfvError (MFV6113), when one is asked for, where the folder is no run's, or its run was
    stopped while it wrote; MFV6114 where a newer version wrote it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, list[Line]] = {}

    @cached_property
    def results(self) -> dict[str, Any]:
        """The data of ``results.json`` in today's form."""
        return results_of(self.folder)

    def lines(self, name: str) -> list[Line]:
        """The lines of a table, none where the run has nothing of the kind.  Raises MfvError
        (MFV6133) for a name that is no table's."""
        if text(name, "a table") not in TABLES:
            raise MfvError(
                "MFV6133", f"a run has no table `{name}`",
                help=did_you_mean(name, TABLES, f"it has: {', '.join(TABLES)}"),
            )  # fmt: skip
        try:
            if name not in self._read:
                self._read[name] = TABLES[name](self)
            return self._read[name]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise unknown_form(self.folder, repr(error)) from None

    def columns(self, name: str) -> list[str]:
        """The columns of a table, in the order of its CSV file."""
        if name in OF_RESULTS:
            columns: tuple[str, ...] = OF_RESULTS[name].columns
        elif name == "items":
            columns = () if self.has(name) else (*BEFORE, *AFTER)
        else:
            columns = COLUMNS.get(_FILES.get(name, ""), ())
        return first_columns(self.lines(name), columns)

    def has(self, name: str) -> bool:
        """Whether a table has lines."""
        return bool(self.lines(name))


def _of_results(name: str) -> Callable[[RunTables], list[Line]]:
    return lambda run: OF_RESULTS[name].lines(run.results)


def _of_csv(
    file: str, older: Callable[[RunTables], list[Line]] = lambda _: []
) -> Callable[[RunTables], list[Line]]:
    """The lines of a CSV file; of a run of an older version, which has none, what ``older`` makes
    of its other files."""

    def lines(run: RunTables) -> list[Line]:
        _ = run.results  # the folder is a run's
        text = csv_of(run.folder, file)
        if text is None:
            return older(run)
        found = csv_rows(text, _WORDS)
        for column in COLUMNS[file] if found else ():
            if column not in found[0] and column not in LATER:
                raise ValueError(f"{file} has no column `{column}`")
        return found

    return lines


def _older_heads(run: RunTables) -> list[Line]:
    """The effects in ``aie/``."""
    found = effects_in(run.folder)
    if not found:
        return []
    place = {step["key"]: n for n, step in enumerate(json_of(run.folder, "plan.json")["steps"])}
    effects = sorted(found, key=lambda effect: place[effect[0]["step"]])
    columns = {"score": "aie", "low": "aie_low", "high": "aie_high", "p": "aie_p",
               "accuracy_change": "accuracy_change"}  # fmt: skip
    parameters = [said["parameters"] for said, _ in effects]
    names = dict.fromkeys(name for each in parameters for name in each)
    differing = [
        name for name in names
        if name not in ("relation", "by") and len({str(e.get(name)) for e in parameters}) > 1
    ]  # fmt: skip
    return [
        {
            "step": said["step"][:8], "relation": said["relation"],
            "by": said["parameters"].get("by", "aie"), "layer": layer, "head": head,
            **{column: float(arrays[array][layer, head])
               for column, array in columns.items() if array in arrays},
            "n": said["n"],
            **{name: said["parameters"].get(name) for name in differing},
        }
        for said, arrays in effects
        for layer in range(arrays["aie"].shape[0])
        for head in range(arrays["aie"].shape[1])
    ]  # fmt: skip


def _older_epochs(run: RunTables) -> list[Line]:
    """The epochs in ``tune/``."""
    lines: list[Line] = []
    for tune in run.results.get("tunes", ()):
        lines += _epochs(run.folder, tune)
    return lines


def _epochs(folder: Path, tune: Mapping[str, Any]) -> list[Line]:
    axes = tune.get("axes", {})
    for file in sorted((folder / "tune").rglob("*.json")):
        data = json_of(file.parent, file.name)
        of = data["tune"], data["relation"], data.get("axes", {})
        if of == (tune["tune"], tune["relation"], axes):
            said = {"tune": data["tune"], "relation": data["relation"], **axes,
                    "variable": tune["variable"], "layer": tune["layer"]}  # fmt: skip
            return [
                {**said, "epoch": epoch["epoch"], "chosen": epoch["epoch"] == data["chosen"],
                 "n": data["n"], **{name: epoch[name] for name in epoch if name != "epoch"}}
                for epoch in data["epochs"]
            ]  # fmt: skip
    return []


def _items(run: RunTables) -> list[Line]:
    """Every item under every condition; none where the run keeps none, as older ones."""
    _ = run.results
    lines = []
    for item in read_items(run.folder) or ():
        line = item._asdict()
        axes = {name: typed(value) for name, value in line.pop("axes")}
        line |= {name: typed(line[name]) for name in ("shots", "layer", "scale", "k")}
        before, after = ({name: line[name] for name in names} for names in (BEFORE, AFTER))
        lines.append({**before, **axes, **after})
    return lines


_FILES = {"heads": HEADS, "epochs": EPOCHS, "norms": NORMS, "similarity": SIMILARITY,
          "options": OPTIONS}  # fmt: skip
#: Every table of a run by name, and what gives its lines.
TABLES: Mapping[str, Callable[[RunTables], list[Line]]] = {
    **{name: _of_results(name) for name in OF_RESULTS},
    "items": _items,
    "heads": _of_csv(HEADS, _older_heads),
    "epochs": _of_csv(EPOCHS, _older_epochs),
    "norms": _of_csv(NORMS),
    "similarity": _of_csv(SIMILARITY),
    "options": _of_csv(OPTIONS),
}
