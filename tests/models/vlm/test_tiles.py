"""Sizes and tiles of pictures: what is asked for, what it costs, and what tells models apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfv_dsl
from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.vlm.architectures import ARCHITECTURES
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.facts import facts_of, known_facts, read_architecture
from mfv_dsl.models.vlm.load import load_folder
from mfv_dsl.plan.explain import explain_plan, plan_text
from tests.models.vlm.test_passes import ARCHITECTURES as ALL
from tests.models.vlm.test_passes import differences, pictures, text

Checkpoint = Callable[[str], Path]
TILED = [name for name, row in ARCHITECTURES.items() if row.tiling]
SIZES = ((56, 56), (56, 112), (112, 60), (200, 150))


def loaded_with(folder: Path, **sizes: int) -> VisionLanguageModel:
    return load_folder(folder, folder.name, dtype="fp32", device="cpu", **sizes)


def features(model: VisionLanguageModel, height: int, width: int | None = None) -> int:
    """How many tokens of a prompt a picture takes, its marks left out."""
    picture = np.zeros((height, width or height, 3), np.uint8)
    batch = model.texts([f"{model.architecture.mark}Q:"], [[picture]])
    return int((batch.tokens == model.image_token).sum())


# -- what a picture costs -------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_tokens_are_known_before_the_model_is_loaded(name: str, checkpoint: Checkpoint):
    folder = checkpoint(name)
    _, row = read_architecture(folder, name)
    options: list[dict[str, int]] = [{}]
    options += [{"pixels": 90 * 90}, {"pixels": 224 * 224}] if row.sizes != "one" else []
    options += [{"tiles": tiles} for tiles in (1, 2, 4)] if row.tiling else []
    for sizes in options:
        model = loaded_with(folder, **sizes)
        expected = features(model, model.image_size)
        facts = facts_of(folder, folder.name, "fp32", "plain", **sizes)
        assert facts.picture_tokens == expected, sizes
        assert facts == model.facts


def test_tokens_of_published_configurations():
    sizes: dict[tuple[str, int | None, int | None], int] = {
        ("Qwen/Qwen3-VL-4B-Instruct", 256 * 28 * 28, None): 196,
        ("Qwen/Qwen2.5-VL-3B-Instruct", 256 * 28 * 28, None): 256,
        ("HuggingFaceTB/SmolVLM-256M-Instruct", None, None): 64,
        ("HuggingFaceTB/SmolVLM-256M-Instruct", None, 16): 17 * 64,
    }
    for (path, pixels, tiles), tokens in sizes.items():
        facts = known_facts(path, None, "bf16", "plain", pixels, tiles)
        assert facts is not None
        assert facts.picture_tokens == tokens


# -- tiles ----------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("name", TILED)
def test_tiles_bound_what_a_picture_becomes(name: str, checkpoint: Checkpoint):
    """Whole pictures, each with as many tokens as any other; more of them where more is asked."""
    folder = checkpoint(name)
    model = loaded_with(folder)
    whole = {features(model, *size) for size in SIZES if size[0] == size[1] or name != "llava_next"}
    assert len(whole) == 1
    numbers = [max(features(loaded_with(folder, tiles=n), *size) for size in SIZES)
               for n in (1, 2, 4)]  # fmt: skip
    assert numbers[0] <= numbers[1] <= numbers[2]
    assert numbers[0] < numbers[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", TILED)
def test_tiled_pictures_in_prompts(name: str, checkpoint: Checkpoint):
    """A picture is cut in the same way alone and among others, and copies equal full passes."""
    model = loaded_with(checkpoint(name), tiles=4)
    shown = [pictures(3, 0, SIZES), pictures(2, 1, SIZES)]
    prompts = [text(model, 2), text(model, 1)]
    batch = model.texts(prompts, shown, ["plate", "plate"])
    assert model.inputs.reads_alone  # it was compared with the processor's own
    assert differences(model, batch)[0] < 1e-5


def test_tiles_belong_to_the_models_identity(checkpoint: Checkpoint):
    def print_of(name: str, **sizes: int) -> str:
        return facts_of(checkpoint(name), name, "fp32", "plain", **sizes).fingerprint

    assert print_of("internvl") == print_of("internvl", tiles=1)
    assert print_of("internvl", tiles=4) != print_of("internvl")
    assert print_of("internvl").endswith(":1tiles")  # its own processor would cut them
    assert print_of("llava").count(":") == 0


def test_tiles_of_a_model_that_cuts_none(checkpoint: Checkpoint):
    with pytest.raises(MfvError, match="not shown tiles") as raised:
        facts_of(checkpoint("llava"), "l", "fp32", "plain", tiles=2)
    assert (raised.value.code, raised.value.argument) == ("MFV7285", "tiles")


def test_pixels_bound_the_sides_of_pixtral(checkpoint: Checkpoint):
    model = loaded_with(checkpoint("mistral3"), pixels=56 * 56)
    assert features(model, 112) == features(model, 56) == 4
    assert features(model, 56, 28) == 2  # it enlarges none


# -- the plan -------------------------------------------------------------------------------------
RECIPE = """\
mfv 1
model m = hf("{path}")
dataset shapes = scenes(relations=[left], count=8)
eval raw {{ shots = {shots} }}
"""


def test_the_plan_says_what_pictures_cost(checkpoint: Checkpoint):
    plan = mfv_dsl.Recipe(RECIPE.format(path=checkpoint("llava"), shots=4)).plan()
    shown = plan_text(plan, explain_plan(plan, finished=()))
    assert "about 16 tokens a picture" in shown
    assert "prompts of about 122 tokens" in shown


def test_pictures_that_no_prompt_has_room_for(tmp_path: Path, checkpoint: Checkpoint):
    shutil.copytree(checkpoint("llava"), tmp_path / "short")
    file = tmp_path / "short" / "config.json"
    config: dict[str, Any] = json.loads(file.read_text())
    config["text_config"]["max_position_embeddings"] = 64
    file.write_text(json.dumps(config))
    path = tmp_path / "short"
    assert mfv_dsl.Recipe(RECIPE.format(path=path, shots=3)).plan()  # 64 tokens of pictures
    with pytest.raises(MfvError, match="about 80 tokens") as raised:
        mfv_dsl.Recipe(RECIPE.format(path=path, shots=4)).plan()
    assert raised.value.code == "MFV7286"
