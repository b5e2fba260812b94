"""The dataset ``clevr("scenes.json", images="folder")``: CLEVR's rendered scenes of coloured solids
(Johnson et al., arXiv:1612.06890), and what others render with its code.

A file is ``{"info", "scenes": [{"split", "image_index", "image_filename", "objects": [{"shape",
"size", "material", "color", "3d_coords", "rotation", "pixel_coords"}], "directions",
"relationships": {"left": [[…], …], …}}]}``: entry i of a relation lists the objects that stand in
it to object i.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import dist
from pathlib import Path
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import files_in, image_name
from mfv_dsl.data.json_values import (
    BadValue,
    entries_of,
    first_file,
    list_of,
    not_understood,
    numbers_of,
    shown,
    text_of,
    value_of,
)
from mfv_dsl.data.placed import Related, questions
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.scene_graphs import object_name
from mfv_dsl.data.statements import one_answer, relation_of, split_files
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder

#: The files of the official splits that have scenes; those of the test split are not published.
FILES = {"train": "CLEVR_train_scenes.json", "val": "CLEVR_val_scenes.json"}
#: What may stand before an object's shape, in the order in which it is said.
_ATTRIBUTES = ("size", "color", "material")
#: In this order, of as few as needed: a colour tells more apart than a material or a size.
_SETS = tuple(
    chosen
    for count in range(len(_ATTRIBUTES) + 1)
    for chosen in combinations(("color", "material", "size"), count)
)


def read(
    file: str, images: str, query: str = "subject", answers: str = "only", **options: Any
) -> Table:
    """The table of a file of scenes, or of the folder of the official splits' files."""
    path, root = user_path(file), user_path(images)
    need_folder(root)
    parts = split_files(path, FILES, "name a file, or the folder `scenes`")
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    rows: list[ItemRow] = []
    for part, split in parts:
        before = f"{part.name} " if split else ""
        for number, entry in enumerate(entries_of(part, "scenes", under="scenes"), 1):
            place = f"{before}scene {number}"
            try:
                rows += _scene(place, entry, root, query, answers, split, dropped)
            except BadValue as error:
                findings.append(not_understood(place, error))
    rows = one_answer(rows, dropped)
    files = files_in(root, (row.image for row in rows))
    return build(f"clevr({file})", rows, files, Options(**options), findings, dropped)


facts, dataset = of_files(read)


def _scene(
    place: str,
    entry: Any,
    root: Path,
    query: str,
    answers: str,
    split: str | None,
    dropped: Counter[str],
) -> list[ItemRow]:
    filename = image_name(text_of(entry, "image_filename", "the scene"))
    parts = filename.split("_")  # CLEVR_val_000003.png lies in the folder val
    image = first_file(root, [*([f"{parts[1]}/{filename}"] if len(parts) > 2 else []), filename])
    objects = list_of(entry, "objects", "the scene")
    looks, points = [], []
    for number, thing in enumerate(objects):
        where = f"object {number}"
        looks.append({
            key: object_name(text_of(thing, key, where)) for key in (*_ATTRIBUTES, "shape")
        })  # fmt: skip
        points.append(numbers_of(thing, "3d_coords", where, 3))
    names = {str(number): name for number, name in enumerate(names_of(looks)) if name}
    dropped["objects that look like another"] += len(objects) - len(names)
    related = []
    relationships = value_of(entry, "relationships", "the scene")
    if not isinstance(relationships, dict):
        raise BadValue(f"`relationships` of the scene is {shown(relationships)}, not an object")
    for predicate in relationships:
        lists = list_of(relationships, predicate, "`relationships`")
        if len(lists) != len(objects):
            raise BadValue(
                f"`{predicate}` of `relationships` has {len(lists):,} entries, and there are "
                f"{len(objects):,} objects"
            )
        relation = relation_of(object_name(predicate))
        for number, others in enumerate(lists):
            for other in _numbers(others, predicate, number, len(objects)):
                if str(other) in names and str(number) in names:
                    related.append(Related(str(other), relation, str(number)))

    def distance(one: str, other: str) -> float:
        return dist(points[int(one)], points[int(other)])

    return questions(place, image, names, related, query, answers, distance, split, dropped)


def _numbers(others: Any, predicate: str, number: int, count: int) -> list[int]:
    """The numbers of the objects that stand in a relation to one."""
    if not isinstance(others, list) or not all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < count for one in others
    ):
        what = f"entry {number} of `{predicate}` is {shown(others)}"
        raise BadValue(f"{what}, not a list of numbers of objects")
    return [one for one in dict.fromkeys(others) if one != number]


def names_of(looks: Sequence[dict[str, str]]) -> list[str | None]:
    """A name for every object that tells it from all others by as few attributes as needed; None
    where no attributes do.

    >>> cube = {"shape": "cube", "color": "red", "material": "metal", "size": "large"}
    >>> names_of([cube, {**cube, "shape": "sphere"}, {**cube, "color": "blue"}])
    ['red cube', 'sphere', 'blue cube']
    """
    names: list[str | None] = [None] * len(looks)
    for chosen in _SETS:
        if None not in names:
            break
        said = [tuple(one[key] for key in (*chosen, "shape")) for one in looks]
        count = Counter(said)
        for number, one in enumerate(looks):
            if names[number] is None and count[said[number]] == 1:
                words = [one[key] for key in _ATTRIBUTES if key in chosen]
                names[number] = " ".join([*words, one["shape"]])
    return names
