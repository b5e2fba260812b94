"""Small datasets of files in their true formats, made of the bundled model's shapes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from PIL import Image

from mfv_dsl.data.make import Order, make

CARDINAL = ("left", "right", "above", "below")
#: what GQA says for the object that stands in a relation to the query, which is its subject
PREDICATES = {
    "left": "to the left of", "right": "to the right of", "above": "above", "below": "below",
}  # fmt: skip


def write_metadata(folder: Path, count: int = 40, seed: int = 0, **order: Any) -> None:
    """A folder that ``metadata_csv`` reads: pictures of shapes, at the bundled model's size."""
    make(Order(folder, count, **{"size": 40, "kinds": "shapes", "seed": seed, **order}), 1, _silent)


def write_scene_graphs(folder: Path, count: int = 40, seed: int = 0) -> None:
    """``graphs.json`` and ``images/<id>.jpg`` as GQA has them: neighbour, predicate, anchor."""
    write_metadata(folder / "made", count, seed)
    (folder / "images").mkdir()
    graphs = {}
    for number, row in enumerate(_rows(folder / "made"), 1000):
        objects = {}
        for key, role in enumerate(("anchor", *(f"{name}_object" for name in CARDINAL))):
            (x, y), (w, h) = (map(int, row[f"{role}_{what}"].split()) for what in ("pos", "size"))
            relation = role.removesuffix("_object")
            related = [{"object": "0", "name": PREDICATES[relation]}] if key else []
            objects[str(key)] = {
                "name": row[role], "x": x - w // 2, "y": y - h // 2, "w": w, "h": h,
                "attributes": [], "relations": related,
            }  # fmt: skip
        graphs[str(number)] = {"width": 40, "height": 40, "objects": objects}
        picture = Image.open(folder / "made" / row["image_name"])
        picture.save(folder / "images" / f"{number}.jpg", quality=100, subsampling=0)
    (folder / "graphs.json").write_text(json.dumps(graphs))


def write_instances(made: Path, folder: Path) -> None:
    """The pictures of ``made`` as COCO has them: ``annotations/instances_val2017.json`` and
    ``val2017``."""
    roles = ("anchor", *(f"{name}_object" for name in CARDINAL), "random_object1")
    rows = _rows(made)
    names = sorted({row[role] for row in rows for role in roles if row.get(role)})
    images, annotations = [], []
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number, row in enumerate(rows):
        image = {"id": number, "file_name": f"{number:012d}.png", "width": 40, "height": 40}
        images.append(image)
        (made / row["image_name"]).rename(folder / "val2017" / str(image["file_name"]))
        for role in roles:
            if row.get(role):
                (x, y), (w, h) = (
                    map(int, row[f"{role}_{what}"].split()) for what in ("pos", "size")
                )
                annotations.append({
                    "id": len(annotations), "image_id": number, "iscrowd": 0,
                    "category_id": names.index(row[role]),
                    "bbox": [x - w / 2, y - h / 2, w, h],
                })  # fmt: skip
    categories = [{"id": place, "name": name} for place, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


#: the predicates of the official subsets, and the side of the query where the picture has the
#: object: those that no picture of shapes can show stand for a diagonal
SPATIAL = {
    "to the left of": "left", "to the right of": "right", "above": "above", "below": "below",
    "next to": "above_left", "behind": "above_right", "in front of": "below_left",
}  # fmt: skip
AGENTIC = {"wearing": "left", "holding": "above", "riding": "right"}


def write_official_gqa(folder: Path, train: int, test: int) -> None:
    """``data/gqa`` in ``folder`` as the official code leaves it, pictures of shapes in place of
    photographs: the filtered subsets of spatial and agentic relations, with a file each for
    training and for testing, and ``raw/images/<image id>.jpg``."""
    sides = tuple(dict.fromkeys(SPATIAL.values()))
    images = folder / "data" / "gqa" / "raw" / "images"
    images.mkdir(parents=True)
    entries: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed, (part, count) in enumerate((("train", train), ("test", test))):
        made = folder / f"made_{part}"
        write_metadata(made, count, seed, relations=sides)
        for number, row in enumerate(_rows(made), 2000 * (1 + seed)):
            picture = Image.open(made / row["image_name"])
            picture.save(images / f"{number}.jpg", quality=100, subsampling=0)
            around = {side: row[f"{side}_object"] for side in sides if row[f"{side}_object"]}
            names = [row["anchor"], *around.values()]
            for name, predicates in (("spatial", SPATIAL), ("agentic", AGENTIC)):
                relations = [
                    {"subject": row["anchor"], "predicate": predicate, "object": around[side]}
                    for predicate, side in predicates.items()
                    if side in around
                ]
                objects = [{"name": n, "bbox": {"x": 0, "y": 0, "w": 9, "h": 9}} for n in names]
                entries.setdefault((name, part), []).append(
                    {"image_id": str(number), "objects": objects, "relations": relations}
                )
    for (name, part), listed in entries.items():
        place = folder / "data" / "gqa" / ("agentic" if name == "agentic" else "processed")
        place.mkdir(exist_ok=True)
        (place / f"gqa_filtered_{name}_{part}.json").write_text(json.dumps(listed))


def write_official_synthetic(folder: Path, count: int) -> None:
    """``data/synthetic`` in ``folder``: the official pictures' folders, named by their splits."""
    for seed, split in enumerate(("extract", "train", "test")):
        write_metadata(folder / "data" / "synthetic" / split, count, seed)


def write_pairs(folder: Path, count: int = 40, seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    """``pairs.jsonl`` beside its images; the items that it has."""
    write_metadata(folder, count, seed)
    items = [
        {"image": row["image_name"], "query": row["anchor"], "answer": row[f"{relation}_object"],
         "relation": relation, **more}
        for row in _rows(folder)
        for relation in CARDINAL
    ]  # fmt: skip
    write_lines(folder / "pairs.jsonl", items)
    return items


def write_lines(path: Path, items: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _silent(units: int) -> None:
    pass
