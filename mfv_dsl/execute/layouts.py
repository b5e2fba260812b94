"""How a table of records is laid out where nobody says: by the kind of results, and by what tells
its records apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from mfv_dsl.base.pivot import NONE, Record

#: By the kind of results the fields that run down, and those that run across.
_USUAL: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "answers": (("relation",), ("answered",)),
    "numbers": (("number",), ("relation",)),
    "heads": (("head",), ("relation",)),
    "weights": (("candidate",), ("relation",)),
    "tunes": (("tune",), ("relation",)),
    "cost": (("vector",), ("what",)),
}
_OF_EVALS = (("condition",), ("relation",))
#: The fields that are looked at first for what tells records apart.
_FIRST = ("run", "condition")


def layout(
    kind: str,
    records: Sequence[Record],
    rows: Sequence[str],
    cols: Sequence[str],
    where: Mapping[str, Sequence[str]],
) -> tuple[list[str], list[str]]:
    """The fields that run down and across a table of records of a kind, where ``rows`` or ``cols``
    are left out: the usual ones, and before the rows what else tells the records that ``where``
    keeps apart, such as their run.

    >>> two = [Record({"number": "norm(v)", "relation": "left", "run": run}, {"value": "1"})
    ...        for run in ("a", "b")]
    >>> layout("numbers", two, [], [], {})
    (['run', 'number'], ['relation'])
    """
    down, across = _USUAL.get(kind, _OF_EVALS)
    if not cols:
        cols = down if {*across} <= {*rows} else across
    if rows:
        return [*rows], [*cols]
    rows = [name for name in (*down, *across) if name not in cols][: len(down)]
    kept = [record for record in records if _fits(record, where)]
    names = dict.fromkeys(name for record in kept for name in record.fields)
    for name in [*(n for n in _FIRST if n in names), *(n for n in names if n not in _FIRST)]:
        if name not in (*rows, *cols) and _tells_apart(kept, name, [*rows, *cols]):
            rows = [name, *rows]
    return rows, [*cols]


def _fits(record: Record, where: Mapping[str, Sequence[str]]) -> bool:
    return all(
        any(fnmatchcase(record.fields.get(field, NONE), text) for text in wanted)
        for field, wanted in where.items()
    )


def _tells_apart(records: Sequence[Record], name: str, along: Sequence[str]) -> bool:
    """Whether a field differs between records that would fall into one cell."""
    seen: dict[tuple[str, ...], str] = {}
    for record in records:
        cell = tuple(record.fields.get(field, NONE) for field in along)
        if seen.setdefault(cell, record.fields.get(name, NONE)) != record.fields.get(name, NONE):
            return True
    return False
