"""The dataset ``visual_genome("relationships.json", images="folder")``: relations that people saw
in photographs (Krishna et al., arXiv:1602.07332).

A file is a list of ``{"image_id", "relationships": [{"relationship_id", "predicate", "subject",
"object"}]}``, where both ends are ``{"object_id", "name" or "names", "x", "y", "w", "h"}``.
Predicates are what people typed, so that what is no name of a relation, and what is rare, is left
out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import excerpt
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import files_in
from mfv_dsl.data.json_values import (
    BadValue,
    entries_of,
    first_file,
    id_of,
    list_of,
    not_understood,
    text_of,
    used_up,
    value_of,
    wrong,
)
from mfv_dsl.data.marks import is_blank
from mfv_dsl.data.rows import no_relation
from mfv_dsl.data.scene_graphs import object_name
from mfv_dsl.data.statements import Statement, Wanted, items_of, relation_of
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder

#: What is not needed of 2.3 million relationships and their ends.
_UNREAD = ("synsets", "merged_object_ids", "x", "y", "w", "h", "relationship_id")


def read(
    file: str,
    images: str,
    query: str = "subject",
    unique_names: bool = True,
    min_items: int = 100,
    **options: Any,
) -> Table:
    """The table of the relationships; relations with fewer than ``min_items`` are left out unless
    the recipe names its ``relations``."""
    root = user_path(images)
    need_folder(root)
    common = Options(**options)
    wanted = Wanted(common.relations)
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    statements: list[Statement] = []
    seen: set[str] = set()
    entries = entries_of(user_path(file), "images", without=_UNREAD)
    for number, entry in enumerate(used_up(entries), 1):
        place = f"entry {number}"
        try:
            image_id = id_of(entry, "image_id", "the image")
            place = f"image {excerpt(image_id)}"
            if image_id in seen:
                raise BadValue("the image is in the file twice")
            seen.add(image_id)
            ours = _statements(place, image_id, entry, wanted, unique_names, dropped)
        except BadValue as error:
            findings.append(not_understood(place, error))
            continue
        statements += ours
    rows = items_of(statements, "answer", query, dropped)
    if not wanted.names:
        count = Counter(row.relation for row in rows)
        kept = [row for row in rows if count[row.relation] >= min_items]
        dropped[f"items of relations with fewer than {min_items:,}"] += len(rows) - len(kept)
        rows = kept
    places: dict[str, str] = {}
    for row in rows:
        if row.image not in places:
            name = f"{row.image}.jpg"
            places[row.image] = first_file(root, [f"VG_100K/{name}", f"VG_100K_2/{name}", name])
    rows = [replace(row, image=places[row.image]) for row in rows]
    files = files_in(root, (row.image for row in rows))
    return build(f"visual_genome({file})", rows, files, common, findings, dropped)


facts, dataset = of_files(read)


def _statements(
    place: str,
    image: str,
    entry: Any,
    wanted: Wanted,
    unique_names: bool,
    dropped: Counter[str],
) -> list[Statement]:
    """What is said of an image, without relations that nobody asks for."""
    names: dict[str, str] = {}
    triples = []
    for number, link in enumerate(list_of(entry, "relationships", "the image")):
        where = f"relationship {number}"
        predicate = object_name(text_of(link, "predicate", where))
        ends = []
        for end in ("subject", "object"):
            thing = value_of(link, end, where)
            key = id_of(thing, "object_id", f"the {end} of {where}")
            names.setdefault(key, _name(thing, f"the {end} of {where}"))
            ends.append(key)
        triples.append((ends[0], predicate, ends[1]))
    count = Counter(names.values())
    statements = []
    for subject, predicate, other in triples:
        relation = relation_of(predicate) if predicate else ""
        if not wanted(relation):
            continue
        if no_relation(relation) is not None:
            dropped["relationships whose predicate is no name of a relation"] += 1
        elif is_blank(names[subject]) or is_blank(names[other]):
            dropped["relationships of objects without a name"] += 1
        elif unique_names and max(count[names[subject]], count[names[other]]) > 1:
            dropped["relationships of a name that two objects have"] += 1
        else:
            text = f"{names[subject]} {predicate} {names[other]}"
            statements.append(Statement(place, image, names[subject], relation, names[other], text))
    return statements


def _name(thing: Any, where: str) -> str:
    """An object's name; of several the first."""
    if "name" in thing or "names" not in thing:
        return object_name(text_of(thing, "name", where))
    names = list_of(thing, "names", where)
    if not names or not isinstance(names[0], str):
        raise wrong("names", where, names, "a list of texts")
    return object_name(names[0])
