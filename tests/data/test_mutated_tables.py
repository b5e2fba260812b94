"""Tables with random damage: each is read, or refused with an error of ours, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import open_dataset
from mfv_dsl.data.names import read_synonyms

GRAPHS = {"7": {"width": 100, "height": 100, "objects": {
    "1": {"name": "Cup", "w": 20, "h": 50, "relations": [{"name": "on", "object": "2"}]},
    "2": {"name": "table", "w": 40, "h": 50, "relations": []},
}}}  # fmt: skip
SUBSET = [{
    "image_id": 7, "objects": [{"name": "man"}, {"name": "hat"}],
    "relations": [{"subject": "man", "predicate": "on", "object": "hat"}],
}]  # fmt: skip
CAPTION = {
    "image": "a.png", "image_link": "http://images.cocodataset.org/train2017/a.png",
    "caption": "The cup is next to the lamp.", "label": 1, "relation": "next to", "subj": "cup",
    "obj": "lamp", "annotator_id": 1, "vote_true_validator_id": "[2]", "reference_frame": None,
}  # fmt: skip
CONTROLLED = [
    {"image_path": "data/a.png", "caption_options": ["A cup on a table", "A cup under a table"]},
    [7, "A photo of a cup to the left of a plate", "A photo of a cup to the right of a plate"],
]
SENSE = [{
    "url": "https://flickr.com/a.png", "nsid": "1@N", "height": 90, "width": 90, "split": "train",
    "annotations": [{"_id": "1", "predicate": "on", "label": True,
                     "subject": {"name": "cat", "x": 1, "y": 1, "bbox": [1, 9, 2, 8]},
                     "object": {"name": "ground", "x": 1, "y": 1, "bbox": [0, 90, 3, 80]}}],
}]  # fmt: skip
SOLID = {"shape": "cube", "size": "small", "material": "metal", "color": "red", "rotation": 1.5,
         "3d_coords": [1, 2, 0.7], "pixel_coords": [1, 2, 9.5]}  # fmt: skip
SCENES = {"info": {}, "scenes": [{
    "split": "val", "image_index": 0, "image_filename": "a.png", "directions": {},
    "objects": [SOLID, {**SOLID, "color": "blue", "3d_coords": [3, 2, 0.7]}],
    "relationships": {"left": [[], [0]], "right": [[1], []]},
}]}  # fmt: skip
INSTANCES = {
    "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 100}],
    "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20], "iscrowd": 0},
                    {"image_id": 1, "category_id": 2, "bbox": [60, 0, 20, 20], "iscrowd": 0}],
}  # fmt: skip
GENOME = [{"image_id": 7, "relationships": [{
    "relationship_id": 1, "predicate": "ON", "synsets": [],
    "subject": {"object_id": 1, "name": "shade", "x": 1, "y": 1, "w": 5, "h": 5},
    "object": {"object_id": 2, "names": ["street"], "x": 1, "y": 1, "w": 5, "h": 5},
}]}]  # fmt: skip
LINE = '{{"image": "{}.png", "query": "cup", "answer": "lamp", "relation": "left"}}\n'
TABLES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "pairs.csv": (
        'image,query,answer,relation,split\na.png,cup,"la,mp",left,test\nb.png,mug,x,right,train\n',
        lambda path: open_dataset("pairs", file=str(path)),
    ),
    "pairs.jsonl": (
        LINE.format("a") + LINE.format("b"), lambda path: open_dataset("pairs", file=str(path))
    ),
    "metadata.csv": (
        "image_name,anchor,left_object,random_object1,anchor_pos\na.png,cup,lamp,x,1\nb.png,mug,,y,2",
        lambda path: open_dataset("metadata_csv", folder=str(path.parent)),
    ),
    "graphs.json": (
        json.dumps(GRAPHS),
        lambda path: open_dataset("gqa", file=str(path), images=str(path.parent), min_objects=0),
    ),
    "subset.json": (
        json.dumps(SUBSET),
        lambda path: open_dataset("gqa", file=str(path), images=str(path.parent)),
    ),
    "vsr.jsonl": (
        json.dumps(CAPTION) + "\n" + json.dumps({**CAPTION, "label": 0, "image": "b.png"}),
        lambda path: open_dataset("vsr", file=str(path), images=str(path.parent), ask="truth"),
    ),
    "whatsup.json": (
        json.dumps(CONTROLLED),
        lambda path: open_dataset("whatsup", file=str(path), images=str(path.parent)),
    ),
    "sense.json": (
        json.dumps(SENSE),
        lambda path: open_dataset("spatialsense", file=str(path), images=str(path.parent)),
    ),
    "clevr.json": (
        json.dumps(SCENES),
        lambda path: open_dataset("clevr", file=str(path), images=str(path.parent)),
    ),
    "instances.json": (
        json.dumps(INSTANCES),
        lambda path: open_dataset("boxes", file=str(path), images=str(path.parent)),
    ),
    "boxes.jsonl": (
        json.dumps({"image": "a.png", "width": 100, "height": 100, "objects": [
            {"name": "dog", "bbox": [0, 0, 20, 20]}, {"name": "cat", "bbox": [60, 0, 20, 20]}]}),
        lambda path: open_dataset("boxes", file=str(path), images=str(path.parent)),
    ),
    "genome.json": (
        json.dumps(GENOME),
        lambda path: open_dataset(
            "visual_genome", file=str(path), images=str(path.parent), min_items=1
        ),
    ),
    "synonyms.csv": ("canonical,synonym\nmug,coffee mug\n", lambda path: read_synonyms(str(path))),
}  # fmt: skip
BITS = [
    b'"', b",", b";", b"\t", b"\n", b"\r", b"\0", b"{", b"}", b"[", b"]", b":", b"null", b"NaN",
    b"1e999", b"-1", b"9" * 400, b"9" * 5000, b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"\\ud800",
    b"\xe2\x80\x8b", b"..", b"/", b"true", b"{}", b"[]", b"<image>", b"sep=;\n", b" ", b"[" * 5000,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_read_or_refused(name: str, tmp_path: Path):
    text, read = TABLES[name]
    for image in ("a.png", "b.png", "7.jpg"):
        (tmp_path / image).write_bytes(b"x")
    read(_written(tmp_path / name, text.encode()))
    rng = random.Random(name)
    refused = []
    for _ in range(100):
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) + 1)
            gone = rng.choice((0, 0, rng.randint(1, 20)))
            data[at : at + gone] = rng.choice([*BITS, b""])
        try:
            read(_written(tmp_path / name, bytes(data)))
        except MfvError as error:
            refused.append(str(error))
    assert len(refused) > 30 and max(map(len, refused)) < 10_000


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
