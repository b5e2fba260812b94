"""Result rows as columns of text, for tables in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mfv_dsl.base.columns import (
    CHOICE_COLUMNS,
    OFF_TASK_COLUMNS,
    OTHER,
    RESULT_COLUMNS,
    Column,
    ResultFields,
    answer_column,
    cell,
    comparison_columns,
    difference_column,
    free_name,
    relations_in,
    with_names,
)

if TYPE_CHECKING:
    from mfv_dsl.execute.results import ResultRow

#: the columns that say which condition a row is
_CONDITION = ("eval", "relation", "written", "vector", "control", "shots", "k", "layer", "scale")
#: column -> the metric that an eval must report for it
_METRIC = {"accuracy %": "accuracy", "p(answer)": "p_answer", "vs zero-shot": "accuracy"}


def result_columns(
    rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    """Columns by title; accuracies in per cent with 95 % intervals.  What no row has is left out,
    and the scale where it is 1 in all.  ``metrics`` are what each eval reports."""
    fields = with_names([row.to_json() for row in rows])

    def reported(column: Column, metric: str) -> list[str]:
        """The column's cells, empty for evals that do not report the metric."""
        return [cell(column.value(row)) if metric in metrics[row["eval"]] else "" for row in fields]

    columns = _conditions(fields)
    columns |= {title: _cells(RESULT_COLUMNS[title], fields) for title in ("n", "opened %")}
    for title, metric in _METRIC.items():
        columns[title] = reported(RESULT_COLUMNS[title], metric)
        if title == "accuracy %":
            for beside in ("sd over seeds", "blind %"):
                columns[beside] = reported(RESULT_COLUMNS[beside], metric)
    for title, (metric, column) in CHOICE_COLUMNS.items():
        columns[title] = reported(column, metric)
    columns["vs zero-shot"] = [
        "" if _is_zero_shot(row) else text
        for row, text in zip(fields, columns["vs zero-shot"], strict=True)
    ]
    for name in dict.fromkeys(name for row in fields for name in row.get("against", {})):
        columns[f"vs {name}"] = reported(difference_column(name), "accuracy")
        for title, column in comparison_columns(name).items():
            columns[title] = reported(column, "accuracy")
    for title, (metric, column) in OFF_TASK_COLUMNS.items():
        columns[title] = reported(column, metric)
    return _with_content(columns)


def confusion_columns(
    rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]]
) -> dict[str, list[str]] | None:
    """Columns by title for the rows of evals that report their confusion, None where none does: of
    a relation the items in per cent whose answer was that relation's object."""
    rows_fields = [
        row.to_json() for row in rows if row.answers and "confusion" in metrics[row.eval]
    ]
    if not rows_fields:
        return None
    names = dict.fromkeys(name for row in rows_fields for name in row["answers"])
    fields, other = with_names(rows_fields), free_name(OTHER, relations_in(rows_fields))
    columns = _conditions(fields)
    for name in (*names, other):
        columns[f"→ {name}"] = _cells(answer_column(name), fields)
    return _with_content(columns)


def _conditions(fields: Sequence[ResultFields]) -> dict[str, list[str]]:
    columns = {title: _cells(RESULT_COLUMNS[title], fields) for title in _CONDITION[:2]}
    for name in dict.fromkeys(name for row in fields for name in row.get("axes", ())):
        columns[name] = [cell(row.get("axes", {}).get(name)) for row in fields]
    columns |= {title: _cells(RESULT_COLUMNS[title], fields) for title in _CONDITION[2:]}
    if all(row["scale"] in (None, 1) for row in fields):
        columns["scale"] = [""] * len(fields)
    return columns


def _cells(column: Column, fields: Iterable[ResultFields]) -> list[str]:
    return [cell(column.value(row)) for row in fields]


def _is_zero_shot(row: ResultFields) -> bool:
    """Whether the row is compared with itself, or with what answers exactly as it does."""
    return not any(row[name] for name in ("difference", "difference_low", "difference_high"))


def _with_content(columns: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {title: cells for title, cells in columns.items() if any(cells)}
