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
    None for nothing.  Raises ValueError for lines of another length than the header.

    >>> csv_rows("name,layer,low\\n1,1,\\n", {"name"})
    [{'name': '1', 'layer': 1, 'low': None}]
    """
    lines = list(csv.reader(io.StringIO(text), strict=True))
    if not lines or len(set(lines[0])) < len(lines[0]):
        raise ValueError("it has no header")
    header, *rest = lines
    for number, line in enumerate(rest, 2):
        if len(line) != len(header):
            raise ValueError(f"line {number} has {len(line)} cells, the header {len(header)}")
    return [
        {name: _value(cell, name in words) for name, cell in zip(header, line, strict=True)}
        for line in rest
    ]


def _value(cell: str, is_word: bool) -> Any:
    if cell == "":
        return None
    if is_word:
        return cell
    if cell in _TRUTH:
        return _TRUTH[cell]
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
