"""The dataset ``embspatial("file")``: EmbSpatial-Bench, questions about rooms as somebody in them
sees them (Du et al., arXiv:2406.05756).

A row is ``{question_id, question, relation, image, answer_options, answer, objects}``, in parquet
files, in one list of JSON or in lines of JSON, where the image is base64; ``answer`` is the number
of the right option.  Questions about ``left``, ``right``, ``above`` and ``under`` have sentences as
options ("The drawer is beneath the soapbottle."), of which the right one states a relation of two
objects.  Those about ``close`` and ``far`` choose among objects and have no other end: they are
left out, unless ``ask = question`` asks every question as it is.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.choices import Choice, choice_of
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import ImageFile
from mfv_dsl.data.json_values import (
    BadValue,
    entries_of,
    index_of,
    not_understood,
    read_lines,
    shown,
)
from mfv_dsl.data.parquet_files import Row, of_base64, read_rows, text_in, texts_in
from mfv_dsl.data.scene_graphs import object_name
from mfv_dsl.data.statements import Statement, items_of, relation_of
from mfv_dsl.data.table import Options, Table, build, of_files

_NEEDED = ("relation", "answer_options", "answer")
#: Relations whose options are objects.
_OF_ONE = ("close", "far")
_SENTENCE = re.compile(
    r"the (?P<subject>\S.*?) (?:is|are) (?P<middle>.*\b)the (?P<object>\S.*?) ?\.?", re.IGNORECASE
)
#: Words by which a sentence says that its subject stands in the opposite relation.
_OPPOSITE = {
    "left": ("right",), "right": ("left",), "above": ("under", "below", "beneath", "underneath"),
    "under": ("above", "over", "top"),
}  # fmt: skip


def read(file: str, query: str = "subject", ask: str = "answer", **options: Any) -> Table:
    """The table of the benchmark's file, JSON or parquet, or of a folder of parquet files."""
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    statements: list[Statement] = []
    images: dict[str, ImageFile] = {}
    path = user_path(file)
    for row in _rows(path, findings):
        try:
            relation = relation_of(object_name(text_in(row, "relation")))
            if relation in _OF_ONE and ask == "answer":
                dropped["questions that choose among objects, without another end"] += 1
                continue
            sentences = texts_in(row, "answer_options")
            right = index_of(row.values, "answer", "the row", len(sentences))
            choice = _choice(row, sentences, right, ask)
            name, picture = row.picture()
        except BadValue as error:
            findings.append(not_understood(row.place, error))
            continue
        images.setdefault(name, picture)
        statement = _statement(row, name, relation, sentences[right])
        if ask == "question":
            statement = Statement(row.place, name, "", relation, "", sentences[right])
        if statement is None:
            dropped["options that cannot be taken apart"] += 1
        else:
            statements.append(replace(statement, choice=choice))
    rows = items_of(statements, ask, query, dropped)
    return build(f"embspatial({file})", rows, images, Options(**options), findings, dropped)


facts, dataset = of_files(read)


def _choice(row: Row, sentences: list[str], right: int, ask: str) -> Choice | None:
    """The row's question with its options.  Raises BadValue where it is to be asked and is none;
    gives None where it need not be."""
    try:
        return choice_of(sentences, right, text_in(row, "question"))
    except (BadValue, KeyError) as error:
        if ask == "answer":
            return None
        raise (BadValue("it has no `question`") if isinstance(error, KeyError) else error) from None


def _statement(row: Row, image: str, relation: str, sentence: str) -> Statement | None:
    """What the right option says, None where it is no sentence about the row's two objects."""
    match = _SENTENCE.fullmatch(tidy(sentence))
    if match is None:
        return None
    if not set(_OPPOSITE.get(relation, ())).isdisjoint(match["middle"].lower().split()):
        return None  # the sentence turns the two objects round
    ends = object_name(match["subject"]), object_name(match["object"])
    objects = row.values.get("objects")
    if isinstance(objects, list) and objects:
        names = {
            object_name(one["name"])
            for one in objects
            if isinstance(one, dict) and isinstance(one.get("name"), str)
        }
        if not names.issuperset(ends):
            return None
    return Statement(row.place, image, ends[0], relation, ends[1], sentence)


def _rows(path: Path, findings: list[Finding]) -> Iterable[Row]:
    if path.suffix.lower() == ".json":
        entries = enumerate(entries_of(path, "questions"), 1)
        return _of_json(((f"row {number}", entry) for number, entry in entries), findings)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        values, problems = read_lines(path)
        findings += problems
        return _of_json(values, findings)
    return read_rows(path, _NEEDED, "image", wanted=("objects", "question"))


def _of_json(entries: Iterable[tuple[str, Any]], findings: list[Finding]) -> Iterator[Row]:
    """The rows of a list of JSON, or of lines, by their places."""
    for place, entry in entries:
        missing = [
            key for key in (*_NEEDED, "image") if not isinstance(entry, dict) or key not in entry
        ]
        if missing:
            what = f"it is {shown(entry)}" if not isinstance(entry, dict) else f"no `{missing[0]}`"
            findings.append(not_understood(place, BadValue(what)))
            continue
        image = entry["image"]
        data = of_base64(image) if isinstance(image, str) else None
        yield Row(place, entry, data, partial(_kept, data or b""))


def _kept(data: bytes, name: str) -> BinaryIO:
    return io.BytesIO(data)
