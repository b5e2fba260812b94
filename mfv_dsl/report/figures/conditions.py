"""What tells the rows of a run apart: which fields are swept, what conditions are called, which
rows are drawn when nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from mfv_dsl.base.columns import cell
from mfv_dsl.lang.sweeps import COLUMNS

Row = Mapping[str, Any]
#: The fields that tell the conditions of an eval apart, and how a condition says each.
CONDITION = {"vector": "", "control": "", "shots": "shots ", "k": "k ", "layer": "layer ",
             "scale": "scale "}  # fmt: skip
#: How the columns begin that hold what is compared, or measured off the task.
_BESIDE = ("vs_", "off_task_")


def axes_of(rows: Sequence[Row]) -> list[str]:
    """The sweeps that evals are read for, which have columns of their own."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name not in COLUMNS and not name.startswith(_BESIDE)]


def swept(rows: Sequence[Row]) -> list[str]:
    """The fields, of conditions and sweeps, that have several values in ``rows``."""
    fields = (*CONDITION, *axes_of(rows))
    return [field for field in fields if len({_plain(row.get(field)) for row in rows}) > 1]


def measured(rows: Sequence[Row], value: str = "accuracy") -> tuple[list[Row], str]:
    """The rows that have a value, and what must be said of the others."""
    kept = [row for row in rows if is_number(row.get(value))]
    failed = sum(bool(row.get("error")) for row in rows)
    broken = sum(isinstance(row.get(value), float) and not is_number(row[value]) for row in rows)
    notes = [
        f"{_rows(failed)} no numbers as the condition failed." if failed else "",
        f"{_rows(broken)} no finite number and {'is' if broken == 1 else 'are'} not drawn."
        if broken else "",
    ]  # fmt: skip
    return kept, " ".join(filter(None, notes))


def is_number(value: object) -> bool:
    """Whether a value can be drawn: a finite number, no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count} rows have"


def without_draws(rows: Sequence[Row], x: str | None = None) -> list[Row]:
    """The rows of the mean over seeds in place of those of each seed, where there are such, unless
    the seeds run along ``x``."""
    means: dict[str, set[str]] = {}
    for row in rows:
        if row.get("draws"):
            seeds = {name for name in axes_of([row]) if row.get(name) == "mean"}
            means.setdefault(_of(row), set()).update(seeds)
    kept = []
    for row in rows:
        seeds = means.get(_of(row), set())
        if not seeds or (x in seeds) != bool(row.get("draws")):
            kept.append(row)
    return kept


def _of(row: Row) -> str:
    return f"{row.get('run', '')}\0{row.get('eval')}"


def called(rows: Sequence[Row], but: Sequence[str] = ()) -> list[str]:
    """What each row's condition is called: its run where there are several, its eval, and what is
    swept within that; the fields in ``but`` are left out."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_of(row), []).append(row)
    fields = {
        name: [field for field in _swept_within(group) if field not in but]
        for name, group in groups.items()
    }
    several = len({row.get("run") for row in rows}) > 1
    names = []
    for row in rows:
        parts = [str(row["run"])] if several and "run" not in but else []
        parts += [str(row["eval"])] if "eval" not in but else []
        for field in fields[_of(row)]:
            if (value := row.get(field)) not in (None, ""):
                parts.append(f"{CONDITION.get(field, f'{field} ')}{cell(value)}")
        names.append(", ".join(parts))
    return names


def _swept_within(rows: Sequence[Row]) -> list[str]:
    """The fields that have several values on one and the same relation."""
    by_relation: dict[Any, list[Row]] = {}
    for row in rows:
        by_relation.setdefault(row.get("relation"), []).append(row)
    found = dict.fromkeys(field for group in by_relation.values() for field in swept(group))
    order = (*CONDITION, *axes_of(rows))
    return [field for field in order if field in found]


def _plain(value: Any) -> str:
    return "" if value is None else cell(value)
