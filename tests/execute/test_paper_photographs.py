"""The recipes of the paper on files: they run on pictures of shapes that lie where the official
code leaves its own, in its form."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.places import bundled
from tests.data.support import write_official_gqa, write_official_synthetic

FOLDER = bundled("recipes") / "paper"
#: counts that keep a run short; they come behind those of the profile
SHORT = (
    "defaults.trials=12", "defaults.items=12", "defaults.tune.items=20",
    "defaults.tune.epochs=2", "defaults.tune.select_items=5",
)  # fmt: skip
RELATIONS = {
    "gqa": ["above", "below", "left", "right", "next to", "behind", "in front of"],
    "agentic": ["wearing", "holding", "riding"],
    "transfer": ["left", "right", "above", "below"],
    "cutouts": ["above", "below", "left", "right"],
}
#: by recipe and eval: the least and the greatest mean accuracy over relations
SHOWN = {
    "gqa": {"all_items": (0, 0.5), "few_shot": (0.5, 1), "initial": (0.5, 1), "trained": (0.5, 1)},
    "agentic": {"all_items": (0, 0.5), "few_shot": (0.8, 1), "trained": (0.6, 1)},
    "transfer": {"zero_shot": (0, 0.5), "few_shot": (0.8, 1), "raw": (0.6, 1),
                 "raw_drawn": (0.6, 1), "trained_drawn": (0.6, 1)},
    "cutouts": {"all_items": (0, 0.5), "few_shot": (0.8, 1), "trained": (0.7, 1)},
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the official files."""
    folder = tmp_path_factory.mktemp("official")
    write_official_gqa(folder, 240, 80)
    write_official_synthetic(folder, 60)
    return folder


def test_both_models_have_the_same_recipes_of_files() -> None:
    names = [
        sorted(p.stem for p in FOLDER.glob(f"{model}data/*.mfv")) for model in ("", "qwen3-vl/")
    ]
    assert names == [sorted(SHOWN)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("model", ["", "qwen3-vl/"])
@pytest.mark.parametrize("name", SHOWN)
def test_it_is_right_on_the_official_files(
    name: str, model: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a profile all is as the recipe says, but there are too few pictures."""
    monkeypatch.chdir(files)
    recipe = Recipe.from_file(FOLDER / f"{model}data" / f"{name}.mfv")
    assert recipe.checked.warnings == ()
    (loaded,) = recipe.checked.models.values()
    assert loaded.arguments["path"].startswith("Qwen/" if model else "openflamingo/")
    plan = recipe.plan()
    assert {error.code for error in plan.errors} <= {"MFV7110"}
    relations = {row.relation for row in plan.rows if row.eval == "few_shot"}
    assert relations == set(RELATIONS[name])
    layers = {step.parameters["layer"] for step in plan.steps if step.operation == "tune"}
    assert layers == {8 if model else 18}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("model", ["", "qwen3-vl/"])
def test_it_runs_on_a_bundled_model(
    name: str, model: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    more = ("on_drawn.items=20", "on_drawn.epochs=2") if name == "transfer" else ()
    path = FOLDER / f"{model}data" / f"{name}.mfv"
    result = Recipe.from_file(path, SHORT + more, "llava" if model else "tiny").run()
    measured = {(row.eval, row.relation) for row in result.rows if row.relation is not None}
    assert measured == {(row.eval, row.relation) for row in result.plan.rows}
    for label, (least, most) in SHOWN[name].items():
        rows = [r for r in result.rows if r.eval == label and r.relation is not None]
        found = [r.accuracy for r in rows if r.accuracy is not None]
        assert len(rows) == len(RELATIONS[name]) and len(found) >= 3, (label, found)
        # of a relation of which a model answers no prompt there is no vector
        assert all(r.error for r in rows if r.accuracy is None)
        assert least <= sum(found) / len(found) <= most, (label, found)
