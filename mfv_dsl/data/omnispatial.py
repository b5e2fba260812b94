"""The dataset ``omnispatial("data.json")``: OmniSpatial, questions of four kinds about photographs
and drawings (Jia et al., arXiv:2506.03135).

The file is a list of ``{id, question, options, answer, task_type, sub_task_type}``, in which
``answer`` is the number of the right option; the picture of the entry ``15_1`` is
``<task_type>/15.png`` beside the file.  What a question asks for, its ``sub_task_type``, is its
relation; the query is the question, the answer the right option.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.choices import choice_of
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import files_in, image_name
from mfv_dsl.data.json_values import (
    BadValue,
    entries_of,
    id_of,
    index_of,
    list_of,
    not_understood,
    text_of,
)
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.statements import one_answer, relation_of
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder


def read(file: str, images: str | None = None, **options: Any) -> Table:
    """The table of the set's file; ``images`` is the folder of its pictures' folders, that of the
    file if left out."""
    path = user_path(file)
    root = path.parent if images is None else user_path(images)
    need_folder(root)
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    rows: list[ItemRow] = []
    for number, entry in enumerate(entries_of(path, "questions"), 1):
        place = f"entry {number}"
        try:
            rows.append(_row(place, entry))
        except BadValue as error:
            findings.append(not_understood(place, error))
    rows = one_answer(rows, dropped)
    files = files_in(root, (row.image for row in rows))
    return build(f"omnispatial({file})", rows, files, Options(**options), findings, dropped)


facts, dataset = of_files(read)


def _row(place: str, entry: Any) -> ItemRow:
    """The question of an entry."""
    where = "the entry"
    name = id_of(entry, "id", where).partition("_")[0]
    folder = text_of(entry, "task_type", where)
    listed = list_of(entry, "options", where)
    right = index_of(entry, "answer", where, len(listed))
    choice = choice_of(listed, right, text_of(entry, "question", where))
    relation = relation_of(tidy(text_of(entry, "sub_task_type", where)).lower())
    image = image_name(f"{folder}/{name}.png")
    return ItemRow(
        place, image, tidy(choice.question), choice.answer, relation, choice=choice
    )  # fmt: skip
