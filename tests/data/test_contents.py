"""Pictures are known by what is in them: others in their place are another dataset."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.base import hashes
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import read_table
from tests.data.support import write_metadata, write_pairs, write_scene_graphs


def blackened(path: Path, keep_time: bool = False) -> None:
    """A picture of the same size in bytes in a picture's place."""
    before, status = path.read_bytes(), path.stat()
    changed = bytearray(before)
    changed[-200:-100] = bytes(255 - byte for byte in changed[-200:-100])
    path.write_bytes(bytes(changed))
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size and path.read_bytes() != before


def as_bmp(folder: Path) -> None:
    """The pictures of a folder as BMP: all of one size in bytes."""
    for path in folder.glob("*.png"):
        Image.open(path).convert("RGB").save(path.with_suffix(".bmp"))
        path.unlink()
    for table in (*folder.glob("*.csv"), *folder.glob("*.jsonl")):
        table.write_text(table.read_text().replace(".png", ".bmp"))


@pytest.fixture(params=["metadata_csv", "pairs", "gqa"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str], Path]:
    """A reader, its arguments, and one of the pictures."""
    folder = tmp_path / "set"
    if request.param == "gqa":
        write_scene_graphs(folder, 12)
        arguments = {"file": str(folder / "graphs.json"), "images": str(folder / "images")}
        rules = {"min_area": 0.0, "unique_names": False, "min_objects": 1}
        return "gqa", {**arguments, **rules}, folder / "images" / "1000.jpg"  # type: ignore[dict-item]
    (write_pairs if request.param == "pairs" else write_metadata)(folder, 12)
    as_bmp(folder)
    arguments = {"folder": str(folder)}
    if request.param == "pairs":
        arguments = {"file": str(folder / "pairs.jsonl")}
    return request.param, arguments, folder / "image_1.bmp"


@pytest.mark.parametrize("keep_time", [False, True])
def test_another_picture_of_the_same_size_is_another_dataset(
    dataset: tuple[str, dict[str, str], Path], keep_time: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hashes, "_SETTLED", -(10**12))  # as if the files were old
    reader, arguments, picture = dataset
    first = read_table(reader, **arguments)
    assert read_table(reader, **arguments).hash == first.hash
    os.utime(picture)  # touched
    assert read_table(reader, **arguments).hash == first.hash
    blackened(picture, keep_time)
    other = read_table(reader, **arguments)
    assert other.hash != first.hash and other.items == first.items


def test_two_pictures_that_change_places_are_another_dataset(tmp_path: Path):
    write_pairs(tmp_path, 12)
    as_bmp(tmp_path)
    first = read_table("pairs", file=str(tmp_path / "pairs.jsonl"))
    one, two = tmp_path / "image_1.bmp", tmp_path / "image_2.bmp"
    one.rename(tmp_path / "x")
    two.rename(one)
    (tmp_path / "x").rename(two)
    assert read_table("pairs", file=str(tmp_path / "pairs.jsonl")).hash != first.hash


@pytest.mark.slow
def test_a_run_on_other_pictures_measures_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    write_pairs(tmp_path / "set", 60)
    as_bmp(tmp_path / "set")
    text = f"""mfv 1
model m = tiny()
dataset d = pairs("{tmp_path / "set" / "pairs.jsonl"}")
eval few {{ shots = 4, items = 8, on = [left] }}
"""
    recipe = mfv.Recipe(text)
    seen = recipe.run(tmp_path / "run").rows[0]
    for path in (tmp_path / "set").glob("*.bmp"):
        Image.new("RGB", Image.open(path).size).save(path)
    plan = mfv.Recipe(text).plan()
    assert not (
        tmp_path / "store/steps" / plan.steps[0].key[:2] / f"{plan.steps[0].key}.safetensors"
    ).exists()
    blind = mfv.Recipe(text).run(tmp_path / "run")
    assert blind.cached == 0 and blind.rows[0].mean_p_answer < seen.mean_p_answer - 0.2
    # a recipe that was read before the pictures were changed keeps nothing under the old key
    with pytest.raises(MfvError) as raised:
        recipe.run(tmp_path / "again", fresh=True)
    assert raised.value.code == "MFV6074"
