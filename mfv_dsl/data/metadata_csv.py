"""The dataset ``metadata_csv("folder")``: the layout of the official synthetic images.

A folder of images with a ``metadata.csv``: one row an image, with the columns ``image_name``,
``anchor`` (the query) and ``<relation>_object`` (the object that stands in that relation to the
anchor; empty where the image shows none).  ``random_object1`` and its like are distractors;
``*_pos`` and ``*_size`` are not needed.  A folder of such folders called ``extract``, ``train``,
``validation`` and ``test`` has these as its splits.

Source: fushuhao6/Multimodal-Function-Vector, the code of arXiv:2510.02528.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.suggest import suggest
from mfv_dsl.base.texts import excerpt, tidy
from mfv_dsl.data.findings import SHOWN, Finding
from mfv_dsl.data.image_files import files_in, image_name
from mfv_dsl.data.items import SPLITS
from mfv_dsl.data.marks import is_blank
from mfv_dsl.data.names import cleaned
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder, read_csv

TABLE = "metadata.csv"
NEEDED = ("image_name", "anchor")
_RELATION = re.compile(r"(?!random_object)(?P<relation>.+)_object")
_KNOWN = re.compile(r"(anchor|.+_object|random_object[0-9]+)(_pos|_size)?")


def read(folder: str, clean: bool = True, **options: Any) -> Table:
    """The table in a folder; ``clean`` renames objects as the paper does."""
    root = user_path(folder)
    need_folder(root)
    parts: dict[str, str | None] = {"": None}
    if _table_in(root) is None:
        split_parts = {f"{split}/": split for split in SPLITS if _table_in(root / split)}
        parts = {**split_parts} or parts
    rows: list[ItemRow] = []
    findings: list[Finding] = []
    for prefix, split in parts.items():
        part_rows, part_findings = _read_part(root, prefix, split, clean)
        rows += part_rows
        findings += part_findings
    name = f"metadata_csv({folder})"
    images = files_in(root, (row.image for row in rows))
    return build(name, rows, images, Options(**options), findings)


facts, dataset = of_files(read)


def _read_part(
    root: Path, prefix: str, split: str | None, clean: bool
) -> tuple[list[ItemRow], list[Finding]]:
    """The rows of one ``metadata.csv``, those of a relation together."""
    table = read_csv(_table_in(root / prefix) or root / prefix / TABLE, "MFV7107")
    where = f"{prefix}{TABLE} line"
    findings = [
        Finding(f.severity, f.code, f"{prefix}{TABLE} {f.place}", f.message) for f in table.findings
    ]
    relations = {
        column: match["relation"]
        for column in table.columns
        if (match := _RELATION.fullmatch(column))
    }
    missing = [name for name in NEEDED if name not in table.columns]
    missing += [] if relations else ["<relation>_object"]
    if missing:
        what = f"there is no column {' and no column '.join(f'`{name}`' for name in missing)}"
        return [], [*findings, Finding("error", "MFV7107", f"{where} 1", what)]
    findings += _unknown_columns([c for c in table.columns if c not in NEEDED], relations, where)
    rows: dict[str, list[ItemRow]] = {relation: [] for relation in relations.values()}
    ambiguous = 0
    for line, cells in table.rows:
        place = f"{where} {line}"
        image = image_name(cells["image_name"])
        names = {
            column: cleaned(tidy(cell)) if clean else tidy(cell) for column, cell in cells.items()
        }
        for column in NEEDED:
            if is_blank(cells[column]):
                findings.append(Finding("error", "MFV7107", place, f"`{column}` is empty"))
        if is_blank(image) or is_blank(names["anchor"]):
            continue
        shown_names = Counter(
            names[column]
            for column in table.columns
            if column == "anchor" or column in relations or column.startswith("random_object")
        )
        ambiguous += shown_names[names["anchor"]] > 1
        for column, relation in relations.items():
            if names[column]:
                query, answer = names["anchor"], names[column]
                row = ItemRow(place, prefix + image, query, answer, relation, split)
                rows[relation].append(row)
    if ambiguous:
        what = f"{ambiguous:,} images show another object of the anchor's name"
        findings.append(Finding("warning", "MFV7107", f"{prefix}{TABLE}", what))
    return [row for same in rows.values() for row in same], findings


def _unknown_columns(columns: list[str], relations: Collection[str], where: str) -> list[Finding]:
    """Warnings of columns that are not used: of each the first few, with what was meant."""
    unknown = [column for column in columns if not _KNOWN.fullmatch(column)]
    findings = []
    for column in unknown[:SHOWN]:
        near = suggest(column, [*NEEDED, *relations])
        what = f"the column `{excerpt(column)}` is not known and not used"
        what += f"; did you mean `{near}`?" if near else ""
        findings.append(Finding("warning", "MFV7107", f"{where} 1", what))
    if len(unknown) > SHOWN:
        what = f"{len(unknown) - SHOWN:,} more columns are not known and not used"
        findings.append(Finding("warning", "MFV7107", f"{where} 1", what))
    return findings


def _table_in(folder: Path) -> Path | None:
    """The table of a folder, whatever the case of its letters."""
    if (folder / TABLE).exists():
        return folder / TABLE
    names = sorted(os.listdir(folder)) if folder.is_dir() else ()
    return next((folder / name for name in names if name.lower() == TABLE), None)
