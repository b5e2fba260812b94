"""The dataset ``whatsup("file.json", images="folder")``: What's Up, pictures with captions of which
the first is right (Kamath, Hessel & Chang, arXiv:2310.19785).

The controlled sets A and B are a list of ``{"image_path", "caption_options"}``, whose paths name
the relation; those of COCO and Visual Genome (GQA) are a list of ``[image id, right, wrong]``.  The
files of one object ("A photo of a cup on the left") state no relation of two objects.  The captions
are the options of a question, which ``ask = question`` asks of every entry.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.choices import BadChoice, choice_of
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import files_in, image_name
from mfv_dsl.data.json_values import (
    BadValue,
    entries_of,
    first_file,
    list_of,
    not_understood,
    shown,
    text_of,
)
from mfv_dsl.data.statements import Statement, items_of, relation_of, without_article
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder

#: What the set's captions are an answer to; the set itself matches them with the picture.
QUESTION = "Which of these captions describes the picture?"
#: What stands between two objects in a caption, the longest first.
_PREDICATES = (
    "to the left of", "to the right of", "in front of", "in-front of", "on top of", "left of",
    "right of", "front of", "underneath", "beneath", "behind", "above", "below", "under", "on",
)  # fmt: skip
#: Those that say the same as another.
_SAME = {"left of": "to the left of", "right of": "to the right of", "front of": "in front of"}
_CAPTION = re.compile(
    r"(?:an? (?:photo|picture) of )?(?P<subject>\S.*?) (?:is |are )?"
    rf"(?P<predicate>{'|'.join(_PREDICATES)}) (?P<object>\S.*?) ?\.?",
    re.IGNORECASE,
)
#: "A photo of a cup on the left"
_ONE_OBJECT = re.compile(
    r"(?P<text>\S.* (?:on|at|in) the (?P<side>left|right|top|bottom|front|back)) ?\.?",
    re.IGNORECASE,
)
#: What a controlled set's path says, and the relations that this may be in the caption.
_IN_PATH = {
    "left_of": ("left",), "right_of": ("right",), "in-front_of": ("in front of",),
    "_on_": ("on", "on top of"), "behind": ("behind",), "under": ("under", "underneath", "beneath"),
}  # fmt: skip


def read(
    file: str, images: str, query: str = "subject", ask: str = "answer", **options: Any
) -> Table:
    """The table of any of the set's files."""
    root = user_path(images)
    need_folder(root)
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    statements: list[Statement] = []
    for number, entry in enumerate(entries_of(user_path(file), "captioned images"), 1):
        place = f"entry {number}"
        try:
            image, captions, path = _entry(entry, root, "vg" in Path(file).name)
        except BadValue as error:
            findings.append(not_understood(place, error))
            continue
        right = _statement(place, image, captions[0])
        if right is not None and path and right.relation not in _relations_of(path, right):
            dropped["captions that contradict their image's path"] += 1
            continue
        choice = None
        try:
            choice = choice_of(captions, 0, QUESTION) if ask != "truth" else None
        except BadChoice as error:
            if ask == "question":
                findings.append(not_understood(place, error))
                continue
        for which, caption in enumerate(captions if ask == "truth" else captions[:1]):
            statement = _statement(place, image, caption, holds=not which)
            if statement is None:
                dropped["captions that cannot be taken apart"] += 1
            elif not statement.object and ask == "answer":
                dropped["captions of one object"] += 1
            else:
                statements.append(replace(statement, choice=choice))
    rows = items_of(statements, ask, query, dropped)
    files = files_in(root, (row.image for row in rows))
    return build(f"whatsup({file})", rows, files, Options(**options), findings, dropped)


facts, dataset = of_files(read)


def _entry(entry: Any, root: Path, of_visual_genome: bool) -> tuple[str, list[str], str]:
    """An entry's image, its captions with the right one first, and the path that names the
    relation, empty where none does."""
    if isinstance(entry, dict):
        captions = list_of(entry, "caption_options", "the entry")
        path = image_name(text_of(entry, "image_path", "the entry"))
        name = path.rpartition("/")[2]
        names = [path, path.removeprefix("data/"), name]
    elif isinstance(entry, list) and len(entry) > 1:
        number, *captions = entry
        if isinstance(number, bool) or not isinstance(number, int | str) or len(str(number)) > 30:
            raise BadValue(f"its first value is {shown(number)}, not the id of an image")
        path, plain, padded = "", f"{number}.jpg", f"{str(number).zfill(12)}.jpg"
        names = [f"val2017/{padded}", f"vg_images/{plain}"]
        names += [padded, plain] if of_visual_genome else [plain, padded]
    else:
        raise BadValue(f"it is {shown(entry)}, neither an object nor [image id, right, wrong]")
    if not captions or not all(isinstance(caption, str) for caption in captions):
        raise BadValue("its captions are not all texts, or there is none")
    return first_file(root, names), captions, path


def _statement(place: str, image: str, caption: str, holds: bool = True) -> Statement | None:
    """What a caption says, without an object where it is about one, None where it says nothing of
    the set's forms.

    >>> _statement("", "", "A beer bottle on a armchair").relation
    'on'
    """
    caption = tidy(caption)
    one = _ONE_OBJECT.fullmatch(caption)
    if one is not None:
        return Statement(place, image, "", one["side"].lower(), "", caption, holds)
    match = _CAPTION.fullmatch(caption)
    if match is None:
        return None
    predicate = match["predicate"].lower()
    ends = without_article(match["subject"]), without_article(match["object"])
    relation = relation_of(_SAME.get(predicate, predicate))
    return Statement(place, image, ends[0], relation, ends[1], caption, holds)


def _relations_of(path: str, statement: Statement) -> tuple[str, ...]:
    """The relations that a path names; any where it names none."""
    name = path.rpartition("/")[2]
    for mark, relations in _IN_PATH.items():
        if mark in name:
            return relations
    return (statement.relation,)
