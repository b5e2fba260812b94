"""Values of JSON files with their place and type: what all readers of such files share.

A reader says of every value where it stands (``where``) and what it has to be; :class:`BadValue`
then tells both, and nothing else escapes for whatever JSON a file holds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.texts import BadText, excerpt, parse_json
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.text_files import read_json, read_text

#: What may stand around a line of JSON; files put together have byte order marks in their middle.
AROUND = " \t\f\v\u00a0\ufeff"
_LARGEST = 10**9  # pixels of a side: beyond all images, and numbers can still be multiplied


class BadValue(Exception):
    """Why a value cannot be understood, in words that follow the place of its entry; ``code`` and
    ``trouble`` are those of the finding that is made of it."""

    code, trouble = "MFV7107", "cannot be understood"


def value_of(record: Any, key: str, where: str) -> Any:
    """What stands under ``key`` in ``record``, which messages call ``where``.

    >>> value_of({"x": 1}, "y", "the box")
    Traceback (most recent call last):
    mfv_dsl.data.json_values.BadValue: the box has no `y`
    """
    if not isinstance(record, dict):
        raise BadValue(f"{where} is {shown(record)}, not an object `{{...}}`")
    if key not in record:
        raise BadValue(f"{where} has no `{key}`")
    return record[key]


def list_of(record: Any, key: str, where: str) -> list[Any]:
    """The list under ``key``."""
    value = value_of(record, key, where)
    if not isinstance(value, list):
        raise wrong(key, where, value, "a list")
    return value


def text_of(record: Any, key: str, where: str) -> str:
    """The text under ``key``, as it is written."""
    value = value_of(record, key, where)
    if not isinstance(value, str):
        raise wrong(key, where, value, "a text")
    return value


def id_of(record: Any, key: str, where: str) -> str:
    """The id under ``key``, a whole number or text, as text."""
    value = value_of(record, key, where)
    if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 30:
        raise wrong(key, where, value, "an id")
    return str(value)


def index_of(record: Any, key: str, where: str, count: int) -> int:
    """The whole number from 0 to ``count`` - 1 under ``key``."""
    value = value_of(record, key, where)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise wrong(key, where, value, f"a whole number below {count}")
    return value


def truth_of(record: Any, key: str, where: str) -> bool:
    """Whether true stands under ``key``: as true or 1, false or 0."""
    value = value_of(record, key, where)
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise wrong(key, where, value, "0 or 1, false or true")
    return bool(value)


def pixels_of(record: Any, key: str, where: str) -> float:
    """The number of pixels under ``key``."""
    value = value_of(record, key, where)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(key, where, value, "a number")
    if not abs(value) <= _LARGEST:  # nor is NaN
        raise wrong(key, where, value, "a number of pixels")
    return value


def four_pixels(record: Any, key: str, where: str) -> tuple[float, float, float, float]:
    """The four numbers of pixels of a box under ``key``, in the order of the file."""
    a, b, c, d = numbers_of(record, key, where, 4)
    return a, b, c, d


def numbers_of(record: Any, key: str, where: str, count: int) -> tuple[float, ...]:
    """The list of ``count`` numbers under ``key``, none of them beyond all images."""
    values = list_of(record, key, where)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(key, where, values, f"{count} numbers")
        if not abs(value) <= _LARGEST:  # nor is NaN
            raise wrong(key, where, values, f"{count} numbers of pixels")
    if len(values) != count:
        raise wrong(key, where, values, f"{count} numbers")
    return tuple(values)


def wrong(key: str, where: str, value: Any, wanted: str) -> BadValue:
    """That what stands under ``key`` is not what is ``wanted``."""
    return BadValue(f"`{key}` of {where} is {shown(value)}, not {wanted}")


def shown(value: Any) -> str:
    """A value as an error quotes it."""
    return excerpt(json.dumps(value), 40)


def cell_shown(value: Any) -> str:
    """A cell as an error quotes it."""
    try:
        return shown(value)
    except (TypeError, ValueError):  # bytes, dates and the like
        return f"a {type(value).__name__}"


# -- whole files ----------------------------------------------------------------------------------
def entries_of(
    path: Path, what: str, under: str | None = None, without: Collection[str] = ()
) -> list[Any]:
    """The list that a JSON file is, or that it has under a key; what stands under the keys
    ``without`` is not kept.

    Raises MfvError (MFV7106) for any other file; ``what`` says what the list is of.
    """
    content = read_json(path, without)
    if under is not None:
        if not isinstance(content, dict) or under not in content:
            raise MfvError("MFV7106", f"{path} is JSON, but has no `{under}`, a list of {what}")
        content = content[under]
    if not isinstance(content, list):
        raise MfvError("MFV7106", f"{path} is JSON, but no list of {what}")
    return content


def used_up(entries: list[Any]) -> Iterator[Any]:
    """The entries of a large file one after the other, each of which the list lets go of.

    >>> entries = [1, 2]
    >>> list(used_up(entries)), entries
    ([1, 2], [None, None])
    """
    for place, entry in enumerate(entries):
        entries[place] = None
        yield entry


def read_lines(path: Path) -> tuple[list[tuple[str, Any]], list[Finding]]:
    """What each line of a file of JSON lines says, with its place, and lines that say nothing."""
    return lines_of(read_text(path))


def lines_of(text: str) -> tuple[list[tuple[str, Any]], list[Finding]]:
    """What each line of JSON says, with its place, and what is wrong with lines that are none.

    >>> lines_of('{"a": 1}\\n\\n{')[0]
    [('line 1', {'a': 1})]
    """
    values: list[tuple[str, Any]] = []
    findings = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(AROUND)
        try:
            values += [(f"line {number}", parse_json(line))] if line else []
        except BadText as error:
            findings.append(Finding("error", "MFV7107", f"line {number}", str(error)))
    return values, findings


def not_understood(place: str, error: BadValue) -> Finding:
    """The finding of an entry with a value that is wrong."""
    return Finding("error", error.code, place, f"{error.trouble}: {error}")


def first_file(folder: Path, names: Sequence[str]) -> str:
    """The first of ``names`` that is a file in ``folder``, else the last: published sets lie in
    folders of several layouts."""
    for name in names[:-1]:
        try:
            if (folder / name).is_file():
                return name
        except (OSError, ValueError):  # a name that no file can have
            continue
    return names[-1]
