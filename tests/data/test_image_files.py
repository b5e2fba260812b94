"""Where the images of a table are: in its folder or not, and what is there in their place."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import open_dataset, read_table


def picture(path: Path, colour: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(path, "PNG")


def write(folder: Path, *images: str) -> str:
    rows = [
        {"image": image, "query": f"cup {n}", "answer": "lamp", "relation": "left"}
        for n, image in enumerate(images)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "pairs.jsonl")


def warned(folder: Path, *images: str) -> list[str]:
    table = read_table("pairs", file=write(folder, *images))
    assert {finding.severity for finding in table.findings} <= {"warning"}
    assert {finding.code for finding in table.findings} <= {"MFV7130"}
    return [str(finding) for finding in table.findings]


# -- outside --------------------------------------------------------------------------------------
def test_images_that_leave_the_folder_are_warned_of(tmp_path: Path):
    folder, away = tmp_path / "set", tmp_path / "away"
    for path in (folder / "in.png", folder / "deep" / "in.png", away / "out.png"):
        picture(path)
    (folder / "inner").symlink_to("deep")
    (folder / "link.png").symlink_to(folder / "in.png")
    assert warned(folder, "in.png", "deep/in.png", "deep/../in.png", "inner/in.png", "link.png",
                  str(folder / "in.png")) == []  # fmt: skip
    (folder / "outer").symlink_to(away)
    (folder / "leak.png").symlink_to(away / "out.png")
    for image in ("../away/out.png", str(away / "out.png"), "outer/out.png", "leak.png"):
        (told,) = warned(folder, "in.png", image)
        assert told == (f"line 2: 1 images lie outside of the dataset's folder, such as {image}")


def test_a_recipe_is_warned_too_and_runs(tmp_path: Path):
    picture(tmp_path / "away" / "out.png")
    file = write(tmp_path / "set", "../away/out.png")
    recipe = mfv.Recipe(f'mfv 1\nmodel m = tiny()\ndataset d = pairs("{file}")\n', "r")
    (warning,) = recipe.check()
    assert (warning.code, warning.severity) == ("MFV7130", "warning")
    dataset = open_dataset("pairs", file=file)
    assert dataset.pictures(["../away/out.png"], 8)[0].shape == (8, 8, 3)


# -- spellings ------------------------------------------------------------------------------------
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_images_are_found_in_either_unicode_form(on_disk: Any, written: Any, tmp_path: Path):
    picture(tmp_path / unicodedata.normalize(on_disk, "é/café.png"))
    assert warned(tmp_path, unicodedata.normalize(written, "é/café.png")) == []
    picture(tmp_path / unicodedata.normalize(on_disk, "tête.png"))
    assert warned(tmp_path, unicodedata.normalize(written, "tête.png")) == []


def test_one_image_has_one_name(tmp_path: Path):
    picture(tmp_path / "photos" / "a  b.png")
    images = [
        "photos/a  b.png",
        "./photos/a  b.png",
        "photos//a  b.png",
        " photos/./a  b.png\u200b",
    ]
    assert warned(tmp_path, *images) == []
    table = read_table("pairs", file=str(tmp_path / "pairs.jsonl"))
    assert list(table.images) == ["photos/a  b.png"]
    assert sum(bool(pool) for pool in table.items.values()) == 1  # of one split


# -- what is there instead ------------------------------------------------------------------------
@pytest.mark.parametrize("there", ["a.JPG", "a.jpeg", "A.png"])
def test_a_missing_image_is_told_with_what_is_there(there: str, tmp_path: Path):
    picture(tmp_path / there)
    table = read_table("pairs", file=write(tmp_path, "a.jpg"), missing="error")
    (finding,) = table.findings
    assert (finding.code, finding.message) == ("MFV7108", f"there is no image a.jpg, but {there}")


def graphs(folder: Path) -> dict[str, str]:
    objects = {
        str(n): {
            "name": name,
            "w": 5,
            "h": 5,
            "relations": [{"name": "on", "object": "0"}] * (n > 0),
        }
        for n, name in enumerate(("table", "cup", "lamp"))
    }
    scene = {"width": 10, "height": 10, "objects": objects}
    (folder / "graphs.json").write_text(json.dumps({"1": scene, "2": scene}))
    return {"file": str(folder / "graphs.json"), "images": str(folder / "images")}


@pytest.mark.parametrize("ending", [".jpeg", ".png", ".JPG"])
@pytest.mark.parametrize("missing", ["error", "drop"])
def test_scene_graphs_say_which_suffix_the_images_have(ending: str, missing: str, tmp_path: Path):
    for image in ("1", "2"):
        picture(tmp_path / "images" / f"{image}{ending}")
    files = graphs(tmp_path)
    hint = f'2 images are there as {ending}, not .jpg: `suffix = "{ending}"`'
    with pytest.raises(MfvError) as caught:
        open_dataset("gqa", **files, missing=missing)
    assert hint in str(caught.value)
    for suffix in (ending, ending[1:]):
        assert list(read_table("gqa", **files, suffix=suffix).images) == [
            f"1{ending}",
            f"2{ending}",
        ]


def test_no_hint_where_nothing_is_there(tmp_path: Path):
    os.mkdir(tmp_path / "images")
    with pytest.raises(MfvError) as caught:
        open_dataset("gqa", **graphs(tmp_path))
    assert "suffix" not in str(caught.value) and caught.value.code == "MFV7108"
