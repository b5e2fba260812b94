"""Sets whose relations are by geometry or of scene graphs: CLEVR, boxes, Visual Genome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import read_table
from mfv_dsl.data.geometry import Box, Thresholds, overlap, relation_between
from mfv_dsl.data.table import Table
from tests.data.test_published_sets import splits_of, touch, triples


def read(
    folder: Path, constructor: str, content: Any, name: str = "set.json", **options: Any
) -> Table:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)
    return read_table(constructor, file=str(folder / name), images=str(folder), **options)


# -- clevr ----------------------------------------------------------------------------------------
def solid(look: str, x: float, y: float) -> dict[str, Any]:
    size, color, material, shape = look.split()
    return {"shape": shape, "size": size, "material": material, "color": color,
            "3d_coords": [x, y, 0.7], "rotation": 12.5, "pixel_coords": [x, y, 9.0]}  # fmt: skip


def scene(number: int, *objects: dict[str, Any], split: str = "val") -> dict[str, Any]:
    """A scene whose relations are those of the renderer: along directions, by more than 0.2."""
    directions = {"left": (-1, 0), "right": (1, 0), "front": (0, -1), "behind": (0, 1)}

    def stands(one: Any, other: Any, along: tuple[int, int]) -> bool:
        steps = zip(one["3d_coords"], other["3d_coords"], along, strict=False)
        return sum((a - b) * step for a, b, step in steps) > 0.2

    related = {
        name: [
            [j for j, one in enumerate(objects) if stands(one, other, along)] for other in objects
        ]
        for name, along in directions.items()
    }
    filename = f"CLEVR_{split}_{number:06d}.png"
    return {"split": split, "image_index": number, "image_filename": filename,
            "objects": [*objects], "directions": {}, "relationships": related}  # fmt: skip


THREE = (
    solid("large red metal cube", 0, 0), solid("small blue rubber cube", 1, 0),
    solid("large red rubber sphere", 3, 0.1),
)  # fmt: skip


def clevr(folder: Path, *scenes: Any, **options: Any) -> Table:
    touch(folder, *(f"val/CLEVR_val_{number:06d}.png" for number in range(4)))
    return read(folder, "clevr", {"info": {"split": "val"}, "scenes": [*scenes]}, **options)


def test_clevr_asks_what_has_one_answer(tmp_path: Path):
    """Of three in a row, the left one is left of two others, and the middle one of one."""
    table = clevr(tmp_path, scene(0, *THREE))
    assert triples(table) == {
        ("blue cube", "left", "sphere"), ("blue cube", "right", "red cube")
    }  # fmt: skip
    assert list(table.images) == ["val/CLEVR_val_000000.png"]
    assert table.dropped["questions that several objects answer"] == 2
    nearest = clevr(tmp_path, scene(0, *THREE), answers="nearest")
    assert triples(nearest) == triples(table) | {
        ("red cube", "left", "blue cube"), ("sphere", "right", "blue cube")
    }  # fmt: skip
    turned = clevr(tmp_path, scene(0, *THREE), query="object")
    assert triples(turned) == {
        ("blue cube", "left", "red cube"), ("blue cube", "right", "sphere")
    }  # fmt: skip


def test_clevr_leaves_out_what_looks_like_another(tmp_path: Path):
    twins = solid("large red metal cube", 0, 0), solid("large red metal cube", 4, 0)
    table = clevr(
        tmp_path, scene(0, *twins, solid("large red metal sphere", 2, 0)), scene(1, *THREE)
    )
    assert table.dropped["objects that look like another"] == 2
    assert {item.image for pool in table.items.values() for item in pool} == {
        "val/CLEVR_val_000001.png"
    }


def test_clevr_keeps_official_splits(tmp_path: Path):
    touch(tmp_path, "images/train/CLEVR_train_000000.png", "images/val/CLEVR_val_000000.png")
    (tmp_path / "scenes").mkdir()
    for split in ("train", "val"):
        content = {"info": {}, "scenes": [scene(0, *THREE, split=split)]}
        (tmp_path / "scenes" / f"CLEVR_{split}_scenes.json").write_text(json.dumps(content))
    folders = {"file": str(tmp_path / "scenes"), "images": str(tmp_path / "images")}
    assert splits_of(read_table("clevr", **folders)) == {
        ("train/CLEVR_train_000000.png", "train"), ("val/CLEVR_val_000000.png", "validation"),
    }  # fmt: skip
    with pytest.raises(MfvError, match="has none of the files"):
        read_table("clevr", file=str(tmp_path), images=str(tmp_path))


def test_clevr_says_what_is_wrong_with_a_scene(tmp_path: Path):
    def changed(**more: Any) -> dict[str, Any]:
        return {**scene(2, *THREE), **more}

    bad = [
        [], changed(image_filename=3), changed(objects={}), changed(relationships=[]),
        changed(relationships={"left": [[1]]}), changed(relationships={"left": [[3], [], []]}),
        changed(relationships={"left": [[True], [], []]}),
        changed(objects=[{**THREE[0], "color": 1}]),
        changed(objects=[{**THREE[0], "3d_coords": [1, 2]}]),
    ]  # fmt: skip
    table = clevr(tmp_path, scene(0, *THREE), *bad)
    assert [finding.place for finding in table.findings] == [f"scene {n}" for n in range(2, 11)]
    assert "`left` of `relationships` has 1 entries, and there are 3 objects" in str(
        table.findings[4]
    )
    with pytest.raises(MfvError, match="has no `scenes`"):
        read(tmp_path, "clevr", {"images": []})


# -- boxes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("one", "other", "relation"),
    [
        ((0, 0, 10, 10), (50, 5, 60, 15), "left"), ((50, 5, 60, 15), (0, 0, 10, 10), "right"),
        ((0, 0, 10, 10), (5, 50, 15, 60), "above"), ((5, 50, 15, 60), (0, 0, 10, 10), "below"),
        ((0, 0, 10, 10), (50, 50, 60, 60), None),  # neither more left than above nor the reverse
        ((0, 0, 4, 4), (5, 0, 9, 4), None),  # nearer than the margin
        ((2, 2, 6, 6), (0, 0, 50, 50), "inside"), ((0, 0, 50, 50), (2, 2, 6, 6), None),
        ((0, 0, 20, 20), (5, 5, 25, 25), "overlapping"),
        ((0, 0, 20, 20), (15, 0, 35, 20), None),  # shares a quarter: not apart, nor overlapping
        ((0, 0, 10, 10), (0, 0, 10, 10), "overlapping"), ((0, 0, 0, 0), (50, 0, 60, 9), None),
    ],
)  # fmt: skip
def test_relations_of_boxes(one: Any, other: Any, relation: str | None):
    found = relation_between(Box(*one), Box(*other), 100, 100, Thresholds())
    assert found == relation


def test_thresholds():
    one, other = Box(0, 0, 10, 10), Box(50, 20, 60, 30)

    def of(**thresholds: float) -> str | None:
        return relation_between(one, other, 100, 100, Thresholds(**thresholds))

    assert of() == of(margin=0.5) == of(cone=2) == "left"
    assert of(margin=0.51) is None and of(cone=2.6) is None
    with pytest.raises(MfvError, match="both left of another and above") as error:
        Thresholds(cone=0.5)
    assert error.value.code == "MFV7122"
    half = Box(0, 0, 10, 10), Box(0, 5, 10, 40)
    assert relation_between(*half, 100, 100, Thresholds(inside=0.5)) == "inside"
    assert relation_between(*half, 100, 100, Thresholds(apart=0.5)) == "above"
    assert relation_between(*half, 100, 100, Thresholds(overlap=overlap(*half))) == "overlapping"


def coco(annotations: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "info": {}, "licenses": [],
        "images": [{"id": 139, "file_name": "000000000139.jpg", "width": 100, "height": 100}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "supercategory": "person"},
                       {"id": 18, "name": "dog"}, {"id": 199, "name": "wall-other-merged"}],
        **more,
    }  # fmt: skip


def box(category: int, *bbox: float, crowd: int = 0) -> dict[str, Any]:
    return {"id": 7, "image_id": 139, "category_id": category, "bbox": [*bbox], "iscrowd": crowd,
            "area": 9.0, "segmentation": []}  # fmt: skip


PERSON, DOG, WALL = box(1, 20, 40, 20, 40), box(18, 70, 50, 20, 20), box(199, 0, 0, 100, 30)


@pytest.mark.parametrize("image", ["000000000139.jpg", "val2017/000000000139.jpg"])
def test_boxes_of_coco(tmp_path: Path, image: str):
    touch(tmp_path, image)
    table = read(tmp_path, "boxes", coco([PERSON, DOG, WALL]))
    assert triples(table) == {
        ("person", "left", "dog"), ("dog", "right", "person"), ("person", "below", "wall"),
        ("dog", "below", "wall"),
    }  # fmt: skip
    assert table.dropped["questions that several objects answer"] == 1  # what the wall is above
    assert list(table.images) == [image]
    near = read(tmp_path, "boxes", coco([PERSON, DOG, WALL]), answers="nearest")
    assert ("wall", "above", "person") in triples(near)
    panoptic = {"image_id": 139, "file_name": "000000000139.png", "segments_info": [
        {key: value for key, value in one.items() if key != "image_id"}
        for one in (PERSON, DOG, WALL)
    ]}  # fmt: skip
    same = read(tmp_path, "boxes", coco([panoptic]))
    assert triples(same) == triples(table) and same.hash == table.hash


def test_boxes_of_names_that_others_have_are_left_out(tmp_path: Path):
    """Also where the other one is too small to be asked about, or is a crowd."""
    touch(tmp_path, "000000000139.jpg")
    tiny_dog, crowd = box(18, 1, 1, 2, 2), box(1, 0, 0, 90, 90, crowd=1)
    for more in (tiny_dog, {**crowd, "category_id": 18}):
        table = read(tmp_path, "boxes", coco([PERSON, DOG, WALL, more]))
        assert triples(table) == {("person", "below", "wall"), ("wall", "above", "person")}
        assert table.dropped["objects of a name that others have"] == 2
    with pytest.raises(MfvError, match="nothing is left"):
        read(tmp_path, "boxes", coco([PERSON, crowd]))
    small = read(tmp_path, "boxes", coco([PERSON, DOG, WALL]), min_area=0.05)
    assert small.dropped["objects outside 0.05 to 1 of the image's area"] == 1


def test_boxes_of_json_lines(tmp_path: Path):
    touch(tmp_path, "1.jpg", "2.jpg")
    line = {"image": "1.jpg", "width": 100, "height": 50, "split": "test",
            "objects": [{"name": "Cup", "bbox": [0, 0, 10, 10]},
                        {"name": "plate", "bbox": [60, 0, 30, 10]}]}  # fmt: skip
    lines = [line, {**line, "image": "2.jpg", "split": "train"}, line, {**line, "width": 0}, 5,
             {**line, "image": "3.jpg",
              "objects": [{"name": "cup", "bbox": [0, 0, -1, 2]}]}]  # fmt: skip
    table = read(tmp_path, "boxes", "\n".join(map(json.dumps, lines)), "set.jsonl")
    assert triples(table) == {("cup", "left", "plate"), ("plate", "right", "cup")}
    assert splits_of(table) == {("1.jpg", "test"), ("2.jpg", "train")}
    assert list(map(str, table.findings)) == [
        "line 3: cannot be understood: the image 1.jpg is in the file twice",
        "line 4: cannot be understood: the image 1.jpg is in the file twice",
        "line 5: cannot be understood: the line is 5, not an object `{...}`",
        "line 6: cannot be understood: `bbox` of object 0 is -1 × 2 pixels large",
    ]


def test_boxes_say_what_is_wrong_with_coco(tmp_path: Path):
    touch(tmp_path, "000000000139.jpg")
    bad = [{**PERSON, "image_id": 4}, {**PERSON, "category_id": 4}, {**PERSON, "bbox": [1, 2, 3]},
           5, {"image_id": 139, "segments_info": 3}]  # fmt: skip
    content = coco([PERSON, DOG, *bad])
    content["images"] += [content["images"][0], {"id": 5}]
    content["categories"] += [{"id": 1, "name": "person"}]
    table = read(tmp_path, "boxes", content)
    assert [finding.place for finding in table.findings] == [
        "annotation 2", "annotation 3", "annotation 4", "annotation 5", "annotation 6",
        "category 3", "image 1", "image 2",
    ]  # fmt: skip
    with pytest.raises(MfvError, match="`max_area` is less") as error:
        read(tmp_path, "boxes", content, min_area=0.5, max_area=0.1)
    assert error.value.code == "MFV7122" and error.value.argument == "max_area"
    with pytest.raises(MfvError, match="has no lists"):
        read(tmp_path, "boxes", [])


# -- visual genome --------------------------------------------------------------------------------
def end(key: int, name: str, plural: bool = False) -> dict[str, Any]:
    named = {"names": [name], "merged_object_ids": []} if plural else {"name": name}
    return {"object_id": key, "x": 1, "y": 2, "w": 3, "h": 4, "synsets": ["x.n.01"], **named}


def link(subject: Any, predicate: str, other: Any) -> dict[str, Any]:
    return {"relationship_id": 15927, "predicate": predicate, "synsets": [], "subject": subject,
            "object": other}  # fmt: skip


SHADE, STREET, MAN, HAT = end(1, "shade"), end(2, "Street", True), end(3, "man"), end(4, "hat")


def genome(folder: Path, *links: Any, **options: Any) -> Table:
    touch(folder, "VG_100K_2/2.jpg")
    entries = [{"image_id": 2, "relationships": [*links]}]
    return read(folder, "visual_genome", entries, **{"min_items": 1, **options})


def test_visual_genome(tmp_path: Path):
    links = [link(SHADE, "ON", STREET), link(MAN, "to the left of", HAT), link(MAN, "WEARS A", HAT),
             link(MAN, "'s 2", HAT), link(MAN, "2 in", HAT), link(MAN, " ", HAT)]  # fmt: skip
    table = genome(tmp_path, *links)
    assert triples(table) == {
        ("shade", "on", "street"), ("man", "left", "hat"), ("man", "wears a", "hat"),
        ("man", "'s 2", "hat"), ("man", "2 in", "hat"),
    }  # fmt: skip
    assert table.dropped == {"relationships whose predicate is no name of a relation": 1}
    assert list(table.images) == ["VG_100K_2/2.jpg"]
    assert triples(genome(tmp_path, *links, relations=("on",), min_items=9)) == {
        ("shade", "on", "street")
    }
    with pytest.raises(MfvError, match="5 items of relations with fewer than 2|nothing is left"):
        genome(tmp_path, *links, min_items=2)


def test_visual_genome_leaves_out_names_that_two_objects_have(tmp_path: Path):
    links = [link(MAN, "wears", HAT), link(end(9, "man"), "on", STREET), link(SHADE, "on", STREET)]
    table = genome(tmp_path, *links)
    assert triples(table) == {("shade", "on", "street")}
    assert table.dropped["relationships of a name that two objects have"] == 2
    assert len(triples(genome(tmp_path, *links, unique_names=False))) == 3


def test_visual_genome_says_what_is_wrong(tmp_path: Path):
    touch(tmp_path, "2.jpg")
    good = {"image_id": 2, "relationships": [link(SHADE, "on", STREET)]}
    bad = [good, 5, {"image_id": None}, {"image_id": 3, "relationships": [link(5, "on", HAT)]},
           {"image_id": 4, "relationships": [link(end(1, None), "on", HAT)]},
           {"image_id": 5,
            "relationships": [link({"object_id": 1, "names": []}, "on", HAT)]}]  # fmt: skip
    table = read(tmp_path, "visual_genome", [good, *bad], min_items=1)
    assert len(table.findings) == 6 and triples(table) == {("shade", "on", "street")}
    assert "image 2: cannot be understood: the image is in the file twice" in map(
        str, table.findings
    )
