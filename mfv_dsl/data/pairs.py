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

from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.suggest import suggest
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.names import tidy
from mfv_dsl.data.sources import need_folder, read_csv, read_text
from mfv_dsl.data.table import FileDataset, Options, Row, Table, build, facts_of, files_in

NEEDED = ("image", "query", "answer", "relation")
KEYS = (*NEEDED, "split")


def facts(**arguments: Any) -> DatasetFacts:
    """Facts of ``pairs(...)``."""
    return facts_of(read(**arguments))


def dataset(**arguments: Any) -> FileDataset:
    """The dataset ``pairs(...)``."""
    return FileDataset(read(**arguments))


def read(file: str, images: str | None = None, **options: Any) -> Table:
    """The table in a file; ``images`` is the folder that its image paths start from."""
    path = Path(file)
    root = path.parent if images is None else Path(images)
    lines, found = _csv_lines(path) if path.suffix.lower() == ".csv" else _json_lines(path)
    need_folder(root)
    strange: dict[str, list[int]] = {}
    rows = []
    for line, said in lines:
        for key in said:
            if key not in KEYS:
                strange.setdefault(key, []).append(line)
        row, wrong = _row(line, said)
        found += wrong
        rows += [row] if row else []
    for key, places in strange.items():
        near = suggest(key, KEYS)
        what = f"there is no key `{key}`" + (f"; did you mean `{near}`?" if near else "")
        what += f" ({len(places):,} lines have it)" if len(places) > 1 else ""
        found.append(Finding("error", "MFV7107", f"line {places[0]}", what))
    known = files_in(root, (row.image for row in rows))
    return build(f"pairs({file})", rows, known, Options(**options), found)


def _row(line: int, said: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
    """The item on a line, and what is wrong with it."""
    place = f"line {line}"
    wrong = []
    missing = [key for key in NEEDED if said.get(key) in (None, "")]
    if missing:
        names = " and ".join(f"`{key}`" for key in missing)
        wrong.append(Finding("error", "MFV7107", place, f"{names} missing or empty"))
    for key in KEYS:
        if said.get(key) is not None and not isinstance(said[key], str):
            what = f"`{key}` is not text but {json.dumps(said[key])[:40]}"
            wrong.append(Finding("error", "MFV7107", place, what))
    if wrong:
        return None, wrong
    query, answer, relation = (tidy(said[key]) for key in NEEDED[1:])
    return Row(place, said["image"], query, answer, relation, said.get("split") or None), []


def _json_lines(path: Path) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Finding]]:
    lines: list[tuple[int, Mapping[str, Any]]] = []
    found = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            found.append(Finding("error", "MFV7107", f"line {number}", f"is no JSON: {error}"))
            continue
        if isinstance(said, dict):
            lines.append((number, said))
        else:
            what = "is JSON, but not an object `{...}`"
            found.append(Finding("error", "MFV7107", f"line {number}", what))
    return lines, found


def _csv_lines(path: Path) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Finding]]:
    table = read_csv(path, "MFV7107")
    return list(table.rows), list(table.findings)
