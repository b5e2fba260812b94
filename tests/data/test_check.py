"""``mfv data check`` on sets with every kind of damage; ``mfv data show`` and ``mfv data make``."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mfv_dsl.base.errors import MfvError
from mfv_dsl.cli.app import app
from mfv_dsl.data.check import alike, check_dataset
from mfv_dsl.data.declarations import declared_datasets
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.inspection import preprocessed_pictures, prompt_rows
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.report.figures.extents import texts_outside
from mfv_dsl.report.figures.prompts import prompt_figure
from mfv_dsl.report.figures.saving import save_figure
from mfv_dsl.report.prompt_row import PromptRow
from tests.data.support import write_lines, write_metadata, write_pairs

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def silent(label: str, total: int) -> Callable[[int], None]:
    return lambda units: None


def check(expression: str, **options: Any) -> Any:
    (made,) = declared_datasets(expression).values()
    return check_dataset(made, silent, **options)


# -- damage ---------------------------------------------------------------------------------------
#: what is done to a folder with `pairs.jsonl`, whose 48 items on 12 images are given
Harm = Callable[[Path, list[dict[str, Any]]], None]


@dataclass(frozen=True)
class Damage:
    """A damage, as docs/data.md names it, and what it is answered with."""

    name: str
    severity: str
    code: str
    says: str
    harm: Harm


def on_image(change: Callable[[Path], None]) -> Harm:
    """Harm to the image of the first items."""
    return lambda folder, items: change(folder / items[0]["image"])


def on_item(**changes: Any) -> Harm:
    """Other values in the first item; None takes a key away."""

    def harm(folder: Path, items: list[dict[str, Any]]) -> None:
        items[0] |= changes
        items[0] = {key: value for key, value in items[0].items() if value is not None}

    return harm


def claims_to_be_large(path: Path) -> None:
    """A PNG of 57 bytes that says it is 60,000 pixels wide and high."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(path, "JPEG", exif=exif)


def animated(path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def copied(folder: Path, items: list[dict[str, Any]]) -> None:
    for item in items:
        item["split"] = "test" if item["image"] == items[0]["image"] else "extract"
    (folder / items[0]["image"]).write_bytes((folder / items[4]["image"]).read_bytes())


def in_two_splits(folder: Path, items: list[dict[str, Any]]) -> None:
    for number, item in enumerate(items):
        item["split"] = "test" if number < 2 else "extract"


def rarer(folder: Path, items: list[dict[str, Any]]) -> None:
    rest = [item for item in items if item["relation"] != "left"]
    items[:] = [item | {"split": "test"} for item in rest + items[::12]]


DAMAGES = [
    Damage("a missing image", "error", "MFV7108", "there is no image",
           on_image(lambda path: path.unlink())),
    Damage("an image of 0 bytes", "error", "MFV7109", "is empty (0 bytes)",
           on_image(lambda path: path.write_bytes(b""))),
    Damage("an image that is cut short", "error", "MFV7109", "damaged or cut short",
           on_image(lambda path: path.write_bytes(path.read_bytes()[:-400]))),
    Damage("a file that is no image", "error", "MFV7109", "no image of a known format",
           on_image(lambda path: path.write_text("<html>not found</html>"))),
    Damage("a decompression bomb: more than 50 million pixels", "error", "MFV7109",
           "no more than 50 million are decoded", on_image(claims_to_be_large)),
    Damage("16-bit grey levels, which would be clipped", "error", "MFV7109", "more than 8 bits",
           on_image(lambda path: Image.new("I;16", (8, 8)).save(path, "PNG"))),
    Damage("an animation", "warning", "MFV7120", "only its first frame", on_image(animated)),
    Damage("an image that EXIF says to turn", "warning", "MFV7120", "get it unturned",
           on_image(turned)),
    Damage("a CMYK image", "warning", "MFV7120", "without its colour profile",
           on_image(lambda path: Image.new("CMYK", (8, 8)).save(path, "JPEG"))),
    Damage("transparency", "warning", "MFV7120", "what lies under the transparency",
           on_image(lambda path: Image.new("RGBA", (8, 8)).save(path, "PNG"))),
    Damage("an image of more than 12 million pixels", "warning", "MFV7120", "slow to decode",
           on_image(lambda path: Image.new("1", (4000, 3001)).save(path, "PNG"))),
    Damage("one image in two splits", "error", "MFV7113", "is in `extract` here", in_two_splits),
    Damage("one picture under two names in two splits", "error", "MFV7113", "the same picture",
           copied),
    Damage("a line without a needed field", "error", "MFV7107", "`answer` missing",
           on_item(answer=None)),
    Damage("a line with an unknown field", "error", "MFV7107", "did you mean `split`?",
           on_item(spilt="test")),
    Damage("a field that is not text", "error", "MFV7107", "is not text", on_item(query=7)),
    Damage("a split on some lines only", "error", "MFV7107", "names no split",
           lambda folder, items: items[-1].update(split="test")),
    Damage("a relation with a mark in its name", "error", "MFV7107", "read as a mark",
           on_item(relation="next <image> to")),
    Damage("a line that is there twice", "error", "MFV7107", "says the same as line 1",
           lambda folder, items: items.append(dict(items[0]))),
    Damage("two answers to one question", "error", "MFV7107", "where line 1 gives",
           lambda folder, items: items.append(items[0] | {"answer": "else"})),
    Damage("options of which none is right", "error", "MFV7160", "none of the 2 options",
           on_item(options=["one", "two"])),
    Damage("two options that are the same", "error", "MFV7160", "two options are the same",
           lambda folder, items: items[0].update(options=[items[0]["answer"]] * 2)),
    Damage("a question with one option", "error", "MFV7160", "has 1 option",
           lambda folder, items: items[0].update(options=[items[0]["answer"]])),
    Damage("options on some lines only", "warning", "MFV7161", "has no options",
           lambda folder, items: items[0].update(options=[items[0]["answer"], "else"])),
    Damage("no lines at all", "error", "MFV7115", "nothing is left",
           lambda folder, items: items.clear()),
    Damage("relations of very different size", "warning", "MFV7119", "evens that out", rarer),
    Damage("too few images for a prompt", "warning", "MFV7111", "too few images",
           lambda folder, items: items.__delitem__(slice(12, None))),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage(tmp_path: Path, damage: Damage):
    items = write_pairs(tmp_path, 12, split="test")
    for item in items:
        del item["split"]
    damage.harm(tmp_path, items)
    write_lines(tmp_path / "pairs.jsonl", items)
    shares = "extract=0, train=0, validation=0, test=1"
    shots = 4 if damage.code == "MFV7111" else 0
    report = check(f'pairs("{tmp_path / "pairs.jsonl"}", {shares})', shots=shots)
    found = [(f.severity, f.code) for f in report.findings if damage.says in f.message]
    assert found, report.findings
    assert set(found) == {(damage.severity, damage.code)}
    assert {f.code for f in report.findings} == {damage.code}
    assert report.failed == (damage.severity == "error")


def test_a_sound_set_has_no_findings(tmp_path: Path):
    write_pairs(tmp_path, 12)
    shares = "extract=0, train=0, validation=0, test=1"
    report = check(f'pairs("{tmp_path / "pairs.jsonl"}", {shares})')
    assert report.findings == ()
    assert report.counts == {name: {"test": 12} for name in ("left", "right", "above", "below")}
    shared = report.reuse["test"]
    assert (shared.queries, shared.different, shared.shown) == (48, 12, 240)
    assert shared.effective == 12  # four questions about each of twelve images


def test_options_that_a_model_cannot_tell_apart_are_told(tmp_path: Path, tiny: OpenFlamingo):
    items = write_pairs(tmp_path, 12)
    for item in items:
        item["options"] = [item["answer"], "one", "two"]
    write_lines(tmp_path / "pairs.jsonl", items)
    report = check(f'pairs("{tmp_path / "pairs.jsonl"}", test=1, extract=0)', model=tiny)
    (found,) = (f for f in report.findings if f.code == "MFV5713")
    assert (found.severity, found.place) == ("warning", "line 1")
    assert found.message.endswith("have the same tokens, as in 47 questions more")


def test_the_documentation_lists_every_damage():
    rows = re.findall(r"^\| ([^|]+) \| (error|warning) \| (MFV\d+) \|$", DOCS.read_text(), re.M)
    assert rows == [(damage.name, damage.severity, damage.code) for damage in DAMAGES]


# -- metadata.csv ---------------------------------------------------------------------------------
def test_columns_and_rows_of_a_metadata_csv(tmp_path: Path):
    write_metadata(tmp_path, 6)
    path = tmp_path / "metadata.csv"
    head, *rows = path.read_text().splitlines()
    head = head.replace("left_object,", "left_objct,", 1)
    rows[0] = rows[0].replace("image_1.png", "", 1)
    rows[1] += ",more"
    anchor = rows[2].split(",")[1]
    cells = rows[2].split(",")
    cells[3] = anchor
    rows[2] = ",".join(cells)
    path.write_text("\n".join([head, *rows]))
    report = check(f'metadata_csv("{tmp_path}")')
    assert [(f.severity, f.place, f.message) for f in report.findings] == [
        ("warning", "metadata.csv", "1 images show another object of the anchor's name"),
        ("warning", "metadata.csv line 1", "the column `left_objct` is not known and not used"),
        ("error", "metadata.csv line 2", "`image_name` is empty"),
        ("error", "metadata.csv line 3", "20 cells, and there are 19 columns"),
    ]
    path.write_text("name,left_object\na.png,x\n")
    (finding,) = check(f'metadata_csv("{tmp_path}")').findings
    assert finding.message == "there is no column `image_name` and no column `anchor`"
    path.write_bytes(b"image_name,anchor,left_object\n\xff\xfe")
    (finding,) = check(f'metadata_csv("{tmp_path}")').findings
    assert finding.code == "MFV7106" and "is not UTF-8 text" in finding.message


# -- first tokens ---------------------------------------------------------------------------------
def test_answers_that_begin_alike(tiny: OpenFlamingo, tmp_path: Path):
    assert alike(tiny, ["red circle", "blue ring"]) == []
    (finding,) = alike(tiny, ["red circle", "apple", "pear", "a fig"])
    assert finding.code == "MFV7121" and finding.message.endswith("apple, pear, a fig")
    write_pairs(tmp_path, 4)
    report = check(f'pairs("{tmp_path / "pairs.jsonl"}")', shots=0, model=tiny)
    assert "MFV7121" not in {f.code for f in report.findings}
    report = check("scenes(count=4, kinds=things)", shots=0, model=tiny)
    assert "MFV7121" in {f.code for f in report.findings}


# -- the command line -----------------------------------------------------------------------------
def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["data", *words])


@pytest.mark.slow
def test_check_of_a_recipe_and_of_an_expression(tmp_path: Path):
    write_pairs(tmp_path / "good", 30)
    write_pairs(tmp_path / "bad", 12)
    (tmp_path / "bad" / "image_3.png").unlink()
    good = f'pairs("{tmp_path / "good" / "pairs.jsonl"}")'
    recipe = tmp_path / "r.mfv"
    recipe.write_text(f'mfv 1\nmodel m = tiny()\ndataset one = {good}\n'
                      f'dataset two = pairs("{tmp_path / "bad" / "pairs.jsonl"}")\n')  # fmt: skip
    done = call("check", str(recipe), "--quiet", "--json")
    assert done.exit_code == 1
    one, two = json.loads(done.stdout)
    assert one["name"] == "one" and not [f for f in one["findings"] if f["severity"] == "error"]
    (finding,) = two["findings"]
    assert finding == {"severity": "error", "code": "MFV7108", "place": "line 9",
                       "message": "there is no image image_3.png"}  # fmt: skip
    shown = call("check", str(recipe), "--quiet", "--shots", "1",
                 "--set", "two.missing=drop")  # fmt: skip
    assert shown.exit_code == 0
    assert "left out: 4 items without their image" in shown.stdout
    elsewhere = f'two.file="{tmp_path / "good" / "pairs.jsonl"}"'
    assert call("check", str(recipe), "--quiet", "--set", elsewhere).exit_code == 0
    plain = call("check", good, "--quiet", "--shots", "1")
    assert plain.exit_code == 0 and "0 errors" in plain.stdout
    assert call("check", good, "--set", "one.seed=1").exit_code == 2


def test_what_is_no_dataset(tmp_path: Path):
    for text, code in (("pairs('x", "MFV1"), ("pears(1)", "MFV2006"), ("tiny()", "MFV2006")):
        with pytest.raises(MfvError) as found:
            declared_datasets(text)
        assert found.value.code.startswith(code)
    (tmp_path / "r.mfv").write_text("mfv 1\nmodel m = tiny()\n")
    with pytest.raises(MfvError) as found:
        declared_datasets(str(tmp_path / "r.mfv"))
    assert found.value.code == "MFV7123"
    assert list(declared_datasets("scenes")) == ["scenes"]


def test_names_from_files_cannot_garble_the_table(tmp_path: Path):
    write_lines(tmp_path / "pairs.jsonl", [
        {"image": "[red]x[/red].png", "query": "a", "answer": "b", "relation": "left"}
    ])  # fmt: skip
    done = call("check", f'pairs("{tmp_path / "pairs.jsonl"}")', "--quiet")
    assert done.exit_code == 1 and "there is no image [red]x[/red].png" in done.stdout


# -- show -----------------------------------------------------------------------------------------
def test_pictures_are_what_the_model_is_given(tiny: OpenFlamingo):
    scenes = Scenes(count=5, size=80)
    large = scenes.pictures(["left/test/0"], 80)
    (given,) = preprocessed_pictures(tiny.preprocess, large)
    expected = Image.fromarray(large[0]).resize((40, 40), Image.Resampling.BICUBIC)
    assert (given == np.asarray(expected)).all()


@pytest.mark.slow
def test_a_prompt_and_its_twin(tiny: OpenFlamingo, tmp_path: Path):
    scenes = Scenes(count=8)
    rows = prompt_rows(tiny, scenes, "left", "test", 3, 2, 1234, "shuffle")
    _, axes = prompt_figure(rows)
    assert axes.shape == (2, 3)
    prompt = draw_prompts(scenes, "left", "test", 4, 2)[3]
    for place, image in enumerate(prompt.images):
        (picture,) = scenes.pictures([image], 40)
        for panel in axes[:, place]:  # in the prompt and in its twin
            assert (panel.images[0].get_array() == picture).all()
    said = [" ".join(text.get_text() for text in panel.texts) for panel in axes.ravel()]
    assert said[2].endswith(prompt.query.answer) and prompt.query.query in said[2]
    assert prompt.query == corrupt(prompt, "shuffle", scenes, "test").query
    out = tmp_path / "p.png"
    done = call("show", "scenes(count=8)", "--relation", "left", "--prompt", "3", "--shots", "2",
                "--corrupt", "shuffle", "--out", str(out))  # fmt: skip
    save_figure(prompt_figure(rows)[0], tmp_path / "again.png")
    assert done.exit_code == 0 and out.read_bytes() == (tmp_path / "again.png").read_bytes()
    with pytest.raises(MfvError, match="has no `lef`") as found:
        prompt_rows(tiny, scenes, "lef", "test", 0, 0, 0, "mix")
    assert found.value.code == "MFV7112" and found.value.help == "did you mean `left`?"


def test_long_names_stay_under_their_picture():
    name = "a remarkably long name of an object that nobody would write"
    picture = np.zeros((40, 40, 3), np.uint8)
    figure, axes = prompt_figure([PromptRow("t", [picture] * 2, [f"<image>Q:{name}. A:"] * 2, "x")])
    first, second = axes[0]
    (written,) = first.texts
    assert written.get_window_extent().x1 < second.get_window_extent().x0
    assert texts_outside(figure) == []


# -- make -----------------------------------------------------------------------------------------
@pytest.mark.slow
def test_make_and_check(tmp_path: Path):
    words = ("--count", "12", "--size", "40", "--workers", "1", "--quiet")
    done = call("make", "--out", str(tmp_path / "set"), *words)
    assert done.exit_code == 0 and len(list((tmp_path / "set").glob("*.png"))) == 12
    assert call("check", f'metadata_csv("{tmp_path / "set"}")', "--quiet").exit_code == 0
    again = call("make", "--out", str(tmp_path / "set"), *words)
    assert isinstance(again.exception, MfvError) and again.exception.code == "MFV7118"
