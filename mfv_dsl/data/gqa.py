"""The dataset ``gqa("file.json", images="folder")``: objects and relations in photographs.

Two forms are read, alone or mixed: GQA's own scene graphs (Hudson & Manning, arXiv:1902.09506),
``{image_id: {"width", "height", "objects": {id: {"name", "x", "y", "w", "h", "relations":
[{"object", "name"}]}}}}``; and the filtered subset of fushuhao6/Multimodal-Function-Vector, a list
of, or an object by image id of, ``{"image_id", "objects": [{"name", "bbox"}], "relations":
[{"subject", "predicate", "object"}]}``.  The rules that filter scene graphs, and their defaults,
are those of that repository's ``prepare_gqa_dataset.py``.  Entries of the second form are filtered
already, and by rules that were others for some of the published ones, so that they are taken as
they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import excerpt
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import ImageFile, files_in
from mfv_dsl.data.json_values import BadValue, not_understood
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.scene_graphs import SceneGraph, object_name, scene_of
from mfv_dsl.data.statements import Wanted, relation_of
from mfv_dsl.data.table import Options, Table, build, deal, of_files
from mfv_dsl.data.text_files import need_folder, read_json

#: Names of backgrounds and of parts, which are not asked about.
BACKGROUND = frozenset({
    "sky", "wall", "floor", "ceiling", "building", "trees", "grass", "ocean", "water", "fence",
    "bush", "neck", "hair", "legs", "rocks", "bushes", "clouds", "cloud", "sun", "stars", "cars",
    "leaves", "fingers", "hand", "arm",
})  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What an object or an image has to be to be asked about; areas are parts of the image's."""

    min_area: float = 0.05
    max_area: float = 0.5
    min_objects: int = 3
    max_objects: int = 30
    max_relations: int = 15
    unique_names: bool = True
    unambiguous: bool = True
    without: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for low, high, what in (
            (self.min_area, self.max_area, "area"), (self.min_objects, self.max_objects, "objects")
        ):  # fmt: skip
            if low > high:
                raise MfvError(
                    "MFV7122", f"`min_{what}` is {low:g} and `max_{what}` is less, {high:g}",
                    argument=f"max_{what}",
                )  # fmt: skip

    @cached_property
    def names_left_out(self) -> frozenset[str]:
        return BACKGROUND if self.without is None else frozenset(map(object_name, self.without))


def read(
    file: str,
    images: str,
    query: str = "subject",
    min_area: float = Rules.min_area,
    max_area: float = Rules.max_area,
    min_objects: int = Rules.min_objects,
    max_objects: int = Rules.max_objects,
    max_relations: int = Rules.max_relations,
    unique_names: bool = True,
    unambiguous: bool = True,
    without: tuple[str, ...] | None = None,
    filter: str | None = None,
    test_file: str | None = None,
    suffix: str = ".jpg",
    **options: Any,
) -> Table:
    """The table of a file whose images are ``images/<image id>.jpg``, or with another ``suffix``;
    with ``test_file`` of two files.

    ``query`` says which end of a relation is asked about; the paper's code asks the subject.
    ``filter`` is ``paper`` to hold all entries to the rules, ``none`` to hold none to them; left
    out, only scene graphs are filtered.  The images of ``test_file`` are the test split, and those
    of ``file`` are dealt to the others.
    """
    rules = Rules(min_area, max_area, min_objects, max_objects, max_relations, unique_names,
                  unambiguous, without)  # fmt: skip
    common = Options(**options)
    root = user_path(images)
    need_folder(root)
    ending = suffix if suffix.startswith(".") or not suffix else f".{suffix}"
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    rows: list[ItemRow] = []
    image_ids: set[str] = set()
    taken_as_they_are = 0
    entries = [(entry, None) for entry in _entries(user_path(file))]
    entries += [(entry, "test") for entry in (_entries(user_path(test_file)) if test_file else ())]
    for (image_id, entry), split in entries:
        place = f"image {excerpt(image_id)}"
        try:
            scene, is_filtered = scene_of(entry)
        except BadValue as error:
            findings.append(not_understood(place, error))
            continue
        if image_id in image_ids:
            findings.append(Finding("error", "MFV7107", place, "is in the file twice"))
            continue
        image_ids.add(image_id)
        wanted = Wanted(common.relations)
        if filter == "none" or (filter is None and is_filtered):
            taken_as_they_are += 1
            triples = _all_triples(scene, query, wanted, dropped)
        else:
            triples = _triples(scene, rules, query, wanted, dropped)
        rows += [
            ItemRow(place, f"{image_id}{ending}", asked_object, answer, relation, split)
            for asked_object, relation, answer in triples
        ]
    if test_file:
        split_of, _ = deal([row for row in rows if row.split is None], replace(common, test=0))
        rows = [replace(row, split=row.split or split_of[row.image]) for row in rows]
    image_files = files_in(root, (row.image for row in rows))
    findings += _other_suffix(image_files, ending, common)
    remark = ""
    if taken_as_they_are:
        remark = f"{taken_as_they_are:,} images not filtered" + (
            " again, as the file holds filtered ones" if filter is None else ""
        )
        if filter is None and rules != Rules():
            what = "the rules do not apply to entries that are filtered already; "
            what += "`filter = paper` filters them again"
            findings.append(Finding("warning", "MFV5367", file, what))
    return build(f"gqa({file})", rows, image_files, common, findings, dropped, remark)


facts, dataset = of_files(read)


def _other_suffix(images: Mapping[str, ImageFile], ending: str, options: Options) -> list[Finding]:
    """What to do where images are missing that are there with another suffix."""
    instead = [Path(file.instead).suffix for file in images.values() if file.instead]
    if not instead:
        return []
    (suffix, count), *_ = Counter(instead).most_common(1)
    what = f'{count:,} images are there as {suffix}, not {ending}: `suffix = "{suffix}"`'
    return [Finding("error" if options.missing == "error" else "warning", "MFV7108", "", what)]


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """(image id, its entry) for every image of a file."""
    content = read_json(path)
    if isinstance(content, dict):
        yield from content.items()
    elif isinstance(content, list):
        for number, entry in enumerate(content, 1):
            image_id = entry.get("image_id") if isinstance(entry, dict) else None
            is_id = isinstance(image_id, int | str) and not isinstance(image_id, bool)
            yield str(image_id if is_id else f"number {number}"), entry
    else:
        raise MfvError("MFV7106", f"{path} is JSON, but neither a list of images nor an object")


def _triples(
    scene: SceneGraph, rules: Rules, query: str, wanted: Wanted, dropped: Counter[str]
) -> list[tuple[str, str, str]]:
    """(query, relation, answer) by name for all that the rules leave of an image; ``wanted`` says
    which relations to look at."""
    objects = {}
    for key, name in scene.names.items():
        area = scene.areas[key]
        if area is not None and not rules.min_area <= area <= rules.max_area:
            limits = f"{rules.min_area:.3g} to {rules.max_area:.3g}"
            dropped[f"objects outside {limits} of the image's area"] += 1
        elif name in rules.names_left_out:
            dropped["objects of names left out"] += 1
        else:
            objects[key] = name
    if len(objects) < rules.min_objects:
        dropped[f"images with fewer than {rules.min_objects} objects"] += 1
        return []
    if len(objects) > rules.max_objects:
        dropped[f"images with more than {rules.max_objects} objects"] += 1
        return []
    if rules.unique_names and len(set(objects.values())) < len(objects):
        dropped["images with two objects of a name"] += 1
        return []
    triples: list[tuple[str, str, str]] = []
    for subject, predicate, other in scene.relations:
        relation = relation_of(predicate)
        if not wanted(relation):
            continue
        if subject not in objects or other not in objects:
            dropped["relations of objects left out"] += 1
        elif objects[subject] == objects[other]:
            dropped["relations of an object to its own name"] += 1
        else:
            ends = objects[subject], objects[other]
            asked_object, answer = ends if query == "subject" else ends[::-1]
            triples.append((asked_object, relation, answer))
    triples = list(dict.fromkeys(triples))
    if len(triples) > rules.max_relations:
        dropped[f"images with more than {rules.max_relations} relations"] += 1
        return []
    if rules.unambiguous and len({triple[:2] for triple in triples}) < len(triples):
        dropped["images where a question has two answers"] += 1
        return []
    return _first_answers(triples, dropped)


def _all_triples(
    scene: SceneGraph, query: str, wanted: Wanted, dropped: Counter[str]
) -> list[tuple[str, str, str]]:
    """(query, relation, answer) by name for all relations of an image, also of an object to one of
    its own name; where a question has two answers, the first."""
    triples = []
    for subject, predicate, other in scene.relations:
        relation, here = relation_of(predicate), subject in scene.names and other in scene.names
        if not here:
            dropped["relations to objects that are not there"] += 1
        elif wanted(relation):
            ends = scene.names[subject], scene.names[other]
            asked_object, answer = ends if query == "subject" else ends[::-1]
            triples.append((asked_object, relation, answer))
    return _first_answers(list(dict.fromkeys(triples)), dropped)


def _first_answers(
    triples: list[tuple[str, str, str]], dropped: Counter[str]
) -> list[tuple[str, str, str]]:
    """The triples, of those with one question the first."""
    first = {triple[:2]: triple for triple in reversed(triples)}
    if len(first) < len(triples):
        dropped["further answers to a question"] += len(triples) - len(first)
    return [triple for triple in triples if first[triple[:2]] == triple]
