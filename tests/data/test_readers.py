"""Datasets of files: what is read, how it is split, and what is told of mistakes."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.data import open_dataset, read_table
from mfv_dsl.data.check import check_dataset
from mfv_dsl.data.gqa import Rules
from mfv_dsl.data.names import answer_names, cleaned, read_synonyms
from mfv_dsl.data.table import FileDataset, Options
from mfv_dsl.lang.constructed import constructed
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.registry import Parameter
from tests.data.support import (
    CARDINAL,
    write_lines,
    write_metadata,
    write_pairs,
    write_scene_graphs,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a metadata.csv of 60 images."""
    folder = tmp_path_factory.mktemp("set")
    write_metadata(folder, 60)
    return folder


def metadata(folder: Path, **options: Any) -> FileDataset:
    found = open_dataset("metadata_csv", folder=str(folder), **options)
    assert isinstance(found, FileDataset)
    return found


def all_items(dataset: FileDataset, relation: str) -> list[tuple[str, str, str]]:
    return [
        (item.image, item.query, item.answer)
        for split in dataset.splits
        for item in dataset.items(relation, split)
    ]


# -- metadata_csv ---------------------------------------------------------------------------------
def test_metadata_is_the_table(made: Path):
    with (made / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    dataset = metadata(made)
    assert dataset.relations == CARDINAL
    for relation in CARDINAL:
        expected = [(r["image_name"], r["anchor"], r[f"{relation}_object"]) for r in rows]
        assert sorted(all_items(dataset, relation)) == sorted(expected)
    item = dataset.items("left", "test")[0]
    (row,) = [row for row in rows if row["image_name"] == item.image]
    assert item.neighbours == {name: row[f"{name}_object"] for name in CARDINAL}
    (picture,) = dataset.pictures([item.image], 224)
    assert (picture == np.asarray(Image.open(made / item.image))).all()


def test_the_paper_s_names(tmp_path: Path):
    names = ("antiquemug", "antiquespoon", "coffee", "greenbottle", "baseballbat", "apple")
    assert [cleaned(name) for name in names] == ["mug", "spoon", "mug", "bottle", "bat", "apple"]
    table = "image_name,anchor,left_object,random_object1\na.png,antiquespoon,greenbottle, book \n"
    (tmp_path / "metadata.csv").write_text("\ufeff" + table)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for clean, expected in ((True, ("spoon", "bottle")), (False, ("antiquespoon", "greenbottle"))):
        ((_, query, answer),) = all_items(metadata(tmp_path, clean=clean), "left")
        assert (query, answer) == expected


def test_relations_are_the_columns_that_are_filled(tmp_path: Path):
    write_metadata(tmp_path, 20, relations=("left", "above_right", "below"))
    dataset = metadata(tmp_path)
    assert dataset.relations == ("left", "above_right", "below")
    images = {relation: {row[0] for row in all_items(dataset, relation)}
              for relation in dataset.relations}  # fmt: skip
    assert len(images["left"]) == len(images["above_right"]) == 10
    assert not images["left"] & images["above_right"]
    assert images["left"] == images["below"]
    with pytest.raises(MfvError, match="no relation `rigth`") as found:
        metadata(tmp_path, relations=("left", "rigth"))
    assert found.value.code == "MFV7115" and found.value.argument == "relations"
    assert metadata(tmp_path, relations=("below", "left")).relations == ("below", "left")


def test_a_folder_of_splits(tmp_path: Path):
    for seed, split in enumerate(("extract", "test")):
        write_metadata(tmp_path / split, 6, seed)
    dataset = metadata(tmp_path)
    assert dataset.splits == ("extract", "test")
    assert {item.image for item in dataset.items("left", "test")} == {
        f"test/image_{n}.png" for n in range(1, 7)
    }
    with pytest.raises(MfvError, match="no items of `left` in a split `validation`"):
        dataset.items("left", "validation")


# -- splits ---------------------------------------------------------------------------------------
@pytest.mark.slow
def test_splits_are_disjoint_by_image_and_follow_the_shares(tmp_path: Path):
    lines = [
        {"image": f"{n}.png", "query": "a", "answer": "b", "relation": relation}
        for n in range(2000)
        for relation in ("left", "right")
    ]
    write_lines(tmp_path / "pairs.jsonl", lines)
    (tmp_path / "images").mkdir()
    for n in range(2000):
        (tmp_path / "images" / f"{n}.png").write_bytes(b"x" * (n % 7 + 1))
    arguments = {"file": str(tmp_path / "pairs.jsonl"), "images": str(tmp_path / "images")}
    table = read_table("pairs", **arguments)
    images = {split: {item.image for item in table.items["left", split]} for split in table.splits}
    for split in table.splits:
        assert images[split] == {item.image for item in table.items["right", split]}
        for other in table.splits:
            assert split == other or not images[split] & images[other]
    counts = np.array([len(images[split]) for split in ("extract", "train", "validation", "test")])
    assert counts.sum() == 2000
    assert (abs(counts / 2000 - (0.4, 0.2, 0.1, 0.3)) < 0.04).all()  # four standard deviations

    again = read_table("pairs", **arguments)
    assert again.hash == table.hash and again.items == table.items
    other = read_table("pairs", **arguments, seed=1)
    assert other.items["left", "test"] != table.items["left", "test"]
    assert other.hash != table.hash
    two = read_table("pairs", **arguments, extract=0, train=1.5, validation=0, test=0.5)
    assert two.splits == ("train", "test")
    assert abs(len(two.items["left", "train"]) / 2000 - 0.75) < 0.04

    # an image taken away moves no other
    write_lines(tmp_path / "pairs.jsonl", lines[2:])
    fewer = read_table("pairs", **arguments)
    left = {item.image for item in fewer.items["left", "test"]}
    assert left == images["test"] - {"0.png"}
    # nor does the file's place; an image of another size is another dataset
    (tmp_path / "images" / "5.png").write_bytes(b"another")
    assert read_table("pairs", **arguments).hash != fewer.hash


def test_no_shares_leave_nothing(made: Path):
    with pytest.raises(MfvError, match="shares of all splits are 0") as found:
        metadata(made, extract=0, train=0, validation=0, test=0)
    assert found.value.code == "MFV7122"


def test_named_splits(tmp_path: Path):
    items = write_pairs(tmp_path, 8)
    for number, item in enumerate(items):
        item["split"] = "test" if number < 16 else "dev"
    write_lines(tmp_path / "pairs.jsonl", items)
    dataset = open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"))
    assert dataset.splits == ("test", "dev")
    assert len(dataset.items("left", "test")) == len(dataset.items("left", "dev")) == 4


def test_balance(tmp_path: Path):
    items = [item for n, item in enumerate(write_pairs(tmp_path, 40))
             if item["relation"] != "below" or n % 3 == 0]  # fmt: skip
    write_lines(tmp_path / "pairs.jsonl", items)
    file = str(tmp_path / "pairs.jsonl")
    shares = {"extract": 1, "train": 0, "validation": 0, "test": 1}
    plain, even = (read_table("pairs", file=file, balance=on, **shares) for on in (False, True))
    for split in even.splits:
        counts = {len(even.items[relation, split]) for relation in CARDINAL}
        assert counts == {len(plain.items["below", split])}
        assert set(even.items["left", split]) <= set(plain.items["left", split])
    gone = even.dropped["items to balance the relations"]
    assert gone == len(items) - sum(map(len, even.items.values())) > 0
    with pytest.raises(MfvError, match="nothing can balance `below`") as found:
        write_lines(tmp_path / "pairs.jsonl", items[:30])
        read_table("pairs", file=file, balance=True)
    assert found.value.code == "MFV7115"


# -- pairs ----------------------------------------------------------------------------------------
def test_csv_and_jsonl_say_the_same(tmp_path: Path):
    items = write_pairs(tmp_path, 6)
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(items[0]))
        writer.writeheader()
        writer.writerows(items)
    one, other = (open_dataset("pairs", file=str(tmp_path / f"pairs.{end}"))
                  for end in ("jsonl", "csv"))  # fmt: skip
    assert one.hash == other.hash
    assert one.items("left", "test") == other.items("left", "test")


def test_mistakes_are_told_all_at_once_with_their_lines(tmp_path: Path):
    good = write_pairs(tmp_path, 2)
    lines = [
        json.dumps(good[0]),
        '{"image": "image_1.png", "query": "x"',
        "",
        json.dumps({**good[1], "answr": "y"}),
        json.dumps({**good[2], "answer": ""}),
        json.dumps({**good[3], "query": 5}),
        '["no", "object"]',
        json.dumps(good[0]),
        json.dumps({**good[0], "answer": "blue ring"}),
        json.dumps({**good[4], "relation": "next <image> to"}),
        json.dumps({**good[5], "image": "image_9.png"}),
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    with pytest.raises(MfvError) as found:
        open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"))
    assert found.value.code == "MFV7107"
    assert found.value.notes == (
        "line 2: it is not JSON: Expecting ',' delimiter (column 38)",
        "line 4: there is no key `answr`; did you mean `answer`?",
        "line 5: `answer` missing or empty",
        "line 6: `query` is not text but 5",
        "line 7: is JSON, but not an object `{...}`",
        "line 8: says the same as line 1",
        f"line 9: gives `blue ring` where line 1 gives `{good[0]['answer']}`",
        "line 10: the relation `next <image> to` holds `<image>`, which models read as a mark, not "
        "as a name",
        "line 11: there is no image image_9.png",
    )


def test_many_mistakes_are_counted(tmp_path: Path):
    items = write_pairs(tmp_path, 10)
    write_lines(tmp_path / "pairs.jsonl", [{**item, "extra": "1"} for item in items * 2])
    with pytest.raises(MfvError, match="41 mistakes") as found:
        open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"))
    assert found.value.notes[0] == "line 1: there is no key `extra` (80 lines have it)"
    assert len(found.value.notes) == 21
    assert found.value.notes[-1] == "and 21 more: `mfv data check` lists all"


def test_relations_that_are_not_asked_for_do_not_matter(tmp_path: Path):
    items = write_pairs(tmp_path, 8)
    lines = [{**items[0], "relation": "x" * 101}, {**items[1], "image": "\0.png"}, *items[4:]]
    write_lines(tmp_path / "pairs.jsonl", lines)
    file = str(tmp_path / "pairs.jsonl")
    assert read_table("pairs", file=file, relations=("left",)).findings == ()
    assert [f.place for f in read_table("pairs", file=file).findings] == ["line 1", "line 2"]
    with pytest.raises(MfvError, match="nothing is left"):
        read_table("pairs", file=file, relations=())


# -- gqa ------------------------------------------------------------------------------------------
def graph(tmp_path: Path, scenes: Any, **options: Any) -> Any:
    """The table of scene graphs, whose images are there."""
    images = tmp_path / "images"
    images.mkdir(exist_ok=True)
    for key in scenes if isinstance(scenes, dict) else [one["image_id"] for one in scenes]:
        (images / f"{key}.jpg").write_bytes(b"x")
    (tmp_path / "graphs.json").write_text(json.dumps(scenes))
    return read_table("gqa", file=str(tmp_path / "graphs.json"), images=str(images), **options)


def scene(*objects: tuple[str, int, list[tuple[str, str]]]) -> dict[str, Any]:
    """A scene graph of 100 × 100: (name, height, [(predicate, key of the object)]), 100 wide."""
    return {
        "width": 100, "height": 100,
        "objects": {
            str(key): {"name": name, "x": 0, "y": 0, "w": 100, "h": height,
                       "relations": [{"name": p, "object": other} for p, other in relations]}
            for key, (name, height, relations) in enumerate(objects)
        },
    }  # fmt: skip


def pairs_of(table: Any) -> set[tuple[str, str, str]]:
    return {(i.query, i.relation, i.answer) for pool in table.items.values() for i in pool}


PEOPLE = scene(
    ("Man", 20, [("holding", "1"), ("to the left of", "2")]), ("cup", 10, []), ("dog", 30, [])
)


def test_scene_graphs(tmp_path: Path):
    table = graph(tmp_path, {"7": PEOPLE})
    assert pairs_of(table) == {("man", "holding", "cup"), ("man", "left", "dog")}
    turned = graph(tmp_path, {"7": PEOPLE}, query="object")
    assert pairs_of(turned) == {("cup", "holding", "man"), ("dog", "left", "man")}
    assert list(table.images) == ["7.jpg"]


@pytest.mark.parametrize("form", [list, dict])
def test_the_official_subset(tmp_path: Path, form: type):
    entry = {
        "image_id": 11,
        "objects": [{"name": name, "bbox": {"x": 0, "y": 0, "w": 1, "h": 1}}
                    for name in ("boy", "bat", "shirt")],
        "relations": [{"subject": "boy", "predicate": "holding", "object": "bat"},
                      {"subject": "boy", "predicate": "standing on", "object": "shirt"}],
    }  # fmt: skip
    table = graph(tmp_path, [entry] if form is list else {"11": entry})
    assert pairs_of(table) == {("boy", "holding", "bat"), ("boy", "standing on", "shirt")}


def published(image_id: str, names: str, *relations: tuple[str, str, str]) -> dict[str, Any]:
    """An entry in the form of the published files of agentic relations."""
    return {
        "image_id": image_id,
        "objects": [{"name": name, "bbox": {"x": 20 * i, "y": 7, "w": 90, "h": 115}}
                    for i, name in enumerate(names.split())],
        "relations": [dict(zip(("subject", "object", "predicate"), r, strict=True))
                      for r in relations],
    }  # fmt: skip


#: two objects; a background; a question with two answers, and an object in relation to itself; fine
PUBLISHED = [
    published("2371", "wetsuit man", ("man", "wetsuit", "wearing")),
    published("2400", "pants grass man", ("man", "pants", "wearing"),
              ("man", "grass", "standing on")),
    published("2325", "guy pants grass jacket boy", ("guy", "jacket", "wearing"),
              ("guy", "pants", "wearing"), ("boy", "boy", "wearing")),
    published("2317", "bowl spoon tomato soup", ("bowl", "soup", "holding")),
]  # fmt: skip


def test_what_is_filtered_already_is_not_filtered_again(tmp_path: Path):
    table = graph(tmp_path, PUBLISHED)
    assert pairs_of(table) == {
        ("man", "wearing", "wetsuit"), ("man", "wearing", "pants"), ("man", "standing on", "grass"),
        ("guy", "wearing", "jacket"), ("boy", "wearing", "boy"), ("bowl", "holding", "soup"),
    }  # fmt: skip
    assert table.dropped == {"further answers to a question": 1} and table.findings == ()
    assert "4 images not filtered again, as the file holds filtered ones" in table.description
    again = graph(tmp_path, PUBLISHED, filter="paper")
    assert pairs_of(again) == {("bowl", "holding", "soup")} and not again.remark
    ruled = graph(tmp_path, PUBLISHED, min_objects=2)
    assert pairs_of(ruled) == pairs_of(table)
    assert [finding.code for finding in ruled.findings] == ["MFV5367"]


def test_scene_graphs_are_filtered_unless_told_otherwise(tmp_path: Path):
    two = {"1": scene(("man", 4, [("holding", "1")]), ("cup", 10, [("on", "9")])), "2": PEOPLE}
    assert ("man", "holding", "cup") in pairs_of(graph(tmp_path, two))
    assert {item.image for pool in graph(tmp_path, two).items.values() for item in pool} == {
        "2.jpg"
    }
    table = graph(tmp_path, two, filter="none")
    assert len(pairs_of(table)) == 2 and len(table.images) == 2
    assert "; 2 images not filtered; left out: 1 relations to objects" in table.description


def test_a_second_file_is_the_test_split(tmp_path: Path):
    (tmp_path / "test.json").write_text(json.dumps(PUBLISHED[3:]))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "2317.jpg").write_bytes(b"x")
    table = graph(tmp_path, PUBLISHED[:3], test_file=str(tmp_path / "test.json"))
    by_split = {(item.image, split) for (_, split), pool in table.items.items() for item in pool}
    assert ("2317.jpg", "test") in by_split
    assert {split for image, split in by_split if image != "2317.jpg"}.isdisjoint({"test"})
    assert len(by_split) == 4
    both = graph(tmp_path, PUBLISHED, test_file=str(tmp_path / "test.json"))
    assert "image 2317: is in the file twice" in map(str, both.findings)


CHAIR, LAMP = ("chair", 10, []), ("lamp", 10, [])


@pytest.mark.parametrize(
    ("wrong", "rule", "off"),
    [
        (scene(("man", 4, [("holding", "1")]), ("cup", 10, []), CHAIR, LAMP),
         "objects outside 0.05 to 0.5 of the image's area", {"min_area": 0}),
        (scene(("man", 51, [("holding", "1")]), ("cup", 10, []), CHAIR, LAMP),
         "objects outside 0.05 to 0.5 of the image's area", {"max_area": 1}),
        (scene(("man", 10, [("holding", "1")]), ("sky", 10, []), CHAIR, LAMP),
         "objects of names left out", {"without": ()}),
        (scene(("man", 10, [("holding", "1")]), ("cup", 10, [])),
         "images with fewer than 3 objects", {"min_objects": 2}),
        (scene(("man", 10, [("holding", "1")]), ("cup", 10, []), CHAIR, CHAIR),
         "images with two objects of a name", {"unique_names": False}),
        (scene(("man", 10, [("holding", "1"), ("holding", "2")]), ("cup", 10, []), CHAIR),
         "images where a question has two answers", {"unambiguous": False}),
    ],
)  # fmt: skip
def test_rules(tmp_path: Path, wrong: Any, rule: str, off: dict[str, Any]):
    """Each rule leaves out, counts what it leaves out, and can be turned off."""
    good = scene(("woman", 10, [("riding", "1")]), ("horse", 10, []), CHAIR)
    table = graph(tmp_path, {"1": good, "2": wrong})
    assert pairs_of(table) == {("woman", "riding", "horse")}
    assert table.dropped[rule] == 1
    assert f"1 {rule}" in table.description
    without = graph(tmp_path, {"1": good, "2": wrong}, **off)
    assert len(pairs_of(without)) == 2
    assert not without.dropped.get(rule)


def test_too_many_objects_or_relations(tmp_path: Path):
    crowd = scene(*[(f"o{n}", 5, [("near", str(n + 1))] if n < 5 else []) for n in range(6)])
    both = {"1": PEOPLE, "2": crowd}
    assert graph(tmp_path, both, max_objects=5).dropped["images with more than 5 objects"] == 1
    table = graph(tmp_path, both, max_relations=4)
    assert table.dropped["images with more than 4 relations"] == 1
    kept = graph(tmp_path, both, max_relations=4, relations=("holding", "left"))
    assert not kept.dropped.get("images with more than 4 relations")


def test_scene_graphs_that_make_no_sense(tmp_path: Path):
    broken = {"1": PEOPLE, "2": {"objects": {}}, "3": {"width": 0, "height": 9, "objects": {}},
              "4": [], "5": {"width": 9, "height": 9, "objects": {"0": {"w": 1}}}}  # fmt: skip
    table = graph(tmp_path, broken)
    assert [str(f) for f in table.findings] == [
        "image 2: cannot be understood: the image has no `width`",
        "image 3: cannot be understood: the size of the image is 0 × 9",
        "image 4: cannot be understood: the image is [], not an object `{...}`",
        "image 5: cannot be understood: object 0 has no `name`",
    ]
    twice = [{"image_id": "1", "objects": [], "relations": []}] * 2
    with pytest.raises(MfvError, match="image 1: is in the file twice"):
        FileDataset(graph(tmp_path, [*twice]))
    (tmp_path / "graphs.json").write_text("{]")
    with pytest.raises(MfvError, match="is not JSON") as found:
        read_table("gqa", file=str(tmp_path / "graphs.json"), images=str(tmp_path))
    assert found.value.code == "MFV7106"


# -- names ----------------------------------------------------------------------------------------
def test_synonyms_and_names_of_several_words(tmp_path: Path):
    write_pairs(tmp_path, 8)
    (tmp_path / "synonyms.csv").write_text("canonical,synonym\nscarlet disc,red circle\n")
    options = {"file": str(tmp_path / "pairs.jsonl"), "relations": ("left", "right")}
    plain = open_dataset("pairs", **options)
    named = open_dataset("pairs", **options, synonyms=str(tmp_path / "synonyms.csv"))
    assert "red circle" in answer_names(plain)
    expected = {name.replace("red circle", "scarlet disc") for name in answer_names(plain)}
    assert answer_names(named) == tuple(sorted(expected))
    assert plain.hash != named.hash


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n", "no list of synonyms"),
        ("canonical,synonym\ncup,\n", "line 2: one of the two names is missing"),
        ("canonical,synonym\ncup,mug\npot,mug\n", "line 3: `mug` already stands for `cup`"),
        ("canonical,synonym\ncup,mug\npot,cup\n", "`cup` stands for `mug`, and `pot` for it"),
        ("canonical,synonym\ncup\n", "line 2: 1 cells, and there are 2 columns"),
    ],
)
def test_bad_synonyms(tmp_path: Path, text: str, says: str):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(MfvError) as found:
        read_synonyms(str(tmp_path / "s.csv"))
    assert found.value.code == "MFV7114"
    assert says in str(found.value)


# -- defaults -------------------------------------------------------------------------------------
def test_the_language_and_python_have_the_same_defaults():
    for name, ours in (("pairs", Options()), ("gqa", Rules()), ("metadata_csv", Options())):
        for parameter in CONSTRUCTOR["dataset"][name].parameters:
            if hasattr(ours, parameter.name):
                assert getattr(ours, parameter.name) == parameter.default, parameter.name
        known = {parameter.name for parameter in CONSTRUCTOR["dataset"][name].parameters}
        assert {field.name for field in fields(ours)} <= known


# -- in a recipe ----------------------------------------------------------------------------------
def test_a_recipe_shows_the_place_of_a_dataset_s_mistake(tmp_path: Path):
    write_metadata(tmp_path / "set", 4)
    text = f'mfv 1\ndataset d = metadata_csv("{tmp_path / "set"}", relations=[left, rigth])\n'
    with pytest.raises(mfv.RecipeError) as found:
        mfv.Recipe(text)
    (diagnostic,) = found.value.diagnostics
    assert diagnostic.code == "MFV7115" and diagnostic.help == "did you mean `right`?"
    assert text[diagnostic.span.start : diagnostic.span.end] == "[left, rigth]"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metadata_csv", "pairs", "gqa"])
def test_facts_need_neither_torch_nor_numpy(tmp_path: Path, name: str):
    write_scene_graphs(tmp_path / "gqa", 6)
    write_pairs(tmp_path / "pairs", 6)
    expression = {
        "metadata_csv": f'metadata_csv("{tmp_path / "pairs"}")',
        "pairs": f'pairs("{tmp_path / "pairs" / "pairs.jsonl"}")',
        "gqa": f'gqa("{tmp_path / "gqa" / "graphs.json"}", images="{tmp_path / "gqa" / "images"}", '
        "min_area=0.01)",
    }[name]
    (tmp_path / "r.mfv").write_text(f"mfv 1\nmodel m = tiny()\ndataset d = {expression}\n"
                                    "eval e { shots = 1 }\n")  # fmt: skip
    program = (
        "import sys, mfv_dsl; mfv_dsl.Recipe.from_file(sys.argv[1]); "
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "r.mfv")], capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="datasets is there")
def test_the_hub_says_what_it_needs():
    with pytest.raises(mfv.RecipeError) as found:
        mfv.Recipe('mfv 1\ndataset d = hf_dataset("org/name")\n')
    assert found.value.code == "MFV7116"
    assert found.value.diagnostics[0].help == "pip install datasets"


# -- a format of one's own ------------------------------------------------------------------------
READER = """
from pathlib import Path
from typing import Any

from mfv_dsl.data.image_files import files_in
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.table import Options, Table, build, of_files


def read(folder: str, **options: Any) -> Table:
    files = files_in(Path(folder), [f"{number}.png" for number in range(12)])
    rows = [ItemRow(image, image, "cup", f"thing on {image}", "left") for image in files]
    return build(f"dozen({folder})", rows, files, Options(**options))


facts, dataset = of_files(read)
"""


def test_a_new_reader_is_a_row_and_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Recipes, the check of a dataset and whoever opens it find the module by the row alone."""
    (tmp_path / "reader_of_a_dozen.py").write_text(READER)
    monkeypatch.syspath_prepend(str(tmp_path))
    common = {field.name for field in fields(Options)}
    pairs = CONSTRUCTOR["dataset"]["pairs"]
    row = replace(
        pairs, name="dozen", module="reader_of_a_dozen",
        parameters=(Parameter("folder", ("Text",), "the folder", positional=True),
                    *(p for p in pairs.parameters if p.name in common)),
    )  # fmt: skip
    monkeypatch.setitem(CONSTRUCTOR["dataset"], "dozen", row)
    for number in range(12):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    text = f'dozen("{tmp_path}", seed=1)'
    declared = constructed("dataset", text)
    assert declared.facts is not None and declared.facts.relations == ("left",)
    dataset = open_dataset(declared.constructor, **declared.arguments)
    assert len(all_items(dataset, "left")) == 12
    report = check_dataset(declared, lambda label, total: lambda units: None, shots=1)
    assert report.hash == declared.facts.hash and not report.failed
    (tmp_path / "3.png").unlink()
    with pytest.raises(RecipeError, match="there is no image 3.png"):
        constructed("dataset", text)
    assert mfv.Recipe(f"mfv 1\ndataset twelve = {text.replace(')', ', missing=drop)')}\n")
