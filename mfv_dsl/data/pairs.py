"""The dataset ``pairs("file")``: one item a line, as JSON or as CSV.

Each line of JSON (``.jsonl``) is an object with the keys ``image``, ``query``, ``answer``,
``relation`` and, for all lines or none, ``split``; a file that ends in ``.json`` may also be one
list of such objects.  A file that ends in ``.csv`` or ``.tsv``, or otherwise does not begin as JSON
does, has columns of these names.  Images are paths relative to the file's own folder, or to
``images``.

A line may have a question with ``options`` besides: a list, in CSV one of JSON or with ``|``
between; its ``question``, if that is not the query; and which option is ``right`` (its number from
0, its letter, or itself), if that is not the answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import user_path
from mfv_dsl.base.suggest import suggest
from mfv_dsl.base.texts import BadText, excerpt, parse_json, tidy
from mfv_dsl.data.choices import BadChoice, Choice, choice_of, right_of
from mfv_dsl.data.findings import SHOWN, Finding
from mfv_dsl.data.image_files import files_in, image_name
from mfv_dsl.data.json_values import AROUND, cell_shown, lines_of, not_understood
from mfv_dsl.data.marks import is_blank
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder, read_csv, read_text

NEEDED = ("image", "query", "answer", "relation")
#: The question with options that a line may have.
CHOICE_KEYS = ("options", "question", "right")
KEYS = (*NEEDED, "split", *CHOICE_KEYS)
_CSV, _JSON = (".csv", ".tsv"), (".jsonl", ".json", ".ndjson")
#: Records, each with its place in the file.
Records: TypeAlias = "list[tuple[str, Mapping[str, Any]]]"


def read(file: str, images: str | None = None, **options: Any) -> Table:
    """The table in a file; ``images`` is the folder that its image paths start from."""
    path = user_path(file)
    root = path.parent if images is None else user_path(images)
    records, findings = _records(path)
    need_folder(root)
    rows = []
    for place, record in records:
        row, row_findings = _row(place, record)
        findings += row_findings
        rows += [row] if row else []
    findings += _unknown_keys(records)
    image_files = files_in(root, (row.image for row in rows))
    return build(f"pairs({file})", rows, image_files, Options(**options), findings)


facts, dataset = of_files(read)


def _unknown_keys(records: Records) -> list[Finding]:
    counts = Counter(key for _, record in records for key in record if key not in KEYS)
    first = {key: place for place, record in reversed(records) for key in record if key in counts}
    findings = []
    for key, count in list(counts.items())[:SHOWN]:
        near = suggest(key, KEYS)
        what = f"there is no key `{excerpt(key)}`" + (f"; did you mean `{near}`?" if near else "")
        what += f" ({count:,} lines have it)" if count > 1 else ""
        findings.append(Finding("error", "MFV7107", first[key], what))
    if len(counts) > SHOWN:
        what = f"and {len(counts) - SHOWN:,} more keys that there are not"
        findings.append(Finding("error", "MFV7107", "", what))
    return findings


def _row(place: str, record: Mapping[str, Any]) -> tuple[ItemRow | None, list[Finding]]:
    """The item at a place, and what is wrong with it."""
    findings = []
    missing = [key for key in NEEDED if _is_missing(record.get(key))]
    if missing:
        names = " and ".join(f"`{key}`" for key in missing)
        findings.append(Finding("error", "MFV7107", place, f"{names} missing or empty"))
    for key in (*NEEDED, "split", "question"):
        if (
            key == "answer"
            and _is_number(record.get(key))
            and not _is_missing(record.get("options"))
        ):
            continue
        if record.get(key) is not None and not isinstance(record[key], str):
            what = f"`{key}` is not text but {excerpt(json.dumps(record[key]), 40)}"
            findings.append(Finding("error", "MFV7107", place, what))
    if findings:
        return None, findings
    query, relation = tidy(record["query"]), tidy(record["relation"])
    split = tidy(record.get("split") or "") or None
    try:
        choice = choice_in(record)
    except BadChoice as error:
        return None, [not_understood(place, error)]
    answer = tidy(str(record["answer"]))
    if choice is not None and _is_missing(record.get("right")):
        answer = choice.answer
    image = image_name(record["image"])
    return ItemRow(place, image, query, answer, relation, split, choice), []


def choice_in(record: Mapping[str, Any]) -> Choice | None:
    """The question with options of a line, None where it has none.  Raises BadChoice."""
    options = record.get("options")
    if _is_missing(options):
        return None
    if isinstance(options, str):
        options = _listed(options)
    if not isinstance(options, list | tuple):
        raise BadChoice(f"`options` is {cell_shown(options)}, not a list")
    right = record.get("right")
    right = record["answer"] if _is_missing(right) else right
    return choice_of(options, right_of(right, options), record.get("question") or "")


def _listed(text: str) -> Any:
    """The options in a cell of CSV."""
    if not text.strip().startswith("["):
        return text.split("|")
    try:
        return parse_json(text)
    except BadText as error:
        raise BadChoice(f"`options` is no list of JSON: {error}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value))


def _records(path: Path) -> tuple[Records, list[Finding]]:
    """The records of a file, and what is wrong with lines that are none."""
    suffix = path.suffix.lower()
    text = "" if suffix in _CSV else read_text(path)
    begins = text.lstrip(f"{AROUND}\n")[:1]
    if suffix in _CSV or (suffix not in _JSON and begins not in ("{", "[")):
        table = read_csv(path, "MFV7107")
        return [(f"line {line}", row) for line, row in table.rows], list(table.findings)
    if suffix == ".json" and begins == "[":
        return _objects(_list(path, text))
    values, findings = lines_of(text)
    records, more = _objects(values)
    return records, findings + more


def _list(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        content = parse_json(text)
    except BadText as error:
        raise MfvError("MFV7106", f"cannot read {path}: {error}") from None
    return [(f"entry {number}", value) for number, value in enumerate(content, 1)]


def _objects(values: list[tuple[str, Any]]) -> tuple[Records, list[Finding]]:
    what = "is JSON, but not an object `{...}`"
    return [(place, value) for place, value in values if isinstance(value, dict)], [
        Finding("error", "MFV7107", place, what)
        for place, value in values
        if not isinstance(value, dict)
    ]
