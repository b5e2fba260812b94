"""The dataset ``boxes("file", images="folder")``: relations by geometry between the boxes of
anyone's objects, by thresholds that the recipe declares.

Three forms are read: COCO's ``instances`` (``{"images", "annotations": [{"image_id", "category_id",
"bbox": [x, y, width, height]}], "categories"}``), COCO's ``panoptic`` (whose annotations have
``segments_info`` of such boxes), and JSON lines ``{"image", "width", "height", "objects": [{"name",
"bbox"}]}``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from math import dist
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.geometry import Box, Thresholds, relation_between
from mfv_dsl.data.image_files import files_in, image_name
from mfv_dsl.data.json_values import (
    BadValue,
    first_file,
    four_pixels,
    id_of,
    list_of,
    not_understood,
    pixels_of,
    read_lines,
    text_of,
)
from mfv_dsl.data.placed import Related, questions, unique_names
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.scene_graphs import object_name
from mfv_dsl.data.table import Options, Table, build, of_files
from mfv_dsl.data.text_files import need_folder, read_json


@dataclass
class Scene:
    """An image with its boxes: (name, box) of every object, and the names of crowds on it."""

    place: str
    image: str
    width: float
    height: float
    objects: list[tuple[str, Box]] = field(default_factory=list)
    split: str | None = None
    crowds: set[str] = field(default_factory=set)


def read(
    file: str,
    images: str,
    query: str = "subject",
    answers: str = "only",
    min_area: float = 0.01,
    max_area: float = 1.0,
    margin: float = Thresholds.margin,
    cone: float = Thresholds.cone,
    apart: float = Thresholds.apart,
    inside: float = Thresholds.inside,
    overlap: float = Thresholds.overlap,
    **options: Any,
) -> Table:
    """The table of a file of boxes; ``min_area`` and ``max_area`` are parts of the image's area."""
    if min_area > max_area:
        raise MfvError(
            "MFV7122", f"`min_area` is {min_area:g} and `max_area` is less, {max_area:g}",
            argument="max_area",
        )  # fmt: skip
    thresholds = Thresholds(margin, cone, apart, inside, overlap)
    path, root = user_path(file), user_path(images)
    need_folder(root)
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        scenes: Iterable[Scene] = _of_lines(path, root, findings)
    else:
        scenes = _of_coco(path, root, findings, dropped)
    limits = f"{min_area:.3g} to {max_area:.3g}"
    rows: list[ItemRow] = []
    for scene in scenes:
        all_names = {str(number): name for number, (name, _) in enumerate(scene.objects)}
        crowds = {f"crowd of {name}": name for name in scene.crowds}
        single = unique_names({**all_names, **crowds}, dropped)
        names = {}
        for key, name in single.items():
            if key in all_names:
                part = scene.objects[int(key)][1].area / (scene.width * scene.height)
                if min_area <= part <= max_area:
                    names[key] = name
                else:
                    dropped[f"objects outside {limits} of the image's area"] += 1
        rows += _questions(scene, names, query, answers, thresholds, dropped)
    files = files_in(root, (row.image for row in rows))
    return build(f"boxes({file})", rows, files, Options(**options), findings, dropped)


facts, dataset = of_files(read)


def _questions(
    scene: Scene,
    names: dict[str, str],
    query: str,
    answers: str,
    thresholds: Thresholds,
    dropped: Counter[str],
) -> list[ItemRow]:
    boxes = {key: scene.objects[int(key)][1] for key in names}
    related = []
    for one, other in permutations(boxes, 2):
        relation = relation_between(
            boxes[one], boxes[other], scene.width, scene.height, thresholds
        )  # fmt: skip
        if relation is not None:
            related.append(Related(one, relation, other))

    def distance(one: str, other: str) -> float:
        return dist(boxes[one].center, boxes[other].center)

    return questions(
        scene.place, scene.image, names, related, query, answers, distance, scene.split, dropped
    )


def _of_lines(path: Path, root: Path, findings: list[Finding]) -> Iterator[Scene]:
    lines, bad_lines = read_lines(path)
    findings += bad_lines
    images: set[str] = set()
    for place, record in lines:
        try:
            image = image_name(text_of(record, "image", "the line"))
            if image in images:
                raise BadValue(f"the image {image} is in the file twice")
            images.add(image)
            width, height = _size(record, "the line")
            split = None
            if record.get("split") is not None:
                split = tidy(text_of(record, "split", "the line"))
            objects = []
            for number, thing in enumerate(list_of(record, "objects", "the line")):
                where = f"object {number}"
                name = object_name(text_of(thing, "name", where))
                objects.append((name, _box(thing, where)))
        except BadValue as error:
            findings.append(not_understood(place, error))
            continue
        yield Scene(place, image, width, height, objects, split)


def _of_coco(
    path: Path, root: Path, findings: list[Finding], dropped: Counter[str]
) -> Iterable[Scene]:
    """The images of an ``instances`` or ``panoptic`` file, those without boxes among them."""
    content = read_json(path)
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in keys
    ):  # fmt: skip
        raise MfvError(
            "MFV7106", f"{path} is JSON, but has no lists `images`, `annotations` and `categories`",
            help="these are the forms of COCO; files of JSON lines end in `.jsonl`",
        )  # fmt: skip
    categories: dict[str, str] = {}
    scenes: dict[str, Scene] = {}
    for number, record in enumerate(content["categories"]):
        place = f"category {number}"
        try:
            key = id_of(record, "id", "it")
            # panoptic names of stuff have what they are merged of: wall-other-merged
            name = object_name(text_of(record, "name", "it"))
            if key in categories:
                raise BadValue(f"its id {key} is in the file twice")
            categories[key] = name.removesuffix("-merged").removesuffix("-other")
        except BadValue as error:
            findings.append(not_understood(place, error))
    for number, record in enumerate(content["images"]):
        place = f"image {number}"
        try:
            key = id_of(record, "id", "it")
            if key in scenes:
                raise BadValue(f"its id {key} is in the file twice")
            name = image_name(text_of(record, "file_name", "it"))
            image = first_file(root, [f"train2017/{name}", f"val2017/{name}", name])
            width, height = _size(record, "it")
            scenes[key] = Scene(f"image {key}", image, width, height)
        except BadValue as error:
            findings.append(not_understood(place, error))
    for number, record in enumerate(content["annotations"]):
        place = f"annotation {number}"
        try:
            key = id_of(record, "image_id", "it")
            if "segments_info" in record:
                for which, segment in enumerate(list_of(record, "segments_info", "it")):
                    within = f"segment {which}"
                    _add(scenes, categories, key, segment, within, dropped)
            else:
                _add(scenes, categories, key, record, "it", dropped)
        except BadValue as error:
            findings.append(not_understood(place, error))
    return scenes.values()


def _add(
    scenes: dict[str, Scene],
    categories: dict[str, str],
    key: str,
    record: Any,
    where: str,
    dropped: Counter[str],
) -> None:
    """Put an annotation's box on its image."""
    category = id_of(record, "category_id", where)
    box = _box(record, where)
    if key not in scenes:
        raise BadValue(f"there is no image {key}")
    if category not in categories:
        raise BadValue(f"there is no category {category}")
    if record.get("iscrowd"):
        dropped["boxes of crowds"] += 1
        scenes[key].crowds.add(categories[category])
        return
    scenes[key].objects.append((categories[category], box))


def _box(record: Any, where: str) -> Box:
    x, y, width, height = four_pixels(record, "bbox", where)
    if width < 0 or height < 0:
        raise BadValue(f"`bbox` of {where} is {width:g} × {height:g} pixels large")
    return Box(x, y, x + width, y + height)


def _size(record: Any, where: str) -> tuple[float, float]:
    width, height = (pixels_of(record, side, where) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise BadValue(f"the size of the image is {width:g} × {height:g}")
    return width, height
