"""Text files that datasets are described in, read whole."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mfv_dsl.base import texts
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.texts import BadText, excerpt, tidy
from mfv_dsl.data.findings import Finding

Content = TypeVar("Content")

#: What spreadsheets write between cells, the usual first.
SEPARATORS = ",;\t"
#: The first line by which a file tells a spreadsheet its separator.
_TOLD = re.compile(r"\"?sep=([^\"\w\s]|\t)\"?[;,\t]*", re.ASCII | re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"?')


def read_text(path: Path) -> str:
    """The text of a file, with LF as its line ends; see :mod:`mfv_dsl.base.texts`.

    MfvError: MFV7106.
    """
    return _read(path, texts.read_text)


def read_json(path: Path, without: Collection[str] = ()) -> Any:
    """What a JSON file holds, its numbers as they are, also NaN and infinities, but for what stands
    under the keys ``without``.

    MfvError: MFV7106.
    """
    return _read(path, partial(texts.read_json, finite=False, without=without))


def _read(path: Path, reader: Callable[[Path], Content]) -> Content:
    try:
        return reader(path)
    except OSError as error:
        raise MfvError(
            "MFV7106", f"cannot read {excerpt(str(path), 200)}: {error.strerror}",
            help="paths are relative to the folder that `mfv` runs in",
        ) from None  # fmt: skip
    except BadText as error:
        raise MfvError("MFV7106", f"cannot read {path}: {error}", help=error.help) from None


def need_folder(path: Path) -> None:
    """MfvError (MFV7106) if there is no such folder."""
    if not os.path.isdir(path):
        what = "is a file, not a folder" if os.path.exists(path) else "is not there"
        raise MfvError(
            "MFV7106", f"the folder {excerpt(str(path), 200)} {what}",
            help="paths are relative to the folder that `mfv` runs in",
        )  # fmt: skip


@dataclass(frozen=True)
class Csv:
    """A CSV file with a line of column names: its rows by column, each with its line number.

    Rows that do not fit the columns are not among them but in ``findings``.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    findings: tuple[Finding, ...]


def read_csv(path: Path, code: str) -> Csv:
    """Read a CSV file; ``code`` is that of its mistakes.

    Its cells stand between commas, semicolons or tabs: which, a first line ``sep=;`` says, or the
    line of column names shows.  Blank lines are passed over, and so are blank cells to the right of
    all columns.  A row's line is the one that it begins on.
    """
    findings: list[Finding] = []
    rows: list[tuple[int, dict[str, str]]] = []
    columns: tuple[str, ...] = ()
    try:
        for line, cells in _records(read_text(path)):
            if not any(map(tidy, cells)):
                continue
            if not columns:
                columns = tuple(_filled([tidy(cell) for cell in cells], 0))
                counts = Counter(columns)
                findings += [
                    Finding("error", code, f"line {line}",
                            f"the column `{excerpt(name)}` is there twice")
                    for name in sorted(name for name in counts if counts[name] > 1)
                ]  # fmt: skip
                continue
            cells = _filled(cells, len(columns))
            if len(cells) == len(columns):
                rows.append((line, dict(zip(columns, cells, strict=True))))
            else:
                what = f"{len(cells)} cells, and there are {len(columns)} columns"
                findings.append(Finding("error", code, f"line {line}", what))
    except csv.Error as error:
        why = error.args[0]
        what = _MEANINGS.get(why.partition(" (")[0], f"is no CSV: {why}")
        findings.append(Finding("error", code, f"line {error.args[1]}", what))
    return Csv(columns, tuple(rows), tuple(findings))


#: What the library says of a row that is no CSV, in words of ours.
_MEANINGS = {
    "unexpected end of data": "opens a quotation mark that is never closed",
    "field larger than field limit": f"has a cell of more than {csv.field_size_limit():,} "
    "characters",
}


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV text, each with the line that it begins on; csv.Error with that line as its
    second argument."""
    head, _, rest = text.partition("\n")
    told = _TOLD.fullmatch(head)
    skipped = 1 if told else 0
    separator = told[1] if told else _separator(text)
    reader = csv.reader(
        io.StringIO(rest if told else text, newline="\n"),
        delimiter=separator,
        strict=True,
        skipinitialspace=True,
    )
    while True:
        line = reader.line_num + skipped + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise csv.Error(str(error), line) from None
        yield line, cells


def _separator(text: str) -> str:
    """What separates the cells of the first line that is not blank."""
    first = _QUOTED.sub("", next((line for line in io.StringIO(text) if line.strip()), ""))
    return max(SEPARATORS, key=first.count)


def _filled(cells: list[str], least: int) -> list[str]:
    """``cells`` without blank ones at the end, but ``least`` of them if there are as many."""
    end = len(cells)
    while end > least and not tidy(cells[end - 1]):
        end -= 1
    return cells[:end]
