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
