"""Tables as spreadsheets, editors and other programs write them, and files that are no tables."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import plain_spelling
from mfv_dsl.data import open_dataset, read_table
from mfv_dsl.data.declarations import declared_datasets
from mfv_dsl.data.findings import Finding, in_order
from mfv_dsl.data.images import read_rgb
from mfv_dsl.data.names import read_synonyms
from mfv_dsl.data.text_files import read_csv
from mfv_dsl.inputs import read_vector
from mfv_dsl.library.address import split_address
from mfv_dsl.library.sources import file_of

ROWS = [("a.png", "coffee mug", "lamp", "left"), ("b.png", "cup", "tête-à-tête", "right")]
HEAD = ("image", "query", "answer", "relation")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for image in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / image)
    return tmp_path


def items(folder: Path, name: str) -> list[tuple[str, ...]]:
    table = read_table("pairs", file=str(folder / name))
    assert [str(finding) for finding in table.findings if finding.severity == "error"] == []
    return [(i.image, i.query, i.answer, i.relation) for pool in table.items.values() for i in pool]


def findings(folder: Path, name: str, reader: str = "pairs") -> list[str]:
    key = "file" if reader == "pairs" else "folder"
    place = folder / name if reader == "pairs" else folder
    return [str(finding) for finding in read_table(reader, **{key: str(place)}).findings]


def lines(separator: str = ",", end: str = "\n", first: str = "") -> str:
    return first + "".join(separator.join(row) + end for row in (HEAD, *ROWS))


def quoted(separator: str) -> str:
    return "".join(separator.join(f'"{cell}"' for cell in row) + "\n" for row in (HEAD, *ROWS))


FORMS: dict[str, bytes] = {
    "semicolons": lines(";").encode(),
    "tabs": lines("\t").encode(),
    "told": lines(";", "\r\n", "sep=;\r\n").encode("utf-8-sig"),
    "told in quotes": lines("|", "\n", '"sep=|"\n').encode(),
    "told by Excel": lines(";", "\n", "sep=;;;;\n").encode(),
    "quoted": quoted(",").encode(),
    "quoted tabs": quoted("\t").encode("utf-16"),
    "carriage returns": lines(",", "\r").encode(),
    "Windows": lines(";", "\r\n").encode("utf-8-sig"),
    "Unicode text of Excel": lines("\t", "\r\n").encode("utf-16"),
    "blank columns and lines": ("\n" + lines(",", ",,\u00a0,\n") + ",,,,,,\n \t\n").encode(),
    "blanks around names": lines(" ,\u200b").encode(),
    "no end": lines().rstrip("\n").encode(),
}


@pytest.mark.parametrize("name", ["pairs.csv", "PAIRS.CSV", "pairs.tsv"])
@pytest.mark.parametrize("form", FORMS)
def test_one_table_in_every_form(form: str, name: str, folder: Path):
    (folder / name).write_bytes(FORMS[form])
    assert items(folder, name) == ROWS


@pytest.mark.parametrize("form", ["semicolons", "told", "quoted tabs", "Windows"])
@pytest.mark.parametrize("name", ["metadata.csv", "Metadata.CSV"])
def test_every_reader_of_csv_takes_them(form: str, name: str, folder: Path):
    data = FORMS[form]
    encoding = "utf-16" if form == "quoted tabs" else "utf-8-sig"
    text = data.decode(encoding)
    for old, new in zip(HEAD[:3], ("image_name", "anchor", "left_object"), strict=True):
        text = text.replace(old, new, 1)
    (folder / name).write_bytes(text.replace("relation", "anchor_pos").encode(encoding))
    table = read_table("metadata_csv", folder=str(folder), clean=False)
    assert table.findings == () and table.relations == ("left",)
    names = [(i.query, i.answer) for pool in table.items.values() for i in pool]
    assert sorted(names) == sorted((query, answer) for _, query, answer, _ in ROWS)
    (folder / "s.csv").write_text("\ufeffsep=;\ncanonical;synonym\nmug;coffee mug\n")
    assert read_synonyms(str(folder / "s.csv")) == {"coffee mug": "mug"}


@pytest.mark.parametrize(
    "form", ["{}\n{}\n", "\ufeff{}\r\n\r\n{}", "{}\r{}\r", "\n {}\n\ufeff{}\n\u00a0\n"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_json_lines_in_every_form(form: str, encoding: str, folder: Path):
    records = [json.dumps(dict(zip(HEAD, row, strict=True)), ensure_ascii=False) for row in ROWS]
    (folder / "pairs.JSONL").write_bytes(form.format(*records).encode(encoding))
    assert items(folder, "pairs.JSONL") == ROWS


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_objects(indent: int | None, folder: Path):
    records = [dict(zip(HEAD, row, strict=True)) for row in ROWS]
    (folder / "pairs.json").write_text(json.dumps(records, indent=indent))
    assert items(folder, "pairs.json") == ROWS
    (folder / "pairs.json").write_text(json.dumps([*records, 5, {"image": 1}]))
    told = findings(folder, "pairs.json")
    assert [one.partition(":")[0] for one in told] == ["entry 3", "entry 4", "entry 4"]
    (folder / "pairs.json").write_text("\n".join(map(json.dumps, records)))
    assert items(folder, "pairs.json") == ROWS
    (folder / "pairs.json").write_text('[{"image": 1, "image": 2}]')
    with pytest.raises(MfvError, match="there twice") as caught:
        findings(folder, "pairs.json")
    assert caught.value.code == "MFV7106"


@pytest.mark.parametrize("name", ["pairs.txt", "pairs", "pairs.TAB"])
def test_a_file_of_another_suffix_is_known_by_how_it_begins(name: str, folder: Path):
    (folder / name).write_bytes(FORMS["Unicode text of Excel"])
    assert items(folder, name) == ROWS
    records = [json.dumps(dict(zip(HEAD, row, strict=True))) for row in ROWS]
    (folder / name).write_text("\n \n" + "\n".join(records))
    assert items(folder, name) == ROWS


def test_a_line_separator_within_a_name_is_a_blank(folder: Path):
    record = dict(zip(HEAD, ROWS[0], strict=True)) | {"query": "coffee\u2028mug"}
    (folder / "pairs.jsonl").write_text(json.dumps(record, ensure_ascii=False) + "\n")
    assert items(folder, "pairs.jsonl") == ROWS[:1]


# -- lines and places -----------------------------------------------------------------------------
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_alike(end: str, folder: Path):
    text = end.join([",".join(HEAD), 'a.png,"cup', 'and saucer",lamp,left', "", "b.png,cup,,right"])
    (folder / "pairs.csv").write_bytes(text.encode())
    assert findings(folder, "pairs.csv") == ["line 5: `answer` missing or empty"]
    (folder / "pairs.jsonl").write_bytes(end.join(["", "", "[]"]).encode() + b"\n")
    assert findings(folder, "pairs.jsonl")[0].startswith("line 3: is JSON, but not an object")
    told = end.join(["sep=;", ";".join(HEAD), "a.png;cup;lamp;left;more"])
    (folder / "pairs.csv").write_bytes(told.encode())
    assert findings(folder, "pairs.csv")[0].startswith("line 3: 5 cells, and there are 4 columns")


def test_a_row_over_several_lines_has_its_first(folder: Path):
    (folder / "pairs.csv").write_text(",".join(HEAD) + '\na.png,"cup\n\nx",\u200b,left\n')
    assert findings(folder, "pairs.csv") == ["line 2: `answer` missing or empty"]
    (folder / "pairs.csv").write_text(",".join(HEAD) + '\na.png,"cup\n\nx",lamp,left\n')
    assert items(folder, "pairs.csv") == [("a.png", "cup x", "lamp", "left")]


def test_a_quotation_mark_that_is_never_closed_swallows_no_rows(folder: Path):
    rows = "\n".join(f"a.png,cup {n},left,lamp" for n in range(5))
    (folder / "pairs.csv").write_text(
        'image,query,relation,answer\nb.png,cup,left,lamp\na.png,cup,left,"lamp\n' + rows
    )
    assert findings(folder, "pairs.csv") == ["line 3: opens a quotation mark that is never closed"]


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"image,query\na,caf\xe9", "byte 0xe9 at offset 17, on line 2"),
        (b"image,query\na,caf\0", "NUL character on line 2"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "git lfs pull"),
    ],
)
def test_files_that_are_no_text_say_so(name: str, data: bytes, what: str, folder: Path):
    (folder / name).write_bytes(data)
    with pytest.raises(MfvError) as caught:
        open_dataset("pairs", file=str(folder / name))
    assert caught.value.code == "MFV7106" and what in str(caught.value)
    assert name in caught.value.message


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_not_read(make: Callable[[Path], None], folder: Path):
    for name, call in (
        ("pairs.jsonl", lambda path: open_dataset("pairs", file=path)),
        ("pairs.csv", lambda path: open_dataset("pairs", file=path)),
        ("g.json", lambda path: open_dataset("gqa", file=path, images=str(folder))),
        ("s.csv", read_synonyms),
    ):
        make(folder / name)
        with pytest.raises(MfvError, match="not a file") as caught:
            call(str(folder / name))
        assert caught.value.code == "MFV7106"
    make(folder / "picture.png")
    with pytest.raises(MfvError, match="not a file") as caught:
        read_rgb(folder / "picture.png")
    assert caught.value.code == "MFV7109"


def test_a_pointer_of_git_lfs_in_place_of_a_picture(folder: Path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n"
    (folder / "a.png").write_bytes(pointer)
    with pytest.raises(MfvError, match="git lfs pull") as caught:
        read_rgb(folder / "a.png")
    assert caught.value.code == "MFV7109"


# -- keys, values and names -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"image": "a.png", "query": "x", "query": "y"}', "the key `query` is there twice"),
        ('{"image": NaN}', "it holds NaN"),
        ('{"image": 1e999}', "the number 1e999 is too large"),
        ('{"image": ' + "1" * 5000 + "}", "a number that is too long"),
        ("[" * 100_000, "nested too deeply"),
        ('{"image": "\\ud800"}', "half a character"),
        ('{"image": ["a.png"]}', "`image` is not text but"),
        ('{"image": {"a": 1}, "query": true, "split": []}', "`split` is not text but []"),
    ],
    ids=range(8),
)
def test_lines_of_json_are_strict(line: str, what: str, folder: Path):
    (folder / "pairs.jsonl").write_text("\n" + line)
    told = findings(folder, "pairs.jsonl")
    assert all(finding.startswith("line 2: ") and len(finding) < 200 for finding in told)
    assert what in "; ".join(told)


@pytest.mark.parametrize("key", HEAD)
@pytest.mark.parametrize(
    "blank", ["", " ", "\u00a0", "\u200b\u2060", "\ufeff", "\u3164", "\u2800", "\u115f"]
)
@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
def test_every_kind_of_blank_is_blank(key: str, blank: str, name: str, folder: Path):
    row = dict(zip(HEAD, ROWS[0], strict=True)) | {key: blank}
    text = json.dumps(row) if name.endswith("l") else f"{','.join(row)}\n{','.join(row.values())}"
    (folder / name).write_text(text)
    (told,) = findings(folder, name)
    assert told.endswith(f": `{key}` missing or empty")


@pytest.mark.parametrize(
    "mark",
    ["<image>", "<|im_start|>", "<｜begin▁of▁sentence｜>", "<|reserved 5|>", "[IMG]", "[/INST]",
     "<start_of_image>", "<im\u200bage>", "[CLS]"],
)  # fmt: skip
def test_marks_of_every_family_are_no_names(mark: str, folder: Path):
    row = dict(zip(HEAD, ROWS[0], strict=True)) | {"answer": f"a {mark}"}
    (folder / "pairs.jsonl").write_text(json.dumps(row))
    (told,) = findings(folder, "pairs.jsonl")
    assert "models read as a mark" in told


def test_names_in_brackets_are_names(folder: Path):
    row = dict(zip(HEAD, ROWS[0], strict=True)) | {"answer": "mug [A] <3"}
    (folder / "pairs.jsonl").write_text(json.dumps(row))
    assert items(folder, "pairs.jsonl")[0][2] == "mug [A] <3"


def test_two_spellings_of_one_relation_are_warned_of(folder: Path):
    rows = [dict(zip(HEAD, row, strict=True)) for row in ROWS]
    spelled = ("above_left", "Above_left", "aboveleft", "below")
    (folder / "pairs.jsonl").write_text(
        "\n".join(json.dumps(rows[0] | {"relation": name}) for name in spelled)
    )
    (told,) = findings(folder, "pairs.jsonl")
    assert told.endswith(
        "told apart: Above_left, above_left, aboveleft; if they are one, spell it alike"
    )
    from mfv_dsl.lang.constructed import constructed

    facts = constructed("dataset", f'pairs("{folder / "pairs.jsonl"}")').facts
    assert [code for code, _ in facts.warnings] == ["MFV7131"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "other", ["Left of", "left_of", "LEFT  OF", "left\u00a0of", "left-of", "le\u200bftof"]
)
def test_relations_that_may_be_one_are_told_together(other: str, folder: Path):
    rows = [dict(zip(HEAD, row, strict=True)) for row in ROWS]
    rows[0]["relation"], rows[1]["relation"] = "left of", other
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = "; ".join(findings(folder, "pairs.jsonl"))
    assert ("told apart" in told) == (other != "left\u00a0of")  # a blank is a blank


def test_relations_of_other_alphabets_stay_apart():
    assert plain_spelling("à  gauche\u200b") == plain_spelling("a\u0300 gauche") == "a_gauche"
    assert plain_spelling("左") == "左" and plain_spelling("左 of") != plain_spelling("右 of")
    assert plain_spelling("<-") != plain_spelling("->")


def test_places_of_any_form_are_put_in_order():
    places = ["image 10", "image ²", "image 9", "image " + "9" * 5000, "image ١", ""]
    told = in_order([Finding("error", "MFV7107", place, "") for place in places])
    assert [f.place for f in told if f.place in ("image 9", "image 10")] == ["image 9", "image 10"]


def test_suffixes_have_letters_of_any_case(folder: Path):
    record = dict(zip(HEAD, ROWS[0], strict=True))
    (folder / "P.JSONL").write_text(json.dumps(record))
    (folder / "R.MFV").write_text(f'mfv 1\ndataset d = pairs("{folder / "P.JSONL"}")\n')
    assert list(declared_datasets(str(folder / "R.MFV"))) == ["d"]
    shutil.copy("vectors/flamingo-tiny/left.safetensors", folder / "LEFT.SAFETENSORS")
    path = str(folder / "LEFT.SAFETENSORS")
    assert str(file_of(path)) == path and split_address(path) == (path, None)
    assert read_vector(path).vector.residual.shape == read_vector(
        "vectors/flamingo-tiny/left.safetensors"
    ).vector.residual.shape  # fmt: skip


def test_a_blank_behind_a_separator_is_no_part_of_a_name(folder: Path):
    (folder / "p.csv").write_text('image, query, answer, relation\na.png, "cup, red", lamp, left\n')
    assert items(folder, "p.csv") == [("a.png", "cup, red", "lamp", "left")]
    (folder / "p.csv").write_text('image,query,answer,relation\na.png,"cup" x,lamp,left\n')
    assert findings(folder, "p.csv")[0].startswith("line 2: is no CSV: ")


# -- without bound --------------------------------------------------------------------------------
def test_columns_cost_as_many_steps_as_there_are(folder: Path):
    def seconds(count: int) -> float:
        head = ",".join(["image_name", "anchor", "left_object", *(f"c{n}" for n in range(count))])
        row = ",".join(["a.png", "cup", "lamp"] + ["x"] * count)
        (folder / "metadata.csv").write_text(f"{head}\n{row}\n")
        begun = time.process_time()
        told = findings(folder, "", "metadata_csv")
        assert len(told) == 21 and f"{count - 20:,} more columns" in "; ".join(told)
        return time.process_time() - begun

    seconds(100)
    assert seconds(50_000) < 20 * max(seconds(5_000), 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
@pytest.mark.parametrize("key", ["query", "image", "relation"])
def test_names_without_end_are_refused_in_few_words(name: str, key: str, folder: Path):
    row = dict(zip(HEAD, ROWS[0], strict=True)) | {key: "a" * 5_000_000}
    text = json.dumps(row) if name.endswith("l") else f"{','.join(row)}\n{','.join(row.values())}"
    (folder / name).write_text(text)
    try:
        told = "; ".join(findings(folder, name))
    except MfvError as error:
        told = str(error)
    assert told and len(told) < 2000


def test_unknown_keys_are_told_in_few_words(folder: Path):
    row = dict(zip(HEAD, ROWS[0], strict=True)) | {f"k{n}": "" for n in range(50_000)}
    (folder / "pairs.jsonl").write_text(json.dumps(row))
    told = findings(folder, "pairs.jsonl")
    assert len(told) == 21 and any("49,980 more keys" in one for one in told)


def test_a_csv_file_is_read_without_its_blank_columns(folder: Path):
    (folder / "t.csv").write_text("a,b,,\n1,2,,\n3,4\n5,6,7\n8\n")
    table = read_csv(folder / "t.csv", "MFV7107")
    assert table.columns == ("a", "b")
    assert table.rows == ((2, {"a": "1", "b": "2"}), (3, {"a": "3", "b": "4"}))
    assert [finding.place for finding in table.findings] == ["line 4", "line 5"]


def test_rows_of_a_hub_dataset_are_looked_at_one_by_one(folder: Path):
    from mfv_dsl.data.hf_dataset import items_of

    good: dict[str, Any] = {
        "image": {"bytes": (folder / "a.png").read_bytes(), "path": None}, "query": " cup",
        "answer": "cafe\u0301", "relation": "à gauche", "split": "test",
    }  # fmt: skip
    by_path = {**good, "image": {"bytes": None, "path": str(folder / "a.png")}, "query": "mug"}
    bad = [
        good | changes
        for changes in (
            {"query": None}, {"answer": ["cup"]}, {"relation": "\u200b"}, {"split": 3},
            {"image": None}, {"image": {"bytes": None, "path": None}}, {"image": 5},
            {"image": {"bytes": None, "path": str(folder)}}, {"query": {}},
        )
    ]  # fmt: skip
    rows, images, told = items_of([good, by_path, *bad], *("image", *HEAD[1:], "split"))
    assert [(row.query, row.answer, row.relation, row.split) for row in rows] == [
        ("cup", "café", "à gauche", "test"), ("mug", "café", "à gauche", "test"),
    ]  # fmt: skip
    assert len(images) == 1
    assert [finding.place for finding in told] == [f"row {n}" for n in range(2, 11)]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_is_told(pack: Callable[[bytes], bytes], folder: Path):
    (folder / "pairs.jsonl").write_bytes(pack(b"[]"))
    with pytest.raises(MfvError, match="it is packed") as raised:
        findings(folder, "pairs.jsonl")
    assert "unpack it" in str(raised.value.help)
