"""The dataset ``spatialsense("annotations.json", images="folder")``: SpatialSense, statements of
nine relations that people chose to be hard, true and false (Yang, Russakovsky & Deng,
arXiv:1908.02660).

An entry is ``{url, nsid, height, width, split, annotations: [{_id, predicate, subject, object,
label}]}``, where subject and object are ``{name, x, y, bbox}`` and a box is, unlike in other sets,
``[y0, y1, x0, x1]``.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.geometry import Box, overlap
from mfv_dsl.data.image_files import files_in, image_name
from mfv_dsl.data.json_values import (
    BadValue,
    entries_of,
    first_file,
    four_pixels,
    list_of,
    not_understood,
    text_of,
    truth_of,
    value_of,
)
from mfv_dsl.data.scene_graphs import object_name
from mfv_dsl.data.statements import Statement, items_of, relation_of, split_name
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder

#: Boxes of one name that overlap by less are of two objects.
_SAME_OBJECT = 0.5


def read(
    file: str,
    images: str,
    query: str = "subject",
    ask: str = "answer",
    unique_names: bool = True,
    **options: Any,
) -> Table:
    """The table of the annotations; with ``unique_names`` without statements of a name that has
    several boxes on the image."""
    root = user_path(images)
    need_folder(root)
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    statements: list[Statement] = []
    backwards: list[str] = []
    for number, entry in enumerate(entries_of(user_path(file), "images"), 1):
        place = f"entry {number}"
        try:
            image = first_file(root, _names(text_of(entry, "url", "the entry")))
            split = split_name(text_of(entry, "split", "the entry"))
            annotations = list_of(entry, "annotations", "the entry")
        except BadValue as error:
            findings.append(not_understood(place, error))
            continue
        ours: list[Statement] = []
        boxes: dict[str, list[Box]] = {}
        for which, annotation in enumerate(annotations):
            within = f"{place}, annotation {which}"
            try:
                statement, ends = _statement(within, image, split, annotation)
            except BadValue as error:
                findings.append(not_understood(within, error))
                continue
            ours.append(statement)
            for name, box in ends:
                boxes.setdefault(name, []).append(box)
                if box.right < box.left or box.bottom < box.top:
                    backwards.append(within)
        if unique_names:
            twice = {name for name, known in boxes.items() if _are_two(known)}
            single = [one for one in ours if not twice & {one.subject, one.object}]
            dropped["statements of a name that two objects have"] += len(ours) - len(single)
            ours = single
        statements += ours
    if backwards:
        what = f"{len(backwards):,} boxes end before they begin: are they [y0, y1, x0, x1]?"
        findings.append(Finding("warning", "MFV7107", backwards[0], what))
    rows = items_of(statements, ask, query, dropped)
    files = files_in(root, (row.image for row in rows))
    return build(f"spatialsense({file})", rows, files, Options(**options), findings, dropped)


facts, dataset = of_files(read)


def _names(url: str) -> list[str]:
    """Where the image of a URL lies in the published archive: apart by source."""
    name = Path(image_name(url)).name or "no name"
    folder = "flickr" if url.startswith("http") else "nyu"
    return [f"{folder}/{name}", f"images/{folder}/{name}", name]


def _statement(
    place: str, image: str, split: str, annotation: Any
) -> tuple[Statement, list[tuple[str, Box]]]:
    """What an annotation says, and the boxes of its two objects by name."""
    predicate = object_name(text_of(annotation, "predicate", "it"))
    holds = truth_of(annotation, "label", "it")
    ends = []
    for end in ("subject", "object"):
        thing = value_of(annotation, end, "it")
        name = object_name(text_of(thing, "name", f"its {end}"))
        top, bottom, left, right = four_pixels(thing, "bbox", f"its {end}")
        ends.append((name, Box(left, top, right, bottom)))
    (subject, _), (other, _) = ends
    text = f"{subject} {predicate} {other}"
    statement = Statement(place, image, subject, relation_of(predicate), other, text, holds, split)
    return statement, ends


def _are_two(boxes: list[Box]) -> bool:
    return any(overlap(one, other) < _SAME_OBJECT for one, other in combinations(boxes, 2))
