"""Published sets of statements, in the form of their files: VSR, What's Up, SpatialSense."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import open_dataset, read_table
from mfv_dsl.data.statements import Statement, items_of
from mfv_dsl.data.table import Table


def triples(table: Table) -> set[tuple[str, str, str]]:
    return {(i.query, i.relation, i.answer) for pool in table.items.values() for i in pool}


def splits_of(table: Table) -> set[tuple[str, str]]:
    return {(item.image, split) for (_, split), pool in table.items.items() for item in pool}


def touch(folder: Path, *names: str) -> None:
    """Files that stand for images: readers look at no pixels."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


# -- vsr ------------------------------------------------------------------------------------------
def caption(number: int, text: str, relation: str, label: int = 1, **more: Any) -> dict[str, Any]:
    """A line of VSR's validated file."""
    return {
        "image": f"{number:012d}.jpg",
        "image_link": f"http://images.cocodataset.org/train2017/{number:012d}.jpg",
        "caption": text, "label": label, "relation": relation, "annotator_id": 31,
        "vote_true_validator_id": "[2, 10, 1]", "vote_false_validator_id": "[]", **more,
    }  # fmt: skip


CAPTIONS = [
    caption(1, "The teddy bear is in front of the person.", "in front of", reference_frame=None),
    caption(1, "The train contains the laptop.", "contains", reference_frame=1.0),
    caption(2, "The hot dog is at the left side of the bowl. ", "at the left side of",
            vote_true_validator_id=[2], subj="ot dog", obj="bowl"),
    caption(3, "The umbrella is far away from the motorcycle.", "far away from", 0),
]  # fmt: skip


def vsr(folder: Path, lines: list[Any], **options: Any) -> Table:
    (folder / "vsr.jsonl").write_text("\n".join(map(json.dumps, lines)))
    touch(folder / "images", *(f"{number:012d}.jpg" for number in range(1, 6)))
    return read_table(
        "vsr", file=str(folder / "vsr.jsonl"), images=str(folder / "images"), **options
    )


def test_vsr_asks_for_the_other_object_of_true_captions(tmp_path: Path):
    table = vsr(tmp_path, CAPTIONS)
    assert triples(table) == {
        ("teddy bear", "in front of", "person"), ("train", "contains", "laptop"),
        ("hot dog", "at the left side of", "bowl"),
    }  # fmt: skip
    assert table.dropped["statements that do not hold"] == 1 and not table.findings
    assert "1 captions whose `subj` or `obj` is not their word" in table.description
    turned = vsr(tmp_path, CAPTIONS, query="object")
    assert ("person", "in front of", "teddy bear") in triples(turned)


def test_vsr_asks_whether_captions_are_true(tmp_path: Path):
    table = vsr(tmp_path, CAPTIONS, ask="truth")
    assert triples(table) == {
        ("The teddy bear is in front of the person", "in front of", "true"),
        ("The train contains the laptop", "contains", "true"),
        ("The hot dog is at the left side of the bowl", "at the left side of", "true"),
        ("The umbrella is far away from the motorcycle", "far away from", "false"),
    }


def test_vsr_keeps_official_splits_and_an_image_is_in_one(tmp_path: Path):
    """As published, the random split shows images in several of its parts."""
    parts = {
        "train": [CAPTIONS[0], CAPTIONS[2], caption(4, "The cat is on the mat.", "on")],
        "dev": [CAPTIONS[2], caption(5, "The dog is on the mat.", "on")],
        "test": [CAPTIONS[1]],
    }
    (tmp_path / "splits").mkdir()
    for name, lines in parts.items():
        (tmp_path / "splits" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    touch(tmp_path / "images", *(f"{number:012d}.jpg" for number in range(1, 6)))
    images = str(tmp_path / "images")
    table = read_table("vsr", file=str(tmp_path / "splits"), images=images)
    assert table.splits == ("train", "validation", "test")
    assert splits_of(table) == {
        ("000000000001.jpg", "test"), ("000000000002.jpg", "validation"),
        ("000000000004.jpg", "train"), ("000000000005.jpg", "validation"),
    }  # fmt: skip
    assert table.dropped["items whose image another split shows"] == 2
    (tmp_path / "splits" / "dev.jsonl").write_text("{")
    found = read_table("vsr", file=str(tmp_path / "splits"), images=images).findings
    assert [finding.place for finding in found] == ["dev.jsonl line 1"]
    with pytest.raises(MfvError, match="has none of the files") as error:
        read_table("vsr", file=images, images=images)
    assert error.value.code == "MFV7106"


def test_vsr_finds_images_in_the_folders_of_coco(tmp_path: Path):
    (tmp_path / "vsr.jsonl").write_text(json.dumps(CAPTIONS[0]))
    touch(tmp_path, "train2017/000000000001.jpg")
    table = read_table("vsr", file=str(tmp_path / "vsr.jsonl"), images=str(tmp_path))
    assert list(table.images) == ["train2017/000000000001.jpg"]


def test_vsr_says_what_is_wrong_with_a_line(tmp_path: Path):
    broken = [
        CAPTIONS[0], [], {**CAPTIONS[1], "label": 2}, {**CAPTIONS[1], "label": "1"},
        {**CAPTIONS[1], "caption": None}, {**CAPTIONS[2], "subj": 5},
        {key: value for key, value in CAPTIONS[1].items() if key != "relation"},
        caption(9, "The cat is on the mat.", "on"), caption(4, "A sunny day.", "on"),
    ]  # fmt: skip
    table = vsr(tmp_path, broken)
    assert list(map(str, table.findings)) == [
        "line 2: cannot be understood: the line is [], not an object `{...}`",
        "line 3: cannot be understood: `label` of the line is 2, not 0 or 1, false or true",
        'line 4: cannot be understood: `label` of the line is "1", not 0 or 1, false or true',
        "line 5: cannot be understood: `caption` of the line is null, not a text",
        "line 6: cannot be understood: `subj` of the line is 5, not a text",
        "line 7: cannot be understood: the line has no `relation`",
        "line 8: there is no image 000000000009.jpg",
    ]
    assert table.dropped["captions that cannot be taken apart"] == 1


# -- whatsup --------------------------------------------------------------------------------------
def controlled(name: str, *captions: str) -> dict[str, Any]:
    return {"image_path": f"data/controlled_images/{name}.jpeg", "caption_options": [*captions]}


CONTROLLED = [
    controlled("beer-bottle_on_armchair", "A beer bottle on a armchair",
               "A beer bottle under a armchair", "A beer bottle to the left of a armchair",
               "A beer bottle to the right of a armchair"),
    controlled("scarf_right_of_armchair", "A scarf to the right of a armchair",
               "A scarf on a armchair"),
    controlled("bottle-of-juice_under_chair", "A bottle of juice under a chair"),
    controlled("bowl_in-front_of_cup", "A bowl in front of a cup", "A bowl behind a cup"),
    controlled("mug_left_of_plate", "A mug to the right of a plate"),
]  # fmt: skip
OF_COCO = [
    [25, "A photo of a dining table to the left of a refrigerator",
     "A photo of a dining table to the right of a refrigerator"],
    [397133, "A photo of a TV above a chair", "A photo of a TV below a chair"],
    [25, "A photo of a cup on the left", "A photo of a cup on the right"],
]  # fmt: skip


def whatsup(folder: Path, entries: Any, name: str = "set.json", **options: Any) -> Table:
    (folder / name).write_text(json.dumps(entries))
    return read_table("whatsup", file=str(folder / name), images=str(folder), **options)


def test_whatsup_of_the_authors_own_pictures(tmp_path: Path):
    touch(tmp_path, *(f"controlled_images/{Path(e['image_path']).name}" for e in CONTROLLED))
    table = whatsup(tmp_path, CONTROLLED)
    assert triples(table) == {
        ("beer bottle", "on", "armchair"), ("scarf", "right", "armchair"),
        ("bottle of juice", "under", "chair"), ("bowl", "in front of", "cup"),
    }  # fmt: skip
    assert table.dropped == {"captions that contradict their image's path": 1}
    assert "controlled_images/beer-bottle_on_armchair.jpeg" in table.images
    truths = triples(whatsup(tmp_path, CONTROLLED, ask="truth"))
    assert ("A beer bottle under a armchair", "under", "false") in truths
    assert ("A bowl in front of a cup", "in front of", "true") in truths and len(truths) == 9


@pytest.mark.parametrize("image", ["val2017/000000000025.jpg", "000000000025.jpg"])
def test_whatsup_of_coco(tmp_path: Path, image: str):
    touch(tmp_path, image, image.replace("000000000025", "000000397133"))
    table = whatsup(tmp_path, OF_COCO)
    assert triples(table) == {
        ("dining table", "left", "refrigerator"), ("tv", "above", "chair")
    }  # fmt: skip
    assert table.dropped == {"captions of one object": 1}
    assert image in table.images
    assert ("A photo of a cup on the left", "left", "true") in triples(
        whatsup(tmp_path, OF_COCO, ask="truth")
    )


def test_whatsup_of_visual_genome(tmp_path: Path):
    touch(tmp_path, "vg_images/25.jpg")
    entries = [
        [25, "The black trees behind the fence", "The black trees in front of the fence"],
        [25, "A photo of a lamp on top of a desk", "A photo of a lamp below a desk"],
    ]
    table = whatsup(tmp_path, entries, "vg_qa_two_obj.json")
    assert triples(table) == {("black trees", "behind", "fence"), ("lamp", "on top of", "desk")}
    (tmp_path / "vg_images" / "25.jpg").unlink()
    found = whatsup(tmp_path, entries, "vg_qa_two_obj.json").findings
    assert str(found[0]) == "entry 1: there is no image 25.jpg"


def test_whatsup_says_what_is_wrong_with_an_entry(tmp_path: Path):
    touch(tmp_path, "a.jpeg")
    entries: list[Any] = [
        {"image_path": "a.jpeg", "caption_options": ["A cup on a table", 5]},
        {"image_path": "a.jpeg", "caption_options": []}, {"image_path": "a.jpeg"}, 7, [7],
        [1.5, "x"],
        {"image_path": "a.jpeg", "caption_options": ["A cup on a table"]},
        {"image_path": "a.jpeg", "caption_options": ["Nothing at all"]},
    ]  # fmt: skip
    table = whatsup(tmp_path, entries)
    assert [finding.place for finding in table.findings] == [f"entry {n}" for n in range(1, 7)]
    assert triples(table) == {("cup", "on", "table")}
    assert table.dropped == {"captions that cannot be taken apart": 1}
    with pytest.raises(MfvError, match="no list of captioned images") as error:
        whatsup(tmp_path, {"a": 1})
    assert error.value.code == "MFV7106"


# -- spatialsense ---------------------------------------------------------------------------------
def thing(name: str, *box: int) -> dict[str, Any]:
    """``box`` as published: y0, y1, x0, x1."""
    return {"name": name, "x": box[2] + 1, "y": box[0] + 1, "bbox": [*box]}


CAT, GROUND, MIRROR = (
    thing("cat", 230, 434, 31, 264), thing("ground", 196, 500, 3, 278),
    thing("mirror", 0, 345, 160, 280),
)  # fmt: skip


def annotation(subject: Any, predicate: str, other: Any, label: bool = True) -> dict[str, Any]:
    return {"_id": "59fb", "predicate": predicate, "subject": subject, "object": other,
            "label": label}  # fmt: skip


def sense(folder: Path, *entries: Any, **options: Any) -> Table:
    (folder / "annotations.json").write_text(json.dumps(entries))
    return read_table(
        "spatialsense", file=str(folder / "annotations.json"), images=str(folder), **options
    )


def image(url: str, split: str, *annotations: Any) -> dict[str, Any]:
    return {"url": url, "nsid": "10392797@N03", "height": 500, "width": 281, "split": split,
            "annotations": [*annotations]}  # fmt: skip


def test_spatialsense(tmp_path: Path):
    touch(tmp_path, "flickr/1.jpg", "nyu/2.jpg", "3.jpg")
    entries = [
        image("https://farm4.staticflickr.com/3543/1.jpg", "train", annotation(CAT, "on", GROUND),
              annotation(CAT, "to the left of", MIRROR), annotation(CAT, "in", MIRROR, False)),
        image("/nyu/2.jpg", "valid", annotation(MIRROR, "behind", CAT)),
        image("https://farm4.staticflickr.com/3.jpg", "test", annotation(CAT, "under", MIRROR)),
    ]  # fmt: skip
    table = sense(tmp_path, *entries)
    assert triples(table) == {
        ("cat", "on", "ground"), ("cat", "left", "mirror"), ("mirror", "behind", "cat"),
        ("cat", "under", "mirror"),
    }  # fmt: skip
    assert splits_of(table) == {("flickr/1.jpg", "train"), ("nyu/2.jpg", "validation"),
                                ("3.jpg", "test")}  # fmt: skip
    assert table.dropped["statements that do not hold"] == 1
    assert ("cat in mirror", "in", "false") in triples(sense(tmp_path, *entries, ask="truth"))


def test_spatialsense_leaves_out_names_that_two_objects_have(tmp_path: Path):
    """Two boxes of a name, apart from left to right alone: the order of a box's numbers matters."""
    touch(tmp_path, "1.jpg")
    other_cat = thing("cat", 230, 434, 264, 280)
    two = image("http://f/1.jpg", "train", annotation(CAT, "on", GROUND),
                annotation(other_cat, "behind", MIRROR),
                annotation(MIRROR, "on", GROUND))  # fmt: skip
    table = sense(tmp_path, two)
    assert triples(table) == {("mirror", "on", "ground")}
    assert table.dropped["statements of a name that two objects have"] == 2
    assert len(triples(sense(tmp_path, two, unique_names=False))) == 3
    nearly = image("http://f/1.jpg", "train", annotation(CAT, "on", GROUND),
                   annotation(thing("cat", 226, 449, 33, 271), "behind", MIRROR))  # fmt: skip
    assert len(triples(sense(tmp_path, nearly))) == 2


def test_spatialsense_says_what_is_wrong(tmp_path: Path):
    touch(tmp_path, "1.jpg")
    bad = image("http://f/1.jpg", "train", annotation({**CAT, "bbox": [1, 2, 3]}, "on", GROUND),
                annotation({**CAT, "bbox": [1, 2, 3, None]}, "on", GROUND),
                annotation(CAT, "on", GROUND, label="yes"), 5,
                annotation(CAT, "on", GROUND))  # fmt: skip
    table = sense(tmp_path, bad, {"url": 5}, [])
    assert [finding.place for finding in table.findings] == [
        "entry 1, annotation 0", "entry 1, annotation 1", "entry 1, annotation 2",
        "entry 1, annotation 3", "entry 2", "entry 3",
    ]  # fmt: skip
    assert "`bbox` of its subject is [1, 2, 3], not 4 numbers" in str(table.findings[0])
    assert triples(table) == {("cat", "on", "ground")}


# -- what they share ------------------------------------------------------------------------------
def test_a_question_has_one_answer_and_is_asked_once():
    def statement(subject: str, other: str) -> Statement:
        return Statement("", "1.jpg", subject, "on", other, f"{subject} on {other}")

    dropped: Counter[str] = Counter()
    said = [statement("cup", "table"), statement("cup", "desk"), statement("cup", "table"),
            statement("mat", "mat")]  # fmt: skip
    rows = items_of(said, "answer", "subject", dropped)
    assert [(row.query, row.answer) for row in rows] == [("cup", "table")]
    assert dropped == {
        "further answers to a question": 1, "items that are there twice": 1,
        "relations of an object to its own name": 1,
    }  # fmt: skip


def test_they_are_words_of_recipes(tmp_path: Path):
    vsr(tmp_path, CAPTIONS)
    dataset = open_dataset(
        "vsr", file=str(tmp_path / "vsr.jsonl"), images=str(tmp_path / "images"),
        relations=("contains",), extract=1, train=0, validation=0, test=0,
    )  # fmt: skip
    assert [item.answer for item in dataset.items("contains", "extract")] == ["laptop"]
