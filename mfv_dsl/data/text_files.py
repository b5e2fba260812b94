"""Text files that datasets are described in, read whole."""

from __future__ import annotations

import csv
import gc
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.findings import Finding


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.  MfvError: MFV7106."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise MfvError(
            "MFV7106", f"cannot read {path}: {error.strerror}",
            help="paths are relative to the folder that `mfv` runs in",
        ) from None  # fmt: skip
    except UnicodeDecodeError as error:
        raise MfvError(
            "MFV7106", f"{path} is not UTF-8 text: byte {error.start:,} is {error.reason}",
            help="save it as UTF-8",
        ) from None  # fmt: skip


def read_json(path: Path) -> Any:
    """What a JSON file holds.  MfvError: MFV7106."""
    text = read_text(path)
    collecting = gc.isenabled()
    gc.disable()  # millions of new objects, none of them garbage: collecting takes twice as long
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MfvError("MFV7106", f"{path} is not JSON: {error}") from None
    finally:
        if collecting:
            gc.enable()


def need_folder(path: Path) -> None:
    """MfvError (MFV7106) if there is no such folder."""
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "is not there"
        raise MfvError(
            "MFV7106", f"the folder {path} {what}",
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
    """Read a CSV file; ``code`` is that of its mistakes.  Blank lines are passed over."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    findings: list[Finding] = []
    rows: list[tuple[int, dict[str, str]]] = []
    columns: tuple[str, ...] = ()
    try:
        for cells in reader:
            line = reader.line_num
            if not any(cells):
                continue
            if not columns:
                columns = tuple(cell.strip() for cell in cells)
                repeated = {name for name in columns if columns.count(name) > 1}
                findings += [
                    Finding("error", code, f"line {line}", f"the column `{name}` is there twice")
                    for name in sorted(repeated)
                ]
            elif len(cells) != len(columns):
                what = f"{len(cells)} cells, and there are {len(columns)} columns"
                findings.append(Finding("error", code, f"line {line}", what))
            else:
                rows.append((line, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        findings.append(Finding("error", code, f"line {reader.line_num}", f"is no CSV: {error}"))
    return Csv(columns, tuple(rows), tuple(findings))
