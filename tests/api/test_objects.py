"""Models and datasets as objects: used as they are, and loaded once."""

from __future__ import annotations

import gc
import logging
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.models import loaded
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.tiny.facts import WEIGHTS

OPTIONS: dict[str, Any] = {"heads": [(4, 1), (2, 6)], "trials": 6}
TEXT = (
    "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right], count=12)\n"
    "defaults { heads = {L4H1}, trials = 6 }\n"
    "eval raw { add = fv(each), layer = 2, items = 4, on = [left] }\n"
)


@pytest.fixture
def loads(caplog: pytest.LogCaptureFixture) -> Any:
    """How many models have been loaded since the test began."""
    caplog.set_level(logging.INFO, "mfv_dsl")
    mfv.clear_models()
    return lambda: sum("loading the model" in record.message for record in caplog.records)


@pytest.fixture
def scenes_here() -> Any:
    return mfv.load_dataset("scenes", relations=["left", "right"], count=12)


@pytest.mark.slow
def test_a_model_is_loaded_once(loads: Any, scenes_here: Any):
    model = mfv.load_model("tiny")
    assert mfv.load_model("tiny") is model is mfv.load_model('tiny("flamingo")')
    assert mfv.load_model("tiny", name="flamingo", device="cpu") is model
    left = mfv.fv("left")
    by_object = left.vector(model, scenes_here, seed=5, **OPTIONS)
    by_text = left.vector("tiny", "scenes(relations=[left, right], count=12)", seed=5, **OPTIONS)
    assert torch.equal(by_object.residual, by_text.residual)
    left.bind(model, 2, dataset=scenes_here, seed=6, **OPTIONS)
    assert loads() == 1


@pytest.mark.slow
def test_runs_take_objects_and_load_none(loads: Any, tmp_path: Path):
    model = mfv.load_model("tiny")
    result = mfv.Recipe(TEXT).run(tmp_path / "one", model=model, fresh=True)
    again = mfv.Recipe(TEXT).run(tmp_path / "two", fresh=True)
    assert [row.accuracy for row in result.rows] == [row.accuracy for row in again.rows]
    assert [step.key for step in result.plan.steps] == [step.key for step in again.plan.steps]
    with result.plan.attach(model, layer=2):
        model.forward(model.batch(draw_prompts(Scenes(count=12), "left", "test", 1, 0),
                                  Scenes(count=12)))  # fmt: skip
    assert loads() == 1


@pytest.mark.slow
def test_a_run_on_another_dataset(tmp_path: Path):
    others = mfv.load_dataset("scenes", relations=["left"], count=8, seed=4)
    recipe = mfv.Recipe(TEXT)
    result = recipe.run(tmp_path / "object", dataset=others)
    written = mfv.run(recipe, tmp_path / "text",
                      overrides={"d": "scenes(relations=[left], count=8, seed=4)"})  # fmt: skip
    assert [step.key for step in result.plan.steps] == [step.key for step in written.plan.steps]
    assert "seed=4" in (tmp_path / "object" / "recipe.mfv").read_text()
    named = recipe.run(tmp_path / "named", dataset={"d": others}, model={"m": "tiny()"})
    assert named.rows == result.rows
    assert recipe.with_objects(dataset=others).folder != recipe.folder
    with pytest.raises(MfvError, match="did you mean `d`|it takes d"):
        recipe.run(tmp_path, dataset={"e": others})
    two = "mfv 1\nmodel m = tiny()\nmodel n = tiny()\ndataset d = scenes()\n"
    with pytest.raises(MfvError, match="MFV5118"):
        mfv.Recipe(two).run(tmp_path, model="tiny")


def test_scenes_made_by_their_class_are_a_dataset_too(scenes: Scenes, tiny: OpenFlamingo):
    vector = mfv.fv("left").vector(tiny, scenes, **OPTIONS)
    text = mfv.fv("left").vector("tiny", "scenes(seed=7, count=60)", **OPTIONS)
    assert torch.equal(vector.residual, text.residual)


def test_a_dataset_of_files_is_not_read_again(tmp_path: Path, tiny: OpenFlamingo):
    import numpy as np
    from PIL import Image

    lines = ["image,query,answer,relation"]
    for number in range(40):
        Image.fromarray(np.full((40, 40, 3), 6 * number, np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,red circle,blue {'ring' if number % 2 else 'star'},left")
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    dataset = mfv.load_dataset("pairs", tmp_path / "pairs.csv")
    (tmp_path / "pairs.csv").unlink()
    options = {"heads": [(4, 1)], "trials": 4, "shots": 1, "correct_only": False}
    assert mfv.fv("left").vector(tiny, dataset, **options).numpy().shape == (128,)


# -- what a vector is computed on ------------------------------------------------------------------
@pytest.mark.slow
def test_bind_computes_on_the_model_that_it_binds_to(loads: Any, scenes_here: Any):
    model = mfv.load_model("tiny")
    bound = mfv.fv("left").bind(model, 2, 0.5, scenes_here, **OPTIONS)
    vector = mfv.fv("left").vector(model, scenes_here, **OPTIONS)
    batch = model.batch(draw_prompts(scenes_here, "left", "test", 2, 0), scenes_here)
    wanted = full_pass(model, batch, adding(vector, 2, 0.5)).logits
    with bound.attach():
        assert torch.equal(model.forward(batch), wanted)
    assert loads() == 1


def neox() -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(hidden_size=128, num_hidden_layers=3, num_attention_heads=8,
                      intermediate_size=64, vocab_size=50)
    ).eval()  # fmt: skip


def test_for_another_model_it_is_said_what_the_vector_is_computed_on(scenes_here: Any):
    model = neox()
    with pytest.raises(MfvError, match="MFV5118") as error:
        mfv.fv("left").bind(model, 1)
    assert 'constructor="tiny"' in str(error.value)
    for constructor in ("tiny", mfv.load_model("tiny")):
        bound = mfv.fv("left").bind(model, 1, 1.0, scenes_here, constructor, **OPTIONS)
        with bound.attach(), torch.no_grad():
            model(torch.tensor([[1, 2]]))
    with pytest.raises(MfvError, match="MFV5103"):
        mfv.fv("left").bind(model, 3, constructor="tiny")
    with pytest.raises(MfvError, match="MFV5118"):
        mfv.fv("left").vector(model)
    with pytest.raises(MfvError, match="MFV5118"):
        mfv.fv("left").vector(dataset=model)


def test_a_stored_vector_binds(tiny: OpenFlamingo, tmp_path: Path):
    stored = mfv.load_vector("vectors/flamingo-tiny", "left")
    model = neox()
    bound = stored.bind(model, 1, scale=2.0)
    torch.testing.assert_close(bound.edits[0].value, 2.0 * stored.vector.residual)
    file = stored.vector.save(tmp_path / "named", {"layer": 2, "model": stored.metadata["model"]})
    assert file == tmp_path / "named.safetensors"
    assert mfv.load_vector(file).bind(tiny).edits[0].layer == 2
    plain = (2 * stored.vector).save(tmp_path / "plain.safetensors")
    with pytest.raises(MfvError, match="names no layer"):
        mfv.load_vector(plain).bind(tiny)
    foreign = mfv.Vector(stored.vector.residual, type(stored.vector.space)("other", 128))
    mfv.save_vector(tmp_path / "foreign", foreign)
    with pytest.raises(MfvError, match="MFV5303"):
        mfv.load_vector(tmp_path / "foreign.safetensors").bind(tiny, 1)


# -- a model that is not as it was loaded ----------------------------------------------------------
@pytest.mark.slow
def test_a_model_with_other_weights_is_not_taken_for_the_one_that_was_loaded(
    loads: Any, scenes_here: Any
):
    model = mfv.load_model("tiny")
    weight = model.model.lang_encoder.gpt_neox.layers[1].decoder_layer.attention.dense.weight
    with torch.no_grad():
        weight.mul_(2)
    with pytest.raises(MfvError, match="MFV5120"):
        mfv.fv("left").vector(model, scenes_here, seed=11, **OPTIONS)
    fresh = mfv.load_model("tiny")
    assert fresh is not model and loads() == 2
    mfv.fv("left").vector(fresh, scenes_here, seed=11, **OPTIONS)
    model.model.train()
    assert mfv.load_model("tiny") is fresh
    copied = fresh.model.lang_encoder.get_output_embeddings().weight
    copied.data.mul_(2)  # which PyTorch does not count as a change
    assert not loaded.is_unchanged(fresh)
    copied.data.div_(2)
    assert loaded.is_unchanged(fresh)
    fresh.model.train()
    assert mfv.load_model("tiny") is not fresh


@pytest.mark.slow
def test_nothing_is_computed_on_a_model_that_is_being_edited(scenes_here: Any):
    model = mfv.load_model("tiny")
    left, right = mfv.fv("left"), mfv.fv("right")
    bound = left.bind(model, 2, 30.0, scenes_here, **OPTIONS)
    batch = model.batch(draw_prompts(scenes_here, "left", "test", 1, 0), scenes_here)
    with bound.attach():
        with pytest.raises(MfvError, match="edits are attached"):
            right.vector(model, scenes_here, seed=21, **OPTIONS)
        model.forward(batch)
        by_text = right.vector("tiny", scenes_here, seed=22, **OPTIONS)  # on a model of its own
    again = right.vector(model, scenes_here, seed=22, **OPTIONS)
    assert torch.equal(by_text.residual, again.residual)
    right.vector(model, scenes_here, seed=21, **OPTIONS)


# -- the models that are kept ---------------------------------------------------------------------
@pytest.mark.slow
def test_models_are_let_go(loads: Any):
    model = mfv.load_model("tiny")
    assert mfv.clear_models() == 1 and mfv.clear_models() == 0
    assert mfv.load_model("tiny") is not model and loads() == 2
    gone = weakref.ref(mfv.load_model("tiny"))
    del model
    mfv.clear_models()
    gc.collect()
    assert gone() is None


@pytest.mark.slow
def test_a_model_whose_files_have_changed_is_another(loads: Any, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    first = mfv.load_model("tiny", str(folder))
    assert mfv.load_model("tiny", folder) is first
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert mfv.load_model("tiny", str(folder)) is not first and loads() == 2


@pytest.mark.slow
def test_only_so_much_is_kept(loads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded, "KEPT_BYTES", 1)
    names = []
    for number in range(3):
        shutil.copytree(WEIGHTS, tmp_path / str(number))
        names.append(str(tmp_path / str(number)))
        mfv.load_model("tiny", names[-1])
    held = mfv.load_model("tiny", names[0])
    assert loads() == 4  # the first was let go for the second
    mfv.load_model("tiny", names[1])
    assert mfv.load_model("tiny", names[0]) is held  # whoever holds one keeps it known
    assert mfv.clear_models() == 1


# -- both bundled models ---------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("name", ["flamingo", "llava"])
@pytest.mark.parametrize("layer", [1, "native"])
def test_a_loaded_model_is_edited_in_all_that_it_does(name: str, layer: int | str):
    """Passes over prompts of different lengths, and every token of a generation."""
    model, shapes = mfv.load_model("tiny", name), mfv.load_dataset("scenes", count=20)
    vector = mfv.fv("left").vector(model, shapes, heads=[(2, 1)], trials=4)
    edits = adding(vector, layer, 3.0)
    prompts = [draw_prompts(shapes, "left", "test", 1, shots)[0] for shots in (0, 3)]
    batch = model.batch(prompts, shapes)
    picture = shapes.pictures([prompts[0].query.image], 40)[0]
    asked = ["<image>Q:red circle. A:", "<image>Q:red circle. A:blue ring."], [[picture]] * 2
    bound = vector.bind(model, layer, 3.0)
    with bound.attach():
        logits = model.forward(batch)
        told = model.generate(*asked, max_new_tokens=3)
    assert torch.equal(logits, full_pass(model, batch, edits).logits)
    assert told == model.generate(*asked, max_new_tokens=3, edits=edits, everywhere=True)
    assert len(repr(model)) < 300 and "8 heads" in repr(model) and "count=20" in repr(shapes)


def test_where_a_model_runs_is_no_part_of_what_a_recipe_calls_it_that_cannot_say_it():
    model = loaded.load_anew("tiny", "cpu")
    assert mfv.fv("left").plan(model).steps == mfv.fv("left").plan("tiny").steps
