"""Questions with options: what sets give, which option is right, and what is no choice."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mfv_dsl as mfv
from mfv_dsl.data import facts_of, open_dataset, read_table
from mfv_dsl.data.choices import BadChoice, Choice, choice_of, right_of
from mfv_dsl.data.convert import convert
from mfv_dsl.data.items import Item
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.table import Table
from tests.data.test_parquet_sets import asked, cell, question, write
from tests.data.test_published_sets import CAPTIONS, controlled, touch, vsr

pytest.importorskip("pyarrow")


def items(table: Table) -> list[Item]:
    return [item for pool in table.items.values() for item in pool]


def choices(table: Table) -> dict[str, Choice | None]:
    return {item.query: item.choice for item in items(table)}


# -- which option is right ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "options", "right"),
    [
        ("lamp", ["cup", "lamp"], 1), ("B", ["cup", "lamp"], 1), ("(b).", ["cup", "lamp"], 1),
        (1, ["cup", "lamp"], 1), ("1", ["cup", "lamp"], 1), ("1", ["3", "2", "1"], 2),
        ("A", ["B", "A"], 1), (0, [0, 2], 0), (" lamp ", ["cup", "lamp"], 1),
    ],
)  # fmt: skip
def test_an_answer_is_a_text_a_letter_or_a_number(answer: Any, options: list[Any], right: int):
    assert right_of(answer, options) == right


@pytest.mark.parametrize(
    ("answer", "options", "said"),
    [
        ("C", ["cup", "lamp"], "none of the 2"), ("mug", ["cup", "lamp"], "none of the 2"),
        (2, ["cup", "lamp"], "none of the 2"), (-1, ["cup", "lamp"], "none of the 2"),
        (True, ["cup", "lamp"], "none of the 2"), (None, ["cup", "lamp"], "none of the 2"),
        (1, [2, 3, 1], "may be the option with this number or the option `1`"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_option_is_told(answer: Any, options: list[Any], said: str):
    with pytest.raises(BadChoice, match=said):
        right_of(answer, options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["cup"], "1 option"), ([], "no options"), (["cup", "cup "], "are the same: cup"),
        (["cup", " "], "an option is blank"), (["cup", None], "an option is null"),
        ([str(n) for n in range(27)], "more than there are letters"),
        (["cup", "<image>"], "which models read as a mark"),
    ],
)  # fmt: skip
def test_options_that_are_no_choice_are_told(options: list[Any], said: str):
    with pytest.raises(BadChoice, match=said):
        choice_of(options, 0)


# -- files of one's own ---------------------------------------------------------------------------
LINES = [
    {"image": "1.png", "query": "cup", "answer": "lamp", "relation": "left",
     "options": ["fork", "lamp"]},
    {"image": "2.png", "query": "cup", "answer": "B", "relation": "left",
     "options": ["fork", "lamp", "key"]},
    {"image": "3.png", "query": "cup", "answer": "key", "relation": "left", "right": 0,
     "options": ["The cup is left of the key", "It is not"], "question": "Which is right?"},
    {"image": "4.png", "query": "How many?", "answer": 4, "relation": "count",
     "options": ["2", "3", "1", "0", "many"]},
]  # fmt: skip


def pairs(folder: Path, lines: list[Any], **options: Any) -> Table:
    touch(folder, *(f"{n}.png" for n in range(1, 6)))
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return read_table("pairs", file=str(folder / "pairs.jsonl"), **options)


def test_pairs_with_options(tmp_path: Path):
    table = pairs(tmp_path, LINES)
    assert not table.findings and table.facts.asks == ("choice",) and table.facts.options == 3
    found = {item.image: (item.answer, item.choice) for item in items(table)}
    assert found == {
        "1.png": ("lamp", Choice(("fork", "lamp"), 1)),
        "2.png": ("lamp", Choice(("fork", "lamp", "key"), 1)),
        "3.png": ("key", Choice(tuple(LINES[2]["options"]), 0, "Which is right?")),  # type: ignore[arg-type]
        "4.png": ("many", Choice(("2", "3", "1", "0", "many"), 4)),
    }
    other = pairs(tmp_path, [{**LINES[0], "options": ["lamp", "fork"]}, *LINES[1:]])
    assert other.hash != table.hash


def test_pairs_with_options_as_csv(tmp_path: Path):
    touch(tmp_path, "1.png", "2.png")
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "query", "answer", "relation", "options"])
        writer.writerow(["1.png", "cup", "(A)", "left", "fork | lamp, lit"])
        writer.writerow(["2.png", "cup", "yes", "left", '["no", "yes"]'])
    table = read_table("pairs", file=str(tmp_path / "pairs.csv"))
    assert [(i.answer, i.choice) for i in items(table)] == [
        ("fork", Choice(("fork", "lamp, lit"), 0)), ("yes", Choice(("no", "yes"), 1)),
    ]  # fmt: skip


def test_what_is_wrong_with_options_of_pairs_is_told(tmp_path: Path):
    bad = [
        LINES[0], {**LINES[1], "options": ["lamp"]}, {**LINES[1], "options": "[1"},
        {**LINES[1], "options": 5}, {**LINES[1], "answer": "D"}, {**LINES[2], "right": 9},
        {**LINES[3], "answer": 1.5},
    ]  # fmt: skip
    table = pairs(tmp_path, bad)
    assert [(f.code, f.place) for f in table.findings] == [
        *(("MFV7160", f"line {n}") for n in range(2, 7)), ("MFV7107", "line 7"),
    ]  # fmt: skip
    mixed = pairs(tmp_path, [LINES[0], {**LINES[1], "options": None, "answer": "key"}])
    assert [(f.severity, f.code) for f in mixed.findings] == [("warning", "MFV7161")]
    assert mixed.facts.asks == ()


def test_what_is_converted_keeps_its_questions(tmp_path: Path):
    table = pairs(tmp_path, LINES)
    target = tmp_path / "to" / "copy.jsonl"
    convert(table, target, False, lambda _: None)
    copy = read_table("pairs", file=str(target))
    assert [(i.query, i.answer, i.choice) for i in items(copy)] == [
        (i.query, i.answer, i.choice) for i in items(table)
    ]  # fmt: skip


def test_items_in_memory_with_options(tmp_path: Path):
    touch(tmp_path, "1.png", "2.png", "3.png", "4.png")
    data = mfv.dataset(LINES, images=tmp_path)
    assert facts_of(data).asks == ("choice",)
    given = ("1.png", "cup", "lamp", "left", "test", ["fork", "lamp"])
    (item,) = mfv.dataset([given], images=tmp_path).items("left", "test")
    assert item.choice == Choice(("fork", "lamp"), 1)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([{**LINES[0], "right": 0}, LINES[1]])  # the second has no `right`
    (first, second) = sorted(
        items(mfv.dataset(frame, images=tmp_path).table), key=lambda i: i.image  # type: ignore[attr-defined]
    )  # fmt: skip
    assert first.answer == "lamp" and first.choice == Choice(("fork", "lamp"), 0)
    assert second.answer == "lamp" and second.choice == Choice(("fork", "lamp", "key"), 1)


def test_columns_of_parquet_with_options(tmp_path: Path):
    rows = [
        {"image": cell(n), "q": f"Where {n}?", "a": answer, "r": "map", "o": ["here", "there"]}
        for n, answer in enumerate(["B", "here", "(A)"])
    ]
    columns = {"query": "q", "answer": "a", "relation": "r", "options": "o"}
    file = write(tmp_path / "set.parquet", rows)
    table = read_table("parquet", file=file, **columns)
    assert {i.query: i.answer for i in items(table)} == {
        "Where 0?": "there", "Where 1?": "here", "Where 2?": "here",
    }  # fmt: skip
    rows[1] |= {"a": "nowhere"}
    rows[2] |= {"o": None}
    table = read_table("parquet", file=write(tmp_path / "bad.parquet", rows), **columns)
    assert [(f.code, f.place) for f in table.findings] == [
        ("MFV7160", "row 2"), ("MFV7160", "row 3"),
    ]  # fmt: skip


def test_a_dataset_of_the_hub_with_options():
    from mfv_dsl.data.hf_dataset import items_of

    rows = [
        {"image": cell(n), "q": f"Where {n}?", "a": answer, "r": "map", "o": ["here", "there"]}
        for n, answer in enumerate([1, "A", 7])
    ]
    found, _, findings = items_of(rows, "image", "q", "a", "r", options="o")
    assert [(row.answer, row.choice) for row in found] == [
        ("there", Choice(("here", "there"), 1)), ("here", Choice(("here", "there"), 0)),
    ]  # fmt: skip
    assert [(f.code, f.place) for f in findings] == [("MFV7160", "row 2")]


# -- scenes ---------------------------------------------------------------------------------------
def test_scenes_ask_for_one_of_the_objects_around():
    for scenes in (Scenes(), open_dataset("scenes", kinds="things", count=30)):
        assert facts_of(scenes).asks == ("choice",)
        pool = scenes.items("left", "test")
        for item in pool[:30]:
            assert item.choice is not None and item.choice.answer == item.answer
            assert set(item.choice.options) == set(item.neighbours.values())
            assert len(item.choice.options) == 4
        places = [item.choice.right for item in pool]  # type: ignore[union-attr]
        assert len(set(places)) == 4  # where it stands in the list says nothing


# -- published sets -------------------------------------------------------------------------------
def test_captions_that_are_true_or_false_are_asked_with_yes_and_no(tmp_path: Path):
    table = vsr(tmp_path, CAPTIONS, ask="truth")
    assert table.facts.asks == ("choice", "yes_no")
    assert choices(table)["The umbrella is far away from the motorcycle"] == Choice(
        ("yes", "no"), 1, "Is this true of the picture? The umbrella is far away from the "
        "motorcycle."
    )  # fmt: skip
    assert vsr(tmp_path, CAPTIONS).facts.asks == ()


def test_the_captions_of_whatsup_are_options(tmp_path: Path):
    entries = [
        controlled("mug_left_of_plate", "A mug to the left of a plate", "A mug on a plate"),
        controlled("bowl_in-front_of_cup", "A bowl in front of a cup", "A bowl behind a cup"),
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    touch(tmp_path, *(entry["image_path"].removeprefix("data/") for entry in entries))
    said = {"file": str(tmp_path / "a.json"), "images": str(tmp_path)}
    table = read_table("whatsup", **said)
    captions = ("A mug to the left of a plate", "A mug on a plate")
    question = "Which of these captions describes the picture?"
    assert choices(table)["mug"] == Choice(captions, 0, question)
    whole = read_table("whatsup", **said, ask="question")
    assert {(i.query, i.answer) for i in items(whole)} == {
        (question, captions[0]), (question, "A bowl in front of a cup"),
    }  # fmt: skip
    assert whole.facts.asks == ("choice",)
    (tmp_path / "a.json").write_text(
        json.dumps([*entries, controlled("cup_on_mat", "A cup on a mat", "A cup on a mat")])
    )
    found = read_table("whatsup", **said, ask="question").findings
    assert [(f.code, f.place) for f in found] == [("MFV7160", "entry 3")]
    assert [f.code for f in read_table("whatsup", **said).findings] == ["MFV7161", "MFV7108"]


def test_all_questions_of_embspatial(tmp_path: Path):
    rows = [
        question(1, "under", ["The drawer is beneath the cup.", "The drawer is above the cup."], 0,
                 "drawer", "cup"),
        question(2, "close", ["door", "cabinet", "table"], 2, "door", "cabinet", "table"),
    ]  # fmt: skip
    (tmp_path / "set.json").write_text(json.dumps(rows))
    table = read_table("embspatial", file=str(tmp_path / "set.json"), ask="question")
    assert {(i.relation, i.answer, len(i.choice.options)) for i in items(table) if i.choice} == {
        ("under", "The drawer is beneath the cup.", 2), ("close", "table", 3),
    }  # fmt: skip
    (plain,) = items(read_table("embspatial", file=str(tmp_path / "set.json")))
    assert plain.answer == "cup" and plain.choice is not None
    assert plain.choice.question == "How are they positioned?"
    rows.append({key: value for key, value in rows[0].items() if key != "question"})
    (tmp_path / "set.json").write_text(json.dumps(rows))
    (found,) = read_table("embspatial", file=str(tmp_path / "set.json"), ask="question").findings
    assert found.place == "row 3" and "no `question`" in found.message


def test_questions_of_blink(tmp_path: Path):
    rows = [asked(1, "Is the car beneath the cat?", "(B)"), asked(2, "Do they touch?", "(A)")]
    file = write(tmp_path / "set.parquet", rows)
    truths = read_table("blink", file=file, ask="truth")
    assert choices(truths) == {
        "car beneath cat": Choice(("yes", "no"), 1, "Is the car beneath the cat?")
    }
    whole = read_table("blink", file=file, ask="question")
    assert {(i.relation, i.answer) for i in items(whole)} == {("beneath", "no"), ("other", "yes")}
    assert whole.facts.asks == ("choice", "yes_no")
    assert read_table("blink", file=write(tmp_path / "b.parquet", [
        asked(1, "Is the car beneath the cat?", "(A)")
    ])).facts.asks == ()  # fmt: skip


# -- spatialeval ----------------------------------------------------------------------------------
MAP = (
    "The map shows several shops. Please answer the following multiple-choice question based on "
    "the provided information. In which direction is Police Supply Store relative to Narwhal's "
    "Novelties? Available options:\nA. Northeast\nB. Northwest\nC. Southwest\nD. Southeast."
)
MAZE = (
    "Is the exit (E) directly to the left of the starting point (S)? Available options: A. Yes, "
    "B. No."
)


def evaluated(shade: int, name: str, text: str, option: str, answer: str) -> dict[str, Any]:
    return {
        "id": name, "image": cell(shade), "text": text, "oracle_answer": answer,
        "oracle_option": option, "oracle_full_answer": f"{option}. {answer}",
    }  # fmt: skip


EVALUATED = [
    evaluated(1, "spatialmap.vqa.0.0", MAP, "B", "Northwest"),
    evaluated(1, "spatialmap.vqa.0.1", MAP.replace("In which direction", "And where"), "D",
              "Southeast"),
    evaluated(2, "mazenav.vqa.0.2", MAZE, "B", "No"),
]  # fmt: skip


def test_spatialeval(tmp_path: Path):
    table = read_table("spatialeval", file=write(tmp_path / "set.parquet", EVALUATED))
    assert not table.findings and not table.dropped and table.relations == ("spatialmap", "mazenav")
    first, _, maze = sorted(items(table), key=lambda i: (i.relation != "spatialmap", i.place))
    assert first.answer == "Northwest" and first.choice is not None
    assert first.choice.options == ("Northeast", "Northwest", "Southwest", "Southeast")
    assert first.choice.question.endswith("relative to Narwhal's Novelties?")
    assert maze.choice == Choice(
        ("Yes", "No"), 1, "Is the exit (E) directly to the left of the starting point (S)?"
    )
    assert len(table.images) == 2


def test_spatialeval_says_what_is_wrong(tmp_path: Path):
    bad = [
        {**EVALUATED[0], "oracle_option": "E"}, {**EVALUATED[0], "oracle_answer": "Southeast"},
        {**EVALUATED[0], "id": "12"}, {**EVALUATED[0], "image": None},
        {**EVALUATED[0], "text": MAP.replace("Northeast", "Southwest")},
        {**EVALUATED[0], "text": "What is this?"}, {**EVALUATED[0], "text": None}, EVALUATED[0],
    ]  # fmt: skip
    table = read_table("spatialeval", file=write(tmp_path / "set.parquet", [*EVALUATED, *bad]))
    assert [(f.code, f.place) for f in table.findings] == [
        ("MFV7107", "row 4"), ("MFV7107", "row 5"), ("MFV7107", "row 6"), ("MFV7107", "row 7"),
        ("MFV7160", "row 8"), ("MFV7107", "row 10"),
    ]  # fmt: skip
    assert table.dropped == {
        "questions whose options cannot be taken apart": 1, "items that are there twice": 1,
    }  # fmt: skip


# -- omnispatial ----------------------------------------------------------------------------------
ENTRY = {
    "id": "15_1", "question": "How long will the car take at 10 m/s?",
    "options": ["2.7s", "14.7s", "25.7s", "3.9s"], "answer": 0,
    "task_type": "Dynamic_Reasoning", "sub_task_type": "Motion_Analysis",
}  # fmt: skip


def omnispatial(folder: Path, entries: list[Any]) -> Table:
    touch(folder, "Dynamic_Reasoning/15.png", "Complex_Logic/3.png")
    (folder / "data.json").write_text(json.dumps(entries))
    return read_table("omnispatial", file=str(folder / "data.json"))


def test_omnispatial(tmp_path: Path):
    other = {**ENTRY, "id": "3_0", "task_type": "Complex_Logic", "answer": 1, "gt": "B",
             "sub_task_type": "Geometric_Reasoning", "options": ["Yes", "No"]}  # fmt: skip
    table = omnispatial(tmp_path, [ENTRY, other])
    assert not table.findings and table.relations == ("motion_analysis", "geometric_reasoning")
    found = {item.image: (item.answer, item.choice) for item in items(table)}
    assert found == {
        "Dynamic_Reasoning/15.png": ("2.7s", Choice(tuple(ENTRY["options"]), 0, ENTRY["question"])),  # type: ignore[arg-type]
        "Complex_Logic/3.png": ("No", Choice(("Yes", "No"), 1, ENTRY["question"])),  # type: ignore[arg-type]
    }
    assert table.facts.asks == ("choice",)


def test_omnispatial_says_what_is_wrong(tmp_path: Path):
    bad = [
        ENTRY, {**ENTRY, "answer": 4}, {**ENTRY, "options": ["a", "a"], "answer": 0}, 5,
        {**ENTRY, "id": "16_0"}, {**ENTRY, "question": None}, {**ENTRY, "options": [None, "b"]},
        {**ENTRY, "task_type": "../../etc"},
    ]  # fmt: skip
    table = omnispatial(tmp_path, bad)
    assert [(f.code, f.place) for f in table.findings] == [
        ("MFV7107", "entry 2"), ("MFV7160", "entry 3"), ("MFV7107", "entry 4"),
        ("MFV7108", "entry 5"), ("MFV7107", "entry 6"), ("MFV7160", "entry 7"),
        ("MFV7108", "entry 8"),
    ]  # fmt: skip


def test_an_item_keeps_what_it_is_asked():
    item = Item("1.png", "cup", "lamp", "left", choice=Choice(("lamp", "key"), 0))
    assert item != replace(item, choice=None) and hash(item) != hash(replace(item, choice=None))
