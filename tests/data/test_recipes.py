"""The recipes of ``recipes/data``, run by the bundled model on sets in the true formats."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

import mfv_dsl as mfv
from benchmarks import published_sets
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import find_recipe
from mfv_dsl.data.declarations import declared_datasets
from tests.data.support import (
    CARDINAL,
    write_instances,
    write_lines,
    write_metadata,
    write_pairs,
    write_scene_graphs,
)
from tests.data.test_published_sets import touch

RECIPES = Path(__file__).parents[2] / "recipes" / "data"
NAMES = "[left, right, above, below]"


def accuracies(result: object) -> dict[tuple[str, str], float]:
    return {(row.eval, row.relation): row.accuracy for row in result.rows}  # type: ignore[attr-defined]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where recipes find their files: under data/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.slow
def test_metadata_csv(folder: Path):
    write_metadata(folder / "synthetic", 200)
    options = ("defaults.trials=8", "defaults.items=16", "raw.layer=[1, 2]", "raw.on=[left, above]")
    recipe = mfv.Recipe.from_file(RECIPES / "metadata_csv.mfv", options)
    found = accuracies(recipe.run("out"))
    for relation in CARDINAL:
        assert found["few_shot", relation] >= 0.85  # the same scenes as rendered ones
        assert found["zero_shot", relation] <= 0.6
    for relation in ("left", "above"):
        assert found["raw", relation] > found["zero_shot", relation]


@pytest.mark.slow
def test_gqa(folder: Path):
    """Scene graphs, asked about as scenes are: the query is what the neighbour stands beside."""
    write_scene_graphs(folder / "gqa", 160)
    (folder / "gqa" / "graphs.json").rename(folder / "gqa" / "gqa_filtered.json")
    options = (f"photos.relations={NAMES}", "photos.query=object", "photos.min_area=0.01",
               "defaults.items=16")  # fmt: skip
    recipe = mfv.Recipe.from_file(RECIPES / "gqa.mfv", options)
    found = accuracies(recipe.run("out", only=["few_shot"]))
    assert min(found.values()) >= 0.85 and len(found) == 5  # and all together


@pytest.mark.slow
def test_pairs(folder: Path):
    items = write_pairs(folder / "set", 90)
    for number, item in enumerate(items):
        item["image"] = f"set/{item['image']}"
        item["split"] = "test" if number < 160 else "extract"
    write_lines(folder / "pairs.jsonl", items)
    recipe = mfv.Recipe.from_file(RECIPES / "pairs.mfv", ("defaults.items=16",))
    found = accuracies(recipe.run("out", only=["few_shot"]))
    assert min(found.values()) >= 0.85
    manifest = json.loads(Path("out/plan.json").read_text())["datasets"]["mine"]
    assert manifest["facts"]["splits"] == ["extract", "test"]
    assert manifest["facts"]["description"] == "360 items on 90 images of pairs(data/pairs.jsonl)"


@pytest.mark.slow
def test_a_finished_run_is_found_again_until_the_files_change(folder: Path):
    write_metadata(folder / "synthetic", 120)
    options = ("defaults.items=8", "few_shot.shots=1")

    def run() -> object:
        recipe = mfv.Recipe.from_file(RECIPES / "metadata_csv.mfv", options)
        return recipe.run("out", only=["few_shot"])

    first = run()
    assert run().cached == len(first.plan.steps)  # type: ignore[attr-defined]
    table = folder / "synthetic" / "metadata.csv"
    *lines, _ = table.read_text().splitlines()
    table.write_text("\n".join(lines))
    assert run().cached == 0  # type: ignore[attr-defined]


def test_the_recipes_are_found_by_their_names():
    for name in ("metadata_csv", "gqa", "pairs", "hf_dataset"):
        for said in (f"data/{name}", f"recipes/data/{name}.mfv"):
            assert find_recipe(said).samefile(RECIPES / f"{name}.mfv")
    for said, help in (("data/pair", "did you mean `data/pairs`?"), ("nothing", "mfv recipes")):
        with pytest.raises(MfvError) as found:
            find_recipe(said)
        assert help in str(found.value.help)


def test_the_hub_recipe_is_a_recipe():
    (made,) = declared_datasets(str(RECIPES / "hf_dataset.mfv")).values()
    assert made.constructor == "hf_dataset" and made.arguments["query"] == "subject"


# -- published sets -------------------------------------------------------------------------------
#: what the recipes ask about, and more
PREDICATES = ("on", "next to", "behind", "in front of", "under", "on top of", "sitting on",
              "leaning against", "covered in", "riding")  # fmt: skip


def captioned(folder: Path, count: int = 80) -> None:
    """What's Up's controlled pictures: four captions each, the first one right."""
    sides = {"left_of": "to the left of", "right_of": "to the right of", "on": "on",
             "under": "under"}  # fmt: skip
    entries = []
    for number in range(count):
        mark, words = list(sides.items())[number % 4]
        name = f"controlled_images/thing{number}_{mark}_chair.jpeg"
        wrong = [text for text in sides.values() if text != words]
        captions = [f"A thing{number % 9} {text} a chair" for text in (words, *wrong)]
        entries.append({"image_path": f"data/{name}", "caption_options": captions})
        touch(folder, name)
    (folder / "controlled_images_dataset.json").write_text(json.dumps(entries))


def rooms(folder: Path, count: int = 120) -> None:
    """EmbSpatial-Bench: questions with options, and pictures within."""
    words = {"left": "left of", "right": "right of", "above": "above", "under": "beneath"}
    rows = []
    for number in range(count):
        relation, text = list(words.items())[number % 4]
        one, other = f"lamp{number % 7}", f"bed{number % 5}"
        rows.append({
            "question_id": f"mp3d_{number}", "question": "?", "relation": relation,
            "answer_options": [f"The {one} is {text} the {other}."], "answer": 0,
            "image": b64encode(f"{number}".encode()).decode(),
            "objects": [{"name": name, "bbox": [1, 2, 3, 4]} for name in (one, other)],
        })  # fmt: skip
    (folder / "embspatial_bench.json").write_text(json.dumps(rows))


def yes_or_no(folder: Path, count: int = 150) -> None:
    """BLINK's questions, in parquet."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = folder / "Spatial_Relation"
    folder.mkdir()
    rows = [
        {"idx": f"val_{number}", "choices": ["yes", "no"], "answer": f"({'AB'[number // 3 % 2]})",
         "question": f"Is the cat{number % 7} {words} the box{number % 4}?",
         "image_1": {"bytes": f"{number}".encode(), "path": None}}
        for number in range(count)
        for words in [("under", "behind", "next to")[number % 3]]
    ]  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "val.parquet")


def random_set(name: str, moves: dict[str, str], part: float) -> Callable[[Path], None]:
    """A set with random content in its published form, its files moved to where they are fetched
    to."""

    def write(folder: Path) -> None:
        getattr(published_sets, name)(folder, random.Random(0), part)
        for old, new in moves.items():
            for path in sorted(folder.glob(old)):
                target = folder / new.format(path.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)

    return write


def two_parts(folder: Path) -> None:
    """CLEVR's two files of scenes."""
    random_set("clevr", {"*.png": "images/{}"}, 0.003)(folder)
    scenes = json.loads((folder / "set.json").read_text())["scenes"]
    (folder / "scenes").mkdir()
    for part, own in (("train", scenes[:140]), ("val", scenes[140:])):
        content = {"info": {}, "scenes": [{**scene, "split": part} for scene in own]}
        (folder / "scenes" / f"CLEVR_{part}_scenes.json").write_text(json.dumps(content))


#: by recipe: where its files are fetched to, what writes small ones, and how many relations it has
PUBLISHED: dict[str, tuple[str, Callable[[Path], None], int]] = {
    "vsr": ("vsr", random_set("vsr", {
        "*.jpg": "images/{}", "set.jsonl": "all_vsr_validated_data.jsonl"}, 0.08), 5),
    "whatsup": ("whatsup", captioned, 4),
    "spatialsense": ("spatialsense", random_set(
        "spatialsense", {"set.json": "annotations.json"}, 0.03), 5),
    "clevr": ("clevr", two_parts, 4),
    "embspatial": ("embspatial", rooms, 4),
    "blink": ("blink", yes_or_no, 3),
    "visual_genome": ("visual_genome", random_set(
        "visual_genome", {"set.json": "relationships.json"}, 0.002), 5),
    "boxes": ("coco", random_set("boxes", {
        "*.jpg": "val2017/{}", "set.json": "annotations/instances_val2017.json"}, 0.03), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_set_has_a_recipe(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    place, write, relations = PUBLISHED[name]
    monkeypatch.setattr(published_sets, "PREDICATES", PREDICATES)
    (folder / place).mkdir()
    write(folder / place)
    (folder / place / "ready").touch()
    few = ("defaults.trials=2", "defaults.items=2")
    recipe = mfv.Recipe.from_file(RECIPES / f"{name}.mfv", few)
    assert recipe.checked.warnings == ()
    plan = recipe.plan()
    assert plan.errors == ()
    assert len({row.relation for row in plan.rows}) == relations
    assert {row.eval for row in plan.rows} == {"zero_shot", "few_shot", "raw"}


@pytest.mark.slow
def test_boxes(folder: Path):
    """Shapes as COCO's boxes: the left-hand neighbour is found by geometry, and by the model."""
    write_metadata(folder / "made", 100)
    write_instances(folder / "made", folder / "coco")
    options = ("photos.query=object", "photos.min_area=0.001", "photos.cone=2",
               "photos.relations=[right, above]", "defaults.items=10")  # fmt: skip
    recipe = mfv.Recipe.from_file(RECIPES / "boxes.mfv", options)
    result = recipe.run("out", only=["few_shot"])
    found = accuracies(result)
    assert found["few_shot", None] >= 0.3  # objects in corners are asked about, too
    assert all(row.blind is not None and row.blind <= 0.2 for row in result.rows)
