"""`mfv data show`: pictures as a model gets them, drawn again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mfv_dsl.base.errors import MfvError
from mfv_dsl.inspection import preprocessed_pictures
from mfv_dsl.models.vlm.drawing import _GAP, drawn
from mfv_dsl.models.vlm.load import load_folder
from mfv_dsl.models.vlm.prompts import Form
from tests.cli.support import mfv_command
from tests.models.vlm.test_passes import pictures
from tests.models.vlm.test_prompts import prompt, with_form

Checkpoint = Callable[[str], Path]


def shown(folder: Path, picture: np.ndarray, **sizes: int) -> np.ndarray:
    model = load_folder(folder, folder.name, dtype="fp32", device="cpu", **sizes)
    (view,) = preprocessed_pictures(model.preprocess, [picture])
    return view


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that survives being shrunk and enlarged, another in each colour."""
    rows, columns = np.mgrid[0:height, 0:width]
    shades = rows / height, columns / width, (rows + columns) / (height + width)
    return (np.stack(shades, axis=-1) * 255).astype(np.uint8)


@pytest.mark.parametrize(("name", "height", "width"), [
    ("qwen3_vl", 64, 96),
    ("llava", 56, 56),
    pytest.param("qwen2_5_vl", 56, 84, marks=pytest.mark.slow),
    pytest.param("mistral3", 56, 84, marks=pytest.mark.slow),
    pytest.param("gemma3", 56, 56, marks=pytest.mark.slow),
    pytest.param("idefics", 56, 56, marks=pytest.mark.slow),
])  # fmt: skip
def test_whole_pictures_come_back(name: str, height: int, width: int, checkpoint: Checkpoint):
    """Of a size that the processor leaves as it is: every pixel in its place."""
    (picture,) = pictures(1, 0, ((height, width),))
    view = shown(checkpoint(name), picture)
    assert view.shape == picture.shape
    assert np.abs(view.astype(int) - picture).max() <= 1


@pytest.mark.parametrize(("name", "columns", "tiles"), [
    ("internvl", 2, 5),
    pytest.param("idefics3", 2, 5, marks=pytest.mark.slow),
    pytest.param("smolvlm", 2, 5, marks=pytest.mark.slow),
])  # fmt: skip
def test_tiles_are_drawn_in_rows(name: str, columns: int, tiles: int, checkpoint: Checkpoint):
    """Quarters of a picture beside one another, and below them the whole."""
    picture = smooth(112, 112)
    view = shown(checkpoint(name), picture, tiles=4)
    step = 56 + _GAP
    assert view.shape == (3 * step - _GAP, columns * step - _GAP, 3)
    for number in range(4):
        row, column = divmod(number, 2)
        tile = view[row * step :, column * step :][:56, :56]
        part = picture[row * 56 :, column * 56 :][:56, :56]
        assert np.abs(tile.astype(int) - part).mean() < 2
    whole = view[2 * step :, :56]
    assert np.abs(whole.astype(int) - picture[::2, ::2]).mean() < 4
    assert (view[2 * step :, step:] == 255).all()  # there is no sixth
    assert (view[56:step] == 255).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava_next", "molmo2", "mllama"])
def test_whole_pictures_beside_their_only_tile(name: str, checkpoint: Checkpoint):
    picture = smooth(56, 56)
    view = shown(checkpoint(name), picture)
    assert np.abs(view[:56, :56].astype(int) - picture).mean() < 2


def test_pixels_of_an_unknown_order():
    with pytest.raises(MfvError, match="order that is not known") as raised:
        drawn({"pixel_values": torch.zeros(7, 11, 13)}, None)
    assert raised.value.code == "MFV7279"


def test_the_text_is_that_of_the_form(loaded: Any):
    model = with_form(loaded("qwen3_vl"), "chat")
    pieces = model.pieces(prompt(1))
    assert "".join(pieces) == model.form.text(prompt(1), model.processor, model.architecture.mark)
    assert pieces[0].startswith("<|im_start|>user\n<|vision_start|>")
    assert pieces[1].startswith("<|vision_start|><|image_pad|><|vision_end|>Q:table.")
    assert model.form == Form.of("chat", model.architecture.mark)


@pytest.mark.slow
def test_the_command_draws_a_tiled_picture(checkpoint: Checkpoint, tmp_path: Path):
    out = tmp_path / "prompt.png"
    model = f'hf("{checkpoint("internvl")}", tiles=4, dtype=fp32, device=cpu)'
    mfv_command("data", "show", "scenes(relations=[left, right], count=8, size=100)", "--model",
                model, "--relation", "left", "--shots", "1", "--out", str(out))  # fmt: skip
    assert Image.open(out).size[0] > 2 * (2 * 56 + _GAP)
