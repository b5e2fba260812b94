"""Datasets of a Python program's own objects."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.base.errors import MfvError
from tests.data.support import write_lines, write_pairs

TEST = {"extract": 0, "train": 0, "validation": 0, "test": 1}


def item(image: Any, query: str = "cup", answer: str = "lamp", relation: str = "left") -> Any:
    return {"image": image, "query": query, "answer": answer, "relation": relation}


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)


def shown_by(dataset: Any, relation: str = "left") -> list[np.ndarray]:
    items = dataset.items(relation, "test")
    return dataset.pictures([item.image for item in items], 224)


def test_a_picture_is_the_same_however_it_is_given(tmp_path: Path):
    array = noise(0)
    image = Image.fromarray(array)
    file = io.BytesIO()
    image.save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    forms = [array, image, file.getvalue(), tensor, tensor.float() / 255, array / 255,
             torch.from_numpy(array)]  # fmt: skip
    datasets = [mfv.dataset([item(form)], **TEST) for form in forms]
    assert len({dataset.hash for dataset in datasets}) == 1
    by_path = mfv.dataset([item("a.png")], images=tmp_path, **TEST)
    for dataset in (*datasets, by_path):
        assert (shown_by(dataset)[0] == array).all()
    grey = mfv.dataset([item(array[..., 0])], **TEST)
    assert (shown_by(grey)[0] == array[..., :1]).all()


def test_what_changes_later_changes_nothing_and_other_pictures_are_another_dataset():
    array = noise(0)
    dataset = mfv.dataset([item(array)], **TEST)
    array[0, 0] = 0
    assert (shown_by(dataset)[0] == noise(0)).all()
    assert mfv.dataset([item(array)], **TEST).hash != dataset.hash
    assert mfv.dataset([item(noise(0))], **TEST).hash == dataset.hash
    assert mfv.dataset([item(noise(0), answer="mug")], **TEST).hash != dataset.hash


class OfTorch(torch.utils.data.Dataset):
    """Items without an end of their own, as many datasets of torch are."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        return Image.fromarray(noise(number)), "cup", f"lamp {number}", "next to", "test"


def test_lists_frames_and_datasets_of_torch():
    assert [i.answer for i in mfv.dataset(OfTorch()).items("next_to", "test")] == [
        "lamp 0", "lamp 1", "lamp 2"
    ]  # fmt: skip
    rows = [item(noise(n), answer=f"lamp {n}") for n in range(3)]
    expected = mfv.dataset(rows).hash
    assert mfv.dataset(iter(rows)).hash == mfv.dataset(tuple(rows)).hash == expected
    other = [{"photo": row["image"], "q": "cup", "a": row["answer"], "r": "left"} for row in rows]
    renamed = mfv.dataset(other, image="photo", query="q", answer="a", relation="r")
    assert renamed.hash == expected


def test_a_data_frame():
    pandas = pytest.importorskip("pandas")
    rows = [{**item(noise(n), answer=f"lamp {n}"), "split": "test"} for n in range(3)]
    dataset = mfv.dataset(pandas.DataFrame(rows))
    assert dataset.hash == mfv.dataset(rows).hash and dataset.splits == ("test",)


def test_half_characters_are_refused():
    with pytest.raises(MfvError, match="its answer has half a character"):
        mfv.dataset([item(noise(0), answer="lamp \ud83d")])


def test_items_are_checked_all_at_once(tmp_path: Path):
    bad = [
        item(noise(0)), item(noise(0), answer="mug"), {"image": noise(0)}, 5,
        item(noise(1), query=7), item(None), item(noise(2)[..., :2]), item(noise(1) * 2.0),
        item(b"no image"), item(str(tmp_path / "none.png")), item(noise(3), answer=" "),
    ]  # fmt: skip
    with pytest.raises(MfvError, match="10 mistakes in dataset.mine.") as found:
        mfv.dataset(bad, "mine")
    assert found.value.code == "MFV7107"
    places = [note.split(":")[0] for note in found.value.notes]
    assert places == [f"item {n}" for n in range(2, 12)]
    assert "undo what normalises it" in found.value.notes[6]
    assert "it has no `query` and no `answer` and no `relation`" in found.value.notes[1]


@pytest.mark.parametrize(
    ("items", "options", "says"),
    [
        (5, {}, "a list of dicts"), ("a.csv", {}, "a list of dicts"),
        ({"image": 1}, {}, "a list of dicts"),
        ([], {"sed": 1}, "did you mean `seed`"), ([], {"seed": "x"}, "seed has to be"),
        ([], {"extract": -1}, "extract has to be 0 or more"),
        ([], {"missing": "skip"}, "'error' or 'drop'"), ([], {"name": 5}, "name has to be text"),
    ],
)  # fmt: skip
def test_arguments_of_a_wrong_type(items: Any, options: Any, says: str):
    with pytest.raises(ArgumentError, match=says):
        mfv.dataset(items, **options)


def test_no_items():
    with pytest.raises(MfvError, match="nothing is left of dataset.mine."):
        mfv.dataset([], "mine")


RECIPE = """mfv 1
model   m = tiny()
dataset d = pairs("pairs.jsonl")
eval raw { on = [left, above], shots = 2, items = 8 }
"""


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny()", 'tiny("llava")'])
def test_a_run_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str):
    """What is given as objects answers as the same items in files do, and finds its steps again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    items = [{**row, "split": "test"} for row in write_pairs(tmp_path, 30)]
    write_lines(tmp_path / "pairs.jsonl", items)
    recipe = mfv.Recipe(RECIPE, overrides=(f"m={model}",))

    def given() -> Any:
        pictures = [Image.open(tmp_path / row["image"]) for row in items]
        rows = [{**row, "image": image} for row, image in zip(items, pictures, strict=True)]
        return mfv.dataset(rows, "mine")

    of_files = recipe.run(tmp_path / "files")
    first = recipe.run(tmp_path / "one", dataset=given())
    again = recipe.run(tmp_path / "two", dataset=given())
    assert [row.accuracy for row in first.rows] == [row.accuracy for row in of_files.rows]
    assert [row.accuracy for row in again.rows] == [row.accuracy for row in first.rows]
    with_objects = recipe.with_objects(dataset=given())
    assert 'in_memory("mine", hash="' in with_objects.overrides[-1]
    keys = [step.key for step in with_objects.plan().steps]
    assert keys == [step.key for step in recipe.with_objects(dataset=given()).plan().steps]


def test_a_recipe_of_another_program_says_what_to_do():
    with pytest.raises(mfv.RecipeError) as found:
        mfv.Recipe('mfv 1\nmodel m = tiny()\ndataset d = in_memory("gone", hash="5f1d")\n')
    assert found.value.code == "MFV7143"
    assert "dataset=mfv_dsl.dataset(items)" in str(found.value)
