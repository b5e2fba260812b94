"""The dataset ``spatialeval("folder")``: SpatialEval, questions about maps, mazes, grids and
photographs (Wang et al., arXiv:2406.14852).

A row of its configurations ``vqa`` (a picture alone) and ``vtqa`` (the picture described in words
besides) is ``{id, text, image, oracle_answer, oracle_option, oracle_full_answer}``.  The ``id``
begins with the task, such as ``spatialmap.vqa.12.0``, which is the relation.  The ``text`` ends in
"Available options:" and the options, each behind its letter, on lines of their own or separated by
commas; ``oracle_option`` is the letter of the right one and ``oracle_answer`` its text.  The query
is the text before the options.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import excerpt, tidy
from mfv_dsl.data.choices import LETTERS, Choice, choice_of, tidy_lines
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import ImageFile
from mfv_dsl.data.json_values import BadValue, not_understood, shown
from mfv_dsl.data.parquet_files import Row, read_rows, text_in
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.statements import one_answer, relation_of
from mfv_dsl.data.table import Options, Table, build, of_files

_COLUMNS = ("id", "text", "oracle_answer", "oracle_option")
#: What stands before the options.
_BEFORE = re.compile(r"\s*(?:Available )?options?:\s*", re.IGNORECASE)
_TASK = re.compile(r"(?P<task>[A-Za-z][\w-]*)\.")


def read(file: str, **options: Any) -> Table:
    """The table of a parquet file of the set, or of all in a folder."""
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    rows: list[ItemRow] = []
    images: dict[str, ImageFile] = {}
    for row in read_rows(user_path(file), _COLUMNS, "image"):
        try:
            task = _TASK.match(text_in(row, "id"))
            if task is None:
                raise BadValue(f"`id` is {shown(row.values['id'])}, which begins with no task")
            choice = _choice(row)
            if choice is None:
                dropped["questions whose options cannot be taken apart"] += 1
                continue
            name, picture = row.picture()
        except BadValue as error:
            findings.append(not_understood(row.place, error))
            continue
        images.setdefault(name, picture)
        relation, query = relation_of(task["task"].lower()), tidy(choice.question)
        rows.append(ItemRow(row.place, name, query, choice.answer, relation, choice=choice))
    rows = one_answer(rows, dropped)
    return build(f"spatialeval({file})", rows, images, Options(**options), findings, dropped)


facts, dataset = of_files(read)


def _choice(row: Row) -> Choice | None:
    """The question of a row; None where its text is of another form than the set's.  Raises
    BadValue where the right option is none of the text's, or another than is said."""
    text = text_in(row, "text")
    marks = list(_BEFORE.finditer(text))
    if not marks:
        return None
    question, listed = tidy_lines(text[: marks[-1].start()]), text[marks[-1].end() :]
    letter = text_in(row, "oracle_option").strip().strip("().").upper()
    options = options_in(listed)
    if len(options) < 2:
        return None
    if len(letter) != 1 or letter not in LETTERS[: len(options)]:
        raise BadValue(f"`oracle_option` is {letter!r:.40}, and there are {len(options)} options")
    right = LETTERS.index(letter)
    answer = _plain(text_in(row, "oracle_answer"))
    if answer != _plain(options[right]):
        raise BadValue(
            f"`oracle_answer` is {excerpt(answer, 40)!r}, and option {letter} is "
            f"{excerpt(options[right], 40)!r}"
        )
    return choice_of(options, right, question)


def _plain(text: str) -> str:
    return tidy(text).rstrip(".").casefold()


def options_in(text: str) -> list[str]:
    """The options of a text in which each stands behind its letter.

    >>> options_in("A. Northeast\\nB. Dr. Lee's shop\\nC. Southwest.")
    ['Northeast', "Dr. Lee's shop", 'Southwest']
    >>> options_in("A. 5, B. 6, C. 4, D. 0.")
    ['5', '6', '4', '0']
    """
    options: list[str] = []
    at = 0
    for letter in LETTERS:
        mark = re.compile(rf"(?:^|[\s,;]+)\(?{letter}[.)]\s+").search(text, at)
        if mark is None or (not options and text[: mark.start()].strip()):
            break
        if options:
            options[-1] = text[at : mark.start()]
        options.append(text[mark.end() :])
        at = mark.end()
    return [tidy(option).rstrip(",;").removesuffix(".") for option in options]
