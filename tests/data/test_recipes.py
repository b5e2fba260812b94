"""The recipes of ``recipes/data``, run by the bundled model on sets in the true formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import find_recipe
from mfv_dsl.data.declarations import declared_datasets
from tests.data.support import (
    CARDINAL,
    write_lines,
    write_metadata,
    write_pairs,
    write_scene_graphs,
)

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
    with pytest.raises(MfvError) as found:
        find_recipe("data/nothing")
    assert "data/pairs" in str(found.value.help) and "quickstart" in str(found.value.help)


def test_the_hub_recipe_is_a_recipe():
    (made,) = declared_datasets(str(RECIPES / "hf_dataset.mfv")).values()
    assert made.constructor == "hf_dataset" and made.arguments["query"] == "subject"
