"""The tables of a run: lines of plain values by column, as its CSV files hold them.

Those made of ``results.json`` are functions of its data, :data:`OF_RESULTS`; those that a run
computes of its values beside are in :mod:`mfv_dsl.execute.value_tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfv_dsl.base.csv_text import csv_text
from mfv_dsl.execute.rows import ALWAYS, CONDITION

Line = dict[str, Any]
#: What a comparison with another eval says beside the difference and its interval.
TESTS = ("p", "p_holm", "q_bh", "family", "margin", "no_worse", "p_no_worse", "equivalent",
         "p_equivalent")  # fmt: skip
#: Files of what is computed of values, and the columns that each has.
HEADS, EPOCHS, NORMS, SIMILARITY = "heads.csv", "epochs.csv", "norms.csv", "similarity.csv"
OPTIONS = "options.csv"
COLUMNS: Mapping[str, tuple[str, ...]] = {
    HEADS: ("step", "relation", "by", "layer", "head", "score", "low", "high", "p",
            "p_holm", "q_bh", "accuracy_change", "n"),
    EPOCHS: ("tune", "relation", "variable", "layer", "epoch", "chosen", "n", "loss",
             "off_task_kl", "accuracy", "nll", "norm"),
    NORMS: ("step", "vector", "layer", "heads", "norm"),
    SIMILARITY: ("vector", "other", "cosine"),
    OPTIONS: (*CONDITION, "split", "image", "place", "question", "option", "text", "right",
              "chosen", "p", "log_p", "tokens"),
}  # fmt: skip

#: Columns that files of earlier versions do not have.
LATER = frozenset(("p_holm", "q_bh"))


@dataclass(frozen=True)
class Table:
    """A table: its lines, of the data of ``results.json`` in today's form, the columns that it has
    whatever the lines, its CSV file, and whether that is written where it has no lines."""

    lines: Callable[[Mapping[str, Any]], list[Line]]
    columns: tuple[str, ...]
    file: str
    always: bool = False


def result_lines(data: Mapping[str, Any]) -> list[Line]:
    """A line for each condition and relation, None for all relations together.  Only where a row
    needs them there are columns ``vector``, ``k``, ``control``, ``written``, ``opened``, one for
    each sweep that evals are read for, ``draws`` and ``spread`` of means over seeds, ``vs_NAME``
    with its interval, ``vs_NAME_low`` and ``vs_NAME_high``, and its :data:`TESTS`, such as
    ``vs_NAME_p``, for each eval compared with, ``off_task_kl`` and others of what is measured off
    the task, and ``error``.  Where an eval's own name ends so that two columns would be called
    alike, they are ``vs_NAME.low`` and so on."""
    names = {name for row in data["rows"] for name in row.get("against", ())}
    clash = any(f"{name}_{end}" in names for name in names for end in ("low", "high", *TESTS))
    of = "." if clash else "_"
    lines = []
    for row in data["rows"]:
        line = _with_axes(row)
        line.pop("answers", None)
        line.pop("answers_other", None)
        for name, value in (line.pop("off_task", None) or {}).items():
            line[f"off_task_{name}"] = value
        if error := line.get("error"):
            line["error"] = error["code"]
        for name, gain in line.pop("against", {}).items():
            line |= {
                f"vs_{name}": gain["difference"],
                f"vs_{name}{of}low": gain["low"],
                f"vs_{name}{of}high": gain["high"],
                **{f"vs_{name}{of}{test}": gain[test] for test in TESTS if test in gain},
            }
        lines.append(line)
    return lines


def confusion_lines(data: Mapping[str, Any]) -> list[Line]:
    """A line for each row and relation whose object may be the answer: the share of items with that
    answer; without a relation, of those whose answer was no relation's."""
    empty = {"control": ""}
    return [
        {name: row.get(name, empty.get(name)) for name in (*CONDITION, "n")}
        | {**row.get("axes", {}), "answered": answered, "share": share}
        for row in data["rows"]
        for answered, share in (
            *row.get("answers", {}).items(), (None, row.get("answers_other")),
        )
        if share is not None
    ]  # fmt: skip


def choice_lines(data: Mapping[str, Any]) -> list[Line]:
    """What was tried to settle ``choose``, a line for each condition and relation."""
    return [_with_axes(choice) for choice in data.get("choices", ())]


def number_lines(data: Mapping[str, Any]) -> list[Line]:
    """The numbers of reports, a line for each."""
    return [_with_axes(row) for row in data.get("numbers", ())]


def tune_lines(data: Mapping[str, Any]) -> list[Line]:
    """Trained vectors, a line for each."""
    return [_with_axes(row) for row in data.get("tunes", ())]


def weight_lines(data: Mapping[str, Any]) -> list[Line]:
    """The mean weights of blends' candidates, a line for each."""
    return [
        {**_with_axes({name: row[name] for name in row if name != "weights"}),
         "candidate": weight["vector"], "weight": weight["weight"]}
        for row in data.get("weights", ())
        for weight in row["weights"]
    ]  # fmt: skip


def _with_axes(row: Mapping[str, Any]) -> Line:
    """A row in which the values of sweeps stand beside the other fields."""
    line = dict(row)
    return line | dict(line.pop("axes", None) or {})


OF_RESULTS: Mapping[str, Table] = {
    "rows": Table(result_lines, ALWAYS, "results.csv", always=True),
    "confusion": Table(
        confusion_lines, (*CONDITION, "n", "answered", "share"), "confusion.csv", always=True
    ),
    "choices": Table(
        choice_lines,
        ("eval", "relation", "shots", "split", "layer", "scale", "n", "accuracy"),
        "choices.csv",
        always=True,
    ),
    "numbers": Table(number_lines, ("number", "relation", "value"), "numbers.csv"),
    "tunes": Table(tune_lines, ("tune", "relation"), "tunes.csv"),
    "weights": Table(weight_lines, ("eval", "relation", "candidate", "weight"), "weights.csv"),
}


#: The CSV files that some runs have.
SOMETIMES = (
    *(table.file for table in OF_RESULTS.values() if not table.always),
    *COLUMNS,
)  # fmt: skip


def result_files(data: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the CSV files that are made of the data of ``results.json``, by name."""
    made = {table.file: (table, table.lines(data)) for table in OF_RESULTS.values()}
    return {
        file: csv_text(lines, table.columns)
        for file, (table, lines) in made.items()
        if lines or table.always
    }


def first_columns(lines: Sequence[Line], columns: Sequence[str]) -> list[str]:
    """The columns of lines in the order of their file."""
    return list(dict.fromkeys([*columns, *(name for line in lines for name in line)]))
