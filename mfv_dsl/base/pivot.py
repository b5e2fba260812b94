"""Records as a table of rows and columns: which field runs down, which across, what stands in a
cell.

A :class:`Record` is one measurement: its fields (``eval``, ``relation``, ``layer``, …) and what can
be shown of it (``accuracy``, ``difference``, …), as text.  Where they come from is
:mod:`mfv_dsl.execute.records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mfv_dsl.base.columns import ALL
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.base.table_text import TextTable

#: What a field without a value is called, and a cell without a measurement.
NONE, MISSING = "none", "–"
#: The field that tells several values of one record from each other.
VALUE = "value"
#: The field whose value for all relations together comes after all others, whatever the order of
#: the records.
_POOLED = "relation"


@dataclass(frozen=True)
class Record:
    """One measurement: its ``fields`` and what can be shown of it, each by name, as text.

    ``described`` names fields that are put together from others.
    """

    fields: Mapping[str, str]
    values: Mapping[str, str]
    described: tuple[str, ...] = ("condition",)


@dataclass(frozen=True)
class Label:
    """Another name for what matches ``pattern`` (``*``, ``?``, ``[ab]``), in a field or in all."""

    pattern: str
    text: str
    field: str | None = None


def pivot(
    records: Sequence[Record],
    rows: Sequence[str],
    cols: Sequence[str],
    values: Sequence[str],
    where: Mapping[str, Sequence[str]] | None = None,
    labels: Sequence[Label] = (),
    first: int | None = None,
    corner: str | None = None,
) -> TextTable:
    """A table of records.

    Args:
        records: The measurements; rows and columns are in the order in which they come, ``all``
            relations last.
        rows: The fields that run down, their texts joined where there are several.
        cols: The fields that run across.
        values: What stands in the cells; of several, each has its column, or its row where
            ``value`` is among ``rows``.
        where: By field the texts that are kept.
        labels: Other names.  What gets one name becomes one row or column.
        first: How many rows are kept.
        corner: What stands over the rows' names, by default the names of their fields.

    Raises:
        MfvError: MFV6110 for a field or value that no record has, MFV6111 where two records fall
            into one cell, MFV6112 where ``where`` leaves none or a label matches nothing.
    """
    if len(values) > 1 and VALUE not in (*rows, *cols):
        cols = [*cols, VALUE]
    _check_fields(records, [*rows, *cols, *(where or {})], values)
    kept = _kept(records, where or {})
    names = _Names(labels)
    in_parentheses = f"({ALL})"
    there_too = any(record.fields.get(_POOLED) == in_parentheses for record in records)
    last = in_parentheses if there_too else ALL
    cells: dict[tuple[str, str], tuple[Record, str]] = {}
    ranks: tuple[dict[str, bool], dict[str, bool]] = ({}, {})
    for record in kept:
        for value in values:
            text = record.values.get(value, record.fields.get(value, MISSING))
            fields = {**record.fields, VALUE: value}
            key = names.of(fields, rows), names.of(fields, cols)
            for rank, name, along in zip(ranks, key, (rows, cols), strict=True):
                rank.setdefault(name, _POOLED in along and fields.get(_POOLED) == last)
            there = cells.get(key)
            if there is None or there[1] == MISSING:
                cells[key] = record, text
            elif text != MISSING:
                _ambiguous(key, there[0], record, [*rows, *cols])
    names.check(labels)
    down, across = ([*sorted(rank, key=lambda name: rank[name])] for rank in ranks)
    lines = [
        (name, *(cells[name, column][1] if (name, column) in cells else MISSING
                 for column in across))
        for name in down[:first]
    ]  # fmt: skip
    head = ", ".join(rows) if corner is None else corner
    return TextTable((head, *across), tuple(lines))


def _kept(records: Sequence[Record], where: Mapping[str, Sequence[str]]) -> list[Record]:
    kept = list(records)
    for field, wanted in where.items():
        there = dict.fromkeys(record.fields.get(field, NONE) for record in kept)
        for text in wanted:
            if not any(fnmatchcase(name, text) for name in there):
                _nothing(f"no row has `{field}` = `{text}`", text, there)
        kept = [
            record
            for record in kept
            if any(fnmatchcase(record.fields.get(field, NONE), text) for text in wanted)
        ]
    if not kept:
        raise MfvError("MFV6112", "there are no rows to make a table of")
    return kept


class _Names:
    """What rows and columns are called; which labels were of use."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self.labels = labels
        self.used: set[Label] = set()
        self.seen: dict[str, None] = {}

    def of(self, fields: Mapping[str, str], along: Sequence[str]) -> str:
        """The texts of the fields ``along``, with their labels, joined."""
        texts = [fields.get(field, NONE) for field in along]
        whole = self._label(", ".join(texts), None) if len(along) > 1 else None
        if whole is not None:
            return whole
        parts = []
        for text, field in zip(texts, along, strict=True):
            label = self._label(text, field)
            parts.append(text if label is None else label)
        return ", ".join(part for part in parts if part)

    def _label(self, text: str, field: str | None) -> str | None:
        self.seen[text] = None
        found = None
        for label in self.labels:
            if label.field in (None, field) and fnmatchcase(text, label.pattern):
                self.used.add(label)
                found = label.text if found is None else found
        return found

    def check(self, labels: Sequence[Label]) -> None:
        """Raise MFV6112 for a label that nothing in the table has."""
        for label in labels:
            if label not in self.used:
                _nothing(f"nothing here is called `{label.pattern}`", label.pattern, self.seen)


def _check_fields(records: Sequence[Record], fields: Sequence[str], values: Sequence[str]) -> None:
    there = [*dict.fromkeys(name for record in records for name in record.fields), VALUE]
    shown = dict.fromkeys(name for record in records for name in record.values)
    for name in fields:
        if name not in there:
            _unknown("field", name, there)
    for name in values:
        if name not in shown and name not in there:
            _unknown("value", name, [*shown, *there])


def _unknown(what: str, name: str, there: Sequence[str]) -> None:
    raise MfvError(
        "MFV6110", f"the results have no {what} `{name}`",
        help=did_you_mean(name, there, f"there are: {', '.join(there)}"),
    )  # fmt: skip


def _nothing(message: str, text: str, there: Iterable[str]) -> None:
    names = list(there)
    listed = ", ".join(f"`{name}`" for name in names[:20]) + (", …" if len(names) > 20 else "")
    raise MfvError("MFV6112", message, help=did_you_mean(text, names, f"there are: {listed}"))


def _ambiguous(key: tuple[str, str], first: Record, second: Record, along: Sequence[str]) -> None:
    apart = list(_apart(first, second, along))
    cell = " / ".join(name for name in key if name)
    if not apart:
        raise MfvError(
            "MFV6111", f"two rows fall into the cell {cell}, and no field tells them apart",
            help="was one folder given twice, or did two things get one label?",
        )  # fmt: skip
    raise MfvError(
        "MFV6111", f"two rows fall into the cell {cell}",
        notes=[
            f"`{field}` is {first.fields.get(field, NONE)} in one and "
            f"{second.fields.get(field, NONE)} in the other"
            for field in apart
        ],
        help=f"put {' or '.join(f'`{field}`' for field in apart)} into rows or columns, or keep "
        f"one of them by --where {apart[0]}={first.fields.get(apart[0], NONE)}",
    )  # fmt: skip


def _apart(first: Record, second: Record, along: Sequence[str]) -> Iterator[str]:
    """The fields in which two records differ: those that rows and columns have not, first."""
    fields = [f for f in dict.fromkeys([*first.fields, *second.fields]) if f not in first.described]
    for field in sorted(fields, key=lambda field: field in along):
        if first.fields.get(field, NONE) != second.fields.get(field, NONE):
            yield field
