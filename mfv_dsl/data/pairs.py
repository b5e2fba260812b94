"""The dataset ``pairs("file")``: one item a line, as JSON or as CSV.

Each line of JSON (``.jsonl``) is an object with the keys ``image``, ``query``, ``answer``,
``relation`` and, for all lines or none, ``split``; a file that ends in ``.csv`` has columns of
these names.  Images are paths relative to the file's own folder, or to ``images``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfv_dsl.base.suggest import suggest
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.marks import is_blank
from mfv_dsl.data.table import ItemRow, Options, Table, build, files_in, of_files
from mfv_dsl.data.text_files import need_folder, read_csv, read_text

NEEDED = ("image", "query", "answer", "relation")
KEYS = (*NEEDED, "split")


def read(file: str, images: str | None = None, **options: Any) -> Table:
    """The table in a file; ``images`` is the folder that its image paths start from."""
    path = Path(file)
    root = path.parent if images is None else Path(images)
    lines, findings = _csv_lines(path) if path.suffix.lower() == ".csv" else _json_lines(path)
    need_folder(root)
    unknown_keys: dict[str, list[int]] = {}
    rows = []
    for line, record in lines:
        for key in record:
            if key not in KEYS:
                unknown_keys.setdefault(key, []).append(line)
        row, row_findings = _row(line, record)
        findings += row_findings
        rows += [row] if row else []
    for key, numbers in unknown_keys.items():
        near = suggest(key, KEYS)
        what = f"there is no key `{key}`" + (f"; did you mean `{near}`?" if near else "")
        what += f" ({len(numbers):,} lines have it)" if len(numbers) > 1 else ""
        findings.append(Finding("error", "MFV7107", f"line {numbers[0]}", what))
    image_files = files_in(root, (row.image for row in rows))
    return build(f"pairs({file})", rows, image_files, Options(**options), findings)


facts, dataset = of_files(read)


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
            what = f"`{key}` is not text but {json.dumps(record[key])[:40]}"
            findings.append(Finding("error", "MFV7107", place, what))
    if findings:
        return None, findings
    query, answer, relation = (tidy(record[key]) for key in NEEDED[1:])
    return ItemRow(place, record["image"], query, answer, relation, record.get("split") or None), []


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value))


def _json_lines(path: Path) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Finding]]:
    lines: list[tuple[int, Mapping[str, Any]]] = []
    findings = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            findings.append(Finding("error", "MFV7107", f"line {number}", f"is no JSON: {error}"))
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
