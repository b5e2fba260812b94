"""Which lines of a table a figure shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from mfv_dsl.base.columns import ALL, cell, free_name
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.pivot import NONE
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.report.figures.conditions import Row

_POOLED = "relation"


def selected(rows: Sequence[Row], where: Mapping[str, Sequence[str]]) -> list[Row]:
    """The lines whose columns are what ``where`` says: by column texts in which ``*`` stands for
    anything, ``none`` for nothing, and of relations ``all`` for all together.

    Raises MfvError (MFV6131) for a column or value that no line has.
    """
    kept = list(rows)
    for column, wanted in where.items():
        columns = dict.fromkeys(name for row in rows for name in row)
        if column not in columns:
            raise _unknown(f"the lines have no column `{column}`", column, list(columns))
        relations = {row.get(_POOLED) for row in rows}
        nothing = free_name(ALL, relations) if column == _POOLED else NONE
        there = dict.fromkeys(_text(row.get(column), nothing) for row in kept)
        chosen: set[str] = set()
        for text in wanted:
            # a name may itself have letters such as `[`
            found = [text] if text in there else [n for n in there if fnmatchcase(n, text)]
            if not found:
                raise _unknown(f"no line has `{column}` = `{text}`", text, list(there))
            chosen.update(found)
        kept = [row for row in kept if _text(row.get(column), nothing) in chosen]
    return kept


def _text(value: Any, nothing: str) -> str:
    return nothing if value in (None, "") else cell(value)


def _unknown(message: str, text: str, names: list[str]) -> MfvError:
    listed = ", ".join(f"`{name}`" for name in names[:20]) + (", …" if len(names) > 20 else "")
    return MfvError("MFV6131", message, help=did_you_mean(text, names, f"there are: {listed}"))
