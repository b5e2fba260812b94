"""Sets in parquet files, and those whose images are base64: what is read, and that images are the
files' own."""

from __future__ import annotations

import base64
import io
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import open_dataset, read_table
from tests.data.test_published_sets import triples

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write(path: Path, rows: list[dict[str, Any]], group: int = 2) -> str:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return str(path)


def cell(shade: int) -> dict[str, Any]:
    """An image as the hub has it."""
    return {"bytes": picture(shade), "path": f"{shade}.png"}


def row(shade: int, query: str = "cup", answer: str = "plate", relation: str = "next to") -> Any:
    return {"image": cell(shade), "query": query, "answer": answer, "relation": relation}


# -- parquet --------------------------------------------------------------------------------------
def test_rows_with_their_images(tmp_path: Path):
    rows = [row(10), row(20), row(10, query="fork"), row(30, relation="left"), row(40)]
    file = write(tmp_path / "set.parquet", rows)
    dataset = open_dataset("parquet", file=file, extract=0, train=0, validation=0, test=1)
    items = dataset.items("next_to", "test")
    assert [(item.query, item.answer) for item in items] == [
        ("cup", "plate"), ("cup", "plate"), ("fork", "plate"), ("cup", "plate")
    ]  # fmt: skip
    assert items[0].image == items[2].image and len({item.image for item in items}) == 3
    shades = [picture[0, 0, 0] for picture in dataset.pictures([i.image for i in items], 8)]
    assert shades == [10, 20, 10, 40]
    assert dataset.items("left", "test")[0].place == "row 4"


def test_a_folder_of_files_and_columns_of_other_names(tmp_path: Path):
    def other(shade: int, split: str) -> dict[str, Any]:
        return {"photo": picture(shade), "q": "cup", "a": "plate", "r": "on", "part": split}

    write(tmp_path / "set" / "b.parquet", [other(2, "test")])
    write(tmp_path / "set" / "a.parquet", [other(1, "train")])
    columns = {"image": "photo", "query": "q", "answer": "a", "relation": "r", "split": "part"}
    dataset = open_dataset("parquet", file=str(tmp_path / "set"), **columns)
    assert dataset.splits == ("train", "test")
    (item,) = dataset.items("on", "test")
    assert item.place == "b.parquet row 1"
    assert dataset.pictures([item.image], 8)[0][0, 0, 0] == 2
    with pytest.raises(MfvError, match="no column `image`") as error:
        open_dataset("parquet", file=str(tmp_path / "set"))
    assert error.value.code == "MFV7142"
    with pytest.raises(MfvError, match="no files `.parquet`"):
        open_dataset("parquet", file=str(tmp_path))
    with pytest.raises(MfvError, match="there is no such file"):
        open_dataset("parquet", file=str(tmp_path / "c.parquet"))
    (tmp_path / "d.jsonl").write_text("{}")
    with pytest.raises(MfvError, match="d.jsonl: it is no parquet file"):
        open_dataset("parquet", file=str(tmp_path / "d.jsonl"))


def test_bad_cells_are_told_by_row(tmp_path: Path):
    rows = [row(1), {**row(2), "image": None}, {**row(3), "query": None}, {**row(4), "answer": " "},
            {**row(5), "image": {"bytes": None, "path": "5.png"}}]  # fmt: skip
    table = read_table("parquet", file=write(tmp_path / "set.parquet", rows))
    assert list(map(str, table.findings)) == [
        "row 2: cannot be understood: it has no image, or one that is neither bytes nor base64",
        "row 3: cannot be understood: `query` is null, not a text",
        "row 4: `answer` missing or empty",
        "row 5: cannot be understood: it has no image, or one that is neither bytes nor base64",
    ]


def test_an_image_that_is_another_now_is_told(tmp_path: Path):
    file = write(tmp_path / "set.parquet", [row(1), row(2)])
    dataset = open_dataset("parquet", file=file, extract=0, train=0, validation=0, test=1)
    images = [item.image for item in dataset.items("next_to", "test")]
    write(tmp_path / "set.parquet", [row(2), row(100)])
    for image in images:
        with pytest.raises(MfvError, match="has changed since it was read") as error:
            dataset.pictures([image], 8)
        assert error.value.code == "MFV7140"


@pytest.mark.slow
def test_a_damaged_file_is_read_or_refused(tmp_path: Path):
    path = tmp_path / "set.parquet"
    whole = Path(write(path, [row(shade, query=f"cup {shade}") for shade in range(6)])).read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        try:
            dataset = open_dataset("parquet", file=str(path))
            for split in dataset.splits:
                for relation in dataset.relations:
                    for item in dataset.items(relation, split):
                        dataset.pictures([item.image], 8)
        except MfvError:
            refused += 1
    assert refused > 50


def test_without_the_library(tmp_path: Path):
    file = write(tmp_path / "set.parquet", [row(1)])
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from mfv_dsl.base.errors import MfvError\nfrom mfv_dsl.data import open_dataset\n"
        "try: open_dataset('parquet', file=sys.argv[1])\n"
        "except MfvError as error: print(error.code, error.help)"
    )
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True)
    assert done.stdout == "MFV7141 pip install 'mfv-dsl[parquet]'\n", done.stderr


# -- embspatial -----------------------------------------------------------------------------------
def question(shade: int, relation: str, options: list[str], answer: Any, *objects: str) -> Any:
    return {
        "data_source": "ai2thor", "scene_id": "FloorPlan15", "question_id": "ai2thor_799",
        "question": "How are they positioned?", "relation": relation, "answer_options": options,
        "answer": answer, "image": base64.b64encode(picture(shade)).decode(),
        "objects": [{"name": name, "bbox": [87, 223, 129, 300]} for name in objects],
    }  # fmt: skip


UNDER = [f"The drawer is {where} the soapbottle." for where in ("blocking", "beneath", "above")]
QUESTIONS = [
    question(1, "under", UNDER, 1, "drawer", "soapbottle"),
    question(2, "right", ["The night stand is on the right side of the bed."], 0, "bed",
             "night stand"),
    question(3, "close", ["garage door", "cabinet", "table"], 2, "garage door", "cabinet", "table"),
    question(4, "above", ["The window is above the desk."], 0, "window", "chair"),
    question(5, "left", ["A nice room"], 0, "window", "chair"),
    question(6, "under", ["The lamp is above the drawer."], 0, "drawer", "lamp"),  # turned round
]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "image struct"])
def test_embspatial(tmp_path: Path, form: str):
    rows = QUESTIONS
    if form == "image struct":
        rows = [{**one, "image": cell(number + 1)} for number, one in enumerate(QUESTIONS)]
    file = tmp_path / (f"set.{form}" if form.startswith("json") else "set.parquet")
    if form == "json":
        file.write_text(json.dumps(rows))
    elif form == "jsonl":  # with base64 in lines, as some programs write it
        rows = [{**one, "image": "\n".join(one["image"][i : i + 20] for i in range(0, 999, 20))}
                for one in QUESTIONS]  # fmt: skip
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        write(file, rows)
    table = read_table("embspatial", file=str(file))
    assert triples(table) == {
        ("drawer", "under", "soapbottle"), ("night stand", "right", "bed")
    }  # fmt: skip
    assert table.dropped == {
        "questions that choose among objects, without another end": 1,
        "options that cannot be taken apart": 3,
    }
    everything = {"extract": 0, "train": 0, "validation": 0, "test": 1}
    dataset = open_dataset("embspatial", file=str(file), **everything)
    (item,) = dataset.items("right", "test")
    assert (dataset.pictures([item.image], 8)[0] == np.array([2, 0, 0])).all()


def test_embspatial_says_what_is_wrong(tmp_path: Path):
    bad = [5, {}, {**QUESTIONS[0], "answer": 3}, {**QUESTIONS[0], "image": "!"},
           {**QUESTIONS[0], "answer_options": "x"}, {**QUESTIONS[0], "relation": None}]  # fmt: skip
    (tmp_path / "set.json").write_text(json.dumps([QUESTIONS[0], *bad]))
    table = read_table("embspatial", file=str(tmp_path / "set.json"))
    assert [finding.place for finding in table.findings] == [f"row {n}" for n in range(2, 8)]
    assert triples(table) == {("drawer", "under", "soapbottle")}


# -- blink ----------------------------------------------------------------------------------------
def asked(shade: int, text: str, answer: str) -> dict[str, Any]:
    return {
        "idx": f"val_Spatial_Relation_{shade}", "sub_task": "Spatial_Relation", "question": text,
        "prompt": f"{text}\nSelect …", "image_1": cell(shade), "image_2": None, "image_3": None,
        "image_4": None, "choices": ["yes", "no"], "answer": answer, "explanation": "",
    }  # fmt: skip


def test_blink(tmp_path: Path):
    rows = [
        asked(1, "Is the car beneath the cat?", "(B)"),
        asked(2, "Is the bed at the right side of the dining table?", "(A)"),
        asked(3, "Is the person on top of the bed?", "(A)"),
        asked(4, "Is the bowl in front of the apple?", "hidden"), asked(5, "How many cats?", "(A)"),
        asked(6, "Are the dogs facing each other?", "(A)"),
    ]  # fmt: skip
    file = write(tmp_path / "set.parquet", rows)
    table = read_table("blink", file=file)
    assert triples(table) == {
        ("bed", "at the right side of", "dining table"), ("person", "on top of", "bed")
    }  # fmt: skip
    assert table.dropped == {
        "questions whose answer is hidden": 1, "questions that cannot be taken apart": 2,
        "statements that do not hold": 1,
    }  # fmt: skip
    truths = triples(read_table("blink", file=file, ask="truth"))
    assert ("car beneath cat", "beneath", "false") in truths and len(truths) == 3
    bad = [asked(1, "Is the car beneath the cat?", "(C)"), asked(2, "Is a on b?", "x"),
           {**asked(3, "Is a on b?", "(A)"), "choices": ["red", "blue"]}]  # fmt: skip
    found = read_table("blink", file=write(tmp_path / "bad.parquet", [*rows, *bad])).findings
    assert [finding.place for finding in found] == ["row 7", "row 8", "row 9"]
