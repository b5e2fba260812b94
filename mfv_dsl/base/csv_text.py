"""Tables of a run as CSV: written, and read again with the types of their values."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

#: What a value is written as, and read from, beside numbers and texts.
_TRUTH = {"True": True, "False": False}


def csv_text(lines: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Lines as CSV with a header: ``columns``, then whatever else a line has.

    >>> csv_text([{"layer": 1, "scale": 0.5, "k": None}], ["layer"])
    'layer,scale,k\\n1,0.5,\\n'
    """
    names = dict.fromkeys([*columns, *(name for line in lines for name in line)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def csv_rows(text: str, words: Collection[str]) -> list[dict[str, Any]]:
    """The lines of a CSV by column: numbers and truth values as such but in the columns ``words``,
    None for nothing.  Raises ValueError for what is no CSV, and for lines of another length than
    the header.

    >>> csv_rows("name,layer,low\\n1,1,\\n", {"name"})
    [{'name': '1', 'layer': 1, 'low': None}]
    """
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if not lines or len(set(lines[0])) < len(lines[0]):
        raise ValueError("it has no header")
    header, *rest = lines
    for number, line in enumerate(rest, 2):
        if len(line) != len(header):
            raise ValueError(f"line {number} has {len(line)} cells, the header {len(header)}")
    return [
        {name: (cell or None) if name in words else typed(cell)
         for name, cell in zip(header, line, strict=True)}
        for line in rest
    ]  # fmt: skip


def typed(cell: str) -> Any:
    """A cell as the number or truth value that it is written of, else as text; None for nothing.

    >>> typed("2"), typed("0.5"), typed("True"), typed("native"), typed("")
    (2, 0.5, True, 'native', None)
    """
    if cell == "":
        return None
    if cell in _TRUTH:
        return _TRUTH[cell]
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
