"""The dataset ``pairs("file")``: one item a line, as JSON or as CSV.

Each line of JSON (``.jsonl``) is an object with the keys ``image``, ``query``, ``answer``,
``relation`` and, for all lines or none, ``split``; a file that ends in ``.csv`` or ``.tsv`` has
columns of these names.  Images are paths relative to the file's own folder, or to ``images``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.suggest import suggest
from mfv_dsl.base.texts import BadText, excerpt, parse_json, tidy
from mfv_dsl.data.findings import SHOWN, Finding
from mfv_dsl.data.image_paths import image_name
from mfv_dsl.data.marks import is_blank
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.table import Options, Table, build, files_in, of_files
from mfv_dsl.data.text_files import need_folder, read_csv, read_text

NEEDED = ("image", "query", "answer", "relation")
KEYS = (*NEEDED, "split")
_CSV = (".csv", ".tsv")
#: What may stand around a line of JSON; files put together have byte order marks in their middle.
_AROUND = " \t\f\v\u00a0\ufeff"


def read(file: str, images: str | None = None, **options: Any) -> Table:
    """The table in a file; ``images`` is the folder that its image paths start from."""
    path = user_path(file)
    root = path.parent if images is None else user_path(images)
    lines, findings = _csv_lines(path) if path.suffix.lower() in _CSV else _json_lines(path)
    need_folder(root)
    rows = []
    for line, record in lines:
        row, row_findings = _row(line, record)
        findings += row_findings
        rows += [row] if row else []
    findings += _unknown_keys(lines)
    image_files = files_in(root, (row.image for row in rows))
    return build(f"pairs({file})", rows, image_files, Options(**options), findings)


facts, dataset = of_files(read)


def _unknown_keys(lines: list[tuple[int, Mapping[str, Any]]]) -> list[Finding]:
    counts = Counter(key for _, record in lines for key in record if key not in KEYS)
    first = {key: line for line, record in reversed(lines) for key in record if key in counts}
    findings = []
    for key, count in list(counts.items())[:SHOWN]:
        near = suggest(key, KEYS)
        what = f"there is no key `{excerpt(key)}`" + (f"; did you mean `{near}`?" if near else "")
        what += f" ({count:,} lines have it)" if count > 1 else ""
        findings.append(Finding("error", "MFV7107", f"line {first[key]}", what))
    if len(counts) > SHOWN:
        what = f"and {len(counts) - SHOWN:,} more keys that there are not"
        findings.append(Finding("error", "MFV7107", "", what))
    return findings


def _row(line: int, record: Mapping[str, Any]) -> tuple[ItemRow | None, list[Finding]]:
    """The item on a line, and what is wrong with it."""
    place = f"line {line}"
    findings = []
    missing = [key for key in NEEDED if _is_missing(record.get(key))]
    if missing:
        names = " and ".join(f"`{key}`" for key in missing)
        findings.append(Finding("error", "MFV7107", place, f"{names} missing or empty"))
    for key in KEYS:
        if record.get(key) is not None and not isinstance(record[key], str):
            what = f"`{key}` is not text but {excerpt(json.dumps(record[key]), 40)}"
            findings.append(Finding("error", "MFV7107", place, what))
    if findings:
        return None, findings
    query, answer, relation = (tidy(record[key]) for key in NEEDED[1:])
    split = tidy(record.get("split") or "") or None
    return ItemRow(place, image_name(record["image"]), query, answer, relation, split), []


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value))


def _json_lines(path: Path) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Finding]]:
    lines: list[tuple[int, Mapping[str, Any]]] = []
    findings = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.strip(_AROUND)
        if not line:
            continue
        try:
            record = parse_json(line)
        except BadText as error:
            findings.append(Finding("error", "MFV7107", f"line {number}", str(error)))
            continue
        if isinstance(record, dict):
            lines.append((number, record))
        else:
            what = "is JSON, but not an object `{...}`"
            findings.append(Finding("error", "MFV7107", f"line {number}", what))
    return lines, findings


def _csv_lines(path: Path) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Finding]]:
    table = read_csv(path, "MFV7107")
    return list(table.rows), list(table.findings)
