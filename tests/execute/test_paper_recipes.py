"""The recipes of the paper: each plans without the model's files, and runs by its profile on a
bundled model."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.places import bundled
from mfv_dsl.execute.results import ResultRow

FOLDER = bundled("recipes") / "paper"
#: those of the user's own files are in ``data``, and in ``shared`` what others use
RECIPES = sorted(p for p in FOLDER.rglob("*.mfv") if p.parent.name not in ("data", "shared"))
#: trainings of whole prompts, kept short
FEW_EPOCHS = ("defaults.lora.epochs=4", "defaults.soft_prompt.epochs=4")
#: counts that keep a run short; they come behind those of the profile
SHORT = ("defaults.trials=12", "defaults.items=12")
#: by recipe and eval: over all relations the best condition is at least as accurate as the first
#: number, the worst no more than the second
SHOWN = {
    "spatial-4b": {"zero_shot": (0.05, 0.4), "raw": (0.85, 1), "all_items": (0.05, 0.4),
                   "few_shot": (0.9, 1), "initial": (0.85, 1), "trained": (0.85, 1)},
    "mediation": {"few_shot": (0.9, 1), "without_them": (0.75, 0.6), "at_random": (0.9, 1)},
    "heads": {"zero_shot": (0.05, 0.4), "raw": (0.9, 1)},
    "layers": {"zero_shot": (0.05, 0.4), "every_layer": (0.9, 0.4), "scales": (0.9, 0.65),
               "head_by_head": (0.8, 1)},
    "shots": {"zero_shot": (0.05, 0.4), "examples": (0.9, 1), "raw": (0.85, 1)},
    "tuning": {"zero_shot": (0.05, 0.4), "few_shot": (0.9, 1), "raw": (0.85, 1),
               "trained": (0.85, 1), "noise": (0.05, 1), "text": (0.8, 1)},
    "composition": {"zero_shot": (0.1, 0.4), "examples": (0.7, 1), "sums": (0.8, 1),
                    "analogy": (0.4, 0.8), "tuned_sums": (0.75, 1), "tuned_analogy": (0.3, 0.8)},
    "baselines": {"zero_shot": (0.05, 0.4), "few_shot": (0.9, 1), "raw": (0.85, 1),
                  "trained": (0.85, 1), "low_rank": (0.5, 1), "prompted": (0.5, 1)},
    "novel": {"zero_shot": (0, 0.1), "few_shot": (0.9, 1), "raw": (0.4, 1),
              "trained": (0.45, 1)},
    "qwen3-vl/mediation": {"few_shot": (0.95, 1), "without_them": (0.6, 0.5),
                           "at_random": (0.95, 1)},
    "qwen3-vl/heads": {"zero_shot": (0.05, 0.4), "raw": (0.95, 0.8)},
    "qwen3-vl/layers": {"zero_shot": (0.05, 0.4), "every_layer": (0.95, 0.4),
                        "scales": (0.95, 0.55), "head_by_head": (0.9, 1)},
    "qwen3-vl/shots": {"zero_shot": (0.05, 0.4), "examples": (0.95, 1), "raw": (0.75, 1)},
    "qwen3-vl/tuning": {"zero_shot": (0.05, 0.4), "few_shot": (0.95, 1), "raw": (0.9, 1),
                        "trained": (0.95, 1), "noise": (0.05, 1), "text": (0.85, 1)},
    "qwen3-vl/composition": {"zero_shot": (0.1, 0.4), "examples": (0.4, 0.7),
                             "sums": (0.6, 1), "analogy": (0.35, 0.65),
                             "tuned_sums": (0.4, 1), "tuned_analogy": (0.2, 0.8)},
    "qwen3-vl/baselines": {"zero_shot": (0.05, 0.4), "few_shot": (0.95, 1), "raw": (0.85, 1),
                           "trained": (0.9, 1), "low_rank": (0.4, 1), "prompted": (0.4, 1)},
    "qwen3-vl/novel": {"zero_shot": (0, 0.1), "few_shot": (0.7, 1), "raw": (0.5, 0.95),
                       "trained": (0.65, 1)},
}  # fmt: skip
#: by folder: the repository whose model it is, and that model's layers and heads
MODELS = {
    ".": ("openflamingo/OpenFlamingo-4B-vitl-rpj3b-langinstruct", 32, 32),
    "qwen3-vl": ("Qwen/Qwen3-VL-4B-Instruct", 36, 32),
}


def name(path: Path) -> str:
    """The recipe's name below ``paper``."""
    return path.relative_to(FOLDER).with_suffix("").as_posix()


def profile(path: Path) -> str:
    """The bundled model that is of the kind of the recipe's own."""
    return "llava" if path.parent.name == "qwen3-vl" else "tiny"


def test_there_are_recipes_for_every_experiment() -> None:
    assert {name(path) for path in RECIPES} == set(SHOWN)


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_plans_for_the_real_model_without_its_files(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    recipe = Recipe.from_file(path)
    (model,) = recipe.checked.models.values()
    facts = model.facts
    folder = path.parent.relative_to(FOLDER).as_posix()
    assert (model.arguments["path"], facts.n_layers, facts.n_heads) == MODELS[folder]
    assert recipe.checked.warnings == ()
    plan = recipe.plan()
    assert plan.rows and not plan.warnings


def test_qwen_is_asked_as_the_official_code_asks() -> None:
    """The prompt's form, the picture's size, the injection layer, and how vectors are tuned."""
    for path in (FOLDER / "qwen3-vl").glob("*.mfv"):
        checked = Recipe.from_file(path).checked
        (model,) = checked.models.values()
        assert model.arguments["prompt"] == "official" and model.arguments["dtype"] == "bf16"
        assert model.arguments["pixels"] == 256 * 28 * 28
        for dataset in checked.datasets.values():
            assert dataset.arguments["size"] == 800
            assert dataset.arguments["kinds"] == "things"
    recipe = Recipe.from_file(FOLDER / "qwen3-vl" / "tuning.mfv")
    layers = {block.name: block["layer"] for block in recipe.checked.blocks}
    assert layers["raw"] == layers["trained"] == layers["noise"] == 8
    tunes = [step.parameters for step in recipe.plan().steps if step.operation == "tune"]
    as_in_text = [tune for tune in tunes if tune["epochs"] == 20]
    tunes = [tune for tune in tunes if tune["epochs"] != 20]
    assert [(t["items"], t["batch"], t["lr"], t["layer"]) for t in as_in_text] == [
        (1000, 1, 0.001, 8)
    ] * 4
    assert len(tunes) == 8
    for tune in tunes:
        assert (tune["items"], tune["batch"], tune["epochs"], tune["lr"], tune["layer"]) == (
            250, 1, 10, 0.01, 8
        )  # fmt: skip
    assert [tune.get("start") for tune in tunes] == [None] * 4 + ["normal"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_everything_else_is_as_in_the_official_code(path: Path) -> None:
    """Twins, biases, heads of the relation alone, and what tunes look at, in every recipe."""
    checked = Recipe.from_file(path).checked
    plan = Recipe.from_file(path).plan()
    for step in plan.steps:
        if step.operation == "mediation":
            assert step.parameters["corrupt"] == "same_images"
        if step.operation == "extract":
            assert step.parameters["bias"] == "per_head"
        if step.operation == "top":
            assert len(step.inputs["scores"]) == 1
        if step.operation == "tune":
            assert (step.parameters["select_on"], step.parameters["layer"]) == (
                "extract", 8 if path.parent.name == "qwen3-vl" else 18
            )  # fmt: skip
    measured = {
        block.name: block["correct_with"] for block in checked.blocks if block.kind == "eval"
    }
    if path.stem in ("heads", "layers"):
        assert set(measured.values()) == {4}
    if path.stem == "spatial-4b":
        assert {name for name, shots in measured.items() if shots == 4} == {"zero_shot", "raw"}


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_it_runs_on_a_bundled_model(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what it saves goes there
    short = SHORT + (FEW_EPOCHS if path.stem == "baselines" else ())
    recipe = Recipe.from_file(path, short, profile(path))
    full = Recipe.from_file(path)
    assert [row.eval for row in recipe.plan().rows] == [row.eval for row in full.plan().rows]
    result = recipe.run()
    measured = {(row.eval, row.relation) for row in result.rows if row.relation is not None}
    assert measured == {(row.eval, row.relation) for row in result.plan.rows}
    for row in result.rows:
        if row.relation is not None:
            known = {block.name: block for block in recipe.checked.blocks}[row.eval]["correct_with"]
            assert row.n == 12 or (known is not None and 0 < row.n < 12)
    found: dict[str, list[float]] = {}
    for row in result.rows:
        if row.relation is None or not covers_several(result.rows, row.eval):
            found.setdefault(row.eval, []).append(row.accuracy)
    assert found.keys() == SHOWN[name(path)].keys()
    for label, (best, worst) in SHOWN[name(path)].items():
        assert max(found[label]) >= best and min(found[label]) <= worst, (label, found[label])


def covers_several(rows: list[ResultRow], label: str) -> bool:
    return any((row.eval, row.relation) == (label, None) for row in rows)
