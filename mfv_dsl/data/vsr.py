"""The dataset ``vsr("file.jsonl", images="folder")``: Visual Spatial Reasoning, captions of
photographs that are true or false (Liu, Emerson & Collier, arXiv:2205.00363).

A line is ``{image, image_link, caption, label, relation, annotator_id, vote_true_validator_id,
vote_false_validator_id}``; the validated files have ``reference_frame`` besides, those of the
zero-shot split ``subj`` and ``obj``.  Votes, lists in one file and texts in the others, are not
needed.  ``subj`` and ``obj`` lack the first letter of some names, so the caption has the word:
"The horse is next to the bus."
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import files_in, image_name
from mfv_dsl.data.json_values import (
    BadValue,
    first_file,
    not_understood,
    read_lines,
    text_of,
    truth_of,
)
from mfv_dsl.data.scene_graphs import object_name
from mfv_dsl.data.statements import Statement, items_of, relation_of, split_files, without_article
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder

#: The official splits' files, in a folder of either of the two ways to split.
FILES = {split: f"{split}.jsonl" for split in ("train", "dev", "test")}
_COPULA = re.compile(r" (?:is|are)$")


def read(
    file: str, images: str, query: str = "subject", ask: str = "answer", **options: Any
) -> Table:
    """The table of a file, or of a folder that has the official splits' three files."""
    path, root = user_path(file), user_path(images)
    need_folder(root)
    parts = split_files(
        path, FILES, "name a file, or the folder `splits/random` or `splits/zeroshot`"
    )
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    statements: list[Statement] = []
    mended = 0
    for part, split in parts:
        values, line_findings = read_lines(part)
        before = f"{part.name} " if split else ""
        findings += [
            Finding(f.severity, f.code, before + f.place, f.message) for f in line_findings
        ]
        for place, record in values:
            try:
                statement, is_mended = _statement(before + place, record, root, split)
            except BadValue as error:
                findings.append(not_understood(before + place, error))
                continue
            if statement is None:
                dropped["captions that cannot be taken apart"] += 1
                continue
            statements.append(statement)
            mended += is_mended
    rows = items_of(statements, ask, query, dropped)
    remark = ""
    if mended:
        remark = f"{mended:,} captions whose `subj` or `obj` is not their word, which is taken"
    files = files_in(root, (row.image for row in rows))
    return build(f"vsr({file})", rows, files, Options(**options), findings, dropped, remark)


facts, dataset = of_files(read)


def _statement(
    place: str, record: Any, root: Path, split: str | None
) -> tuple[Statement | None, bool]:
    """What a line says, None where its caption is not of the set's form, and whether its ``subj``
    and ``obj`` are others than the caption's."""
    caption = tidy(text_of(record, "caption", "the line"))
    predicate = object_name(text_of(record, "relation", "the line"))
    holds = truth_of(record, "label", "the line")
    image = image_name(text_of(record, "image", "the line"))
    ends = ends_of(caption, predicate)
    if ends is None:
        return None, False
    columns = [
        object_name(text_of(record, key, "the line")) for key in ("subj", "obj") if key in record
    ]
    image = first_file(root, [*_in_coco(record, image), image])
    relation = relation_of(predicate)
    statement = Statement(place, image, ends[0], relation, ends[1], caption, holds, split)
    return statement, bool(columns) and columns != list(ends)


def ends_of(caption: str, predicate: str) -> tuple[str, str] | None:
    """Subject and object of a caption, None where it is not of the form "The … is … the …".

    >>> ends_of("The hot dog is on top of the dining table.", "on top of")
    ('hot dog', 'dining table')
    """
    match = _form(predicate).fullmatch(caption)
    if match is None:
        return None
    subject, other = (_COPULA.sub("", match[end]) for end in ("subject", "object"))
    return without_article(subject), without_article(other)


@lru_cache(maxsize=1000)
def _form(predicate: str) -> re.Pattern[str]:
    middle = re.escape(predicate)
    return re.compile(rf"(?P<subject>\S.*?) {middle} (?P<object>\S[^.]*?) ?\.?", re.IGNORECASE)


def _in_coco(record: Any, image: str) -> list[str]:
    """Where an image lies in the folder of COCO, which has the training and validation images in
    folders of their own."""
    link = record.get("image_link")
    parts = link.split("/") if isinstance(link, str) else []
    return [f"{parts[-2]}/{image}"] if len(parts) > 1 and parts[-1] == image else []
