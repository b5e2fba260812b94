"""Image features as the checkpoints were trained on them, and pictures as training saw them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.images import read_rgb
from mfv_dsl.models.checkpoints.vision import Tower, load_tower
from tests.models.checkpoints.support import VISION, registered, write_clip, write_json


def tower_of(folder: Path, quick_gelu: bool | None = None) -> Tower:
    return load_tower(
        folder / "open_clip_config.json", folder / "open_clip_model.safetensors",
        torch.float32, quick_gelu,
    )  # fmt: skip


def naive(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The tower as today's open_clip makes it for open_flamingo's factory."""
    import open_clip

    with registered(copy.deepcopy(config), folder) as name:
        model = open_clip.create_model(name, pretrained=str(folder / "open_clip_model.safetensors"))
    model.visual.output_tokens = True
    return model.visual.eval()


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """How far ``a`` is from ``b``, in units of ``b``'s own spread."""
    return float((a - b).pow(2).mean().sqrt() / b.std())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder)
    return folder


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_tokens_are_those_before_the_last_norm(clip: Path, pixels: torch.Tensor):
    """What open_clip 2.16 to 2.20 gave: the transformer's output without the class token."""
    tower = tower_of(clip).module.eval()
    before = tower.transformer(tower._embeds(pixels))
    pooled, tokens = tower(pixels)
    assert torch.equal(tokens, before[:, 1:])
    assert torch.equal(pooled, tower.ln_post(before[:, 0]) @ tower.proj)
    today = naive(clip, VISION)(pixels)[1]
    assert torch.equal(today, tower.ln_post(before)[:, 1:])
    assert apart(today, tokens) > 0.3


@torch.no_grad()
def test_quick_gelu_is_what_the_configuration_says(clip: Path, tmp_path: Path, pixels):
    usual = {**VISION, "quick_gelu": False}
    (tmp_path / "open_clip_model.safetensors").symlink_to(clip / "open_clip_model.safetensors")
    write_json(tmp_path / "open_clip_config.json", {"model_cfg": usual})
    quick, plain = tower_of(clip).module.eval(), tower_of(tmp_path).module.eval()
    for tower, config in ((quick, VISION), (plain, usual)):
        theirs = naive(clip, config)
        theirs.final_ln_after_pool = True
        assert torch.equal(tower(pixels)[1], theirs(pixels)[1])
    assert apart(plain(pixels)[1], quick(pixels)[1]) > 0.001


def test_a_known_need_for_quick_gelu_is_not_overlooked(clip: Path, tmp_path: Path):
    config = json.loads((clip / "open_clip_config.json").read_text())
    del config["model_cfg"]["quick_gelu"]
    write_json(tmp_path / "open_clip_config.json", config)
    with pytest.raises(MfvError, match="the features would be wrong") as found:
        load_tower(tmp_path / "open_clip_config.json", clip / "open_clip_model.safetensors",
                   torch.float32, quick_gelu=True)  # fmt: skip
    assert found.value.code == "MFV7218"
    assert found.value.help == 'say "quick_gelu": true in its model_cfg'
    assert tower_of(clip, quick_gelu=True).width == 32


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"layers": [1, 1, 1, 1]}, "no vision transformer"),
        ({"pool_type": "avg"}, "no vision transformer"),
        ({"attentional_pool": True}, "no vision transformer"),
        ({"image_size": [28, 42]}, "square pictures"),
        ({"depth": 3}, "open_clip cannot build it"),
    ],
)
def test_towers_without_patch_tokens_are_refused(clip: Path, tmp_path: Path, changes, why: str):
    config = copy.deepcopy(VISION)
    config["vision_cfg"] |= changes
    write_json(tmp_path / "open_clip_config.json", {"model_cfg": config})
    with pytest.raises(MfvError, match=why) as found:
        load_tower(tmp_path / "open_clip_config.json", clip / "open_clip_model.safetensors",
                   torch.float32)  # fmt: skip
    assert found.value.code == "MFV7218"


# -- pictures -------------------------------------------------------------------------------------
def _picture(mode: str, size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(size[0])
    shape = size[::-1]
    if mode == "RGBA":
        return Image.fromarray(rng.integers(0, 256, (*shape, 4), np.uint8))
    rgb = Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8))
    return rgb.quantize(64) if mode == "P" else rgb.convert(mode)


FILES = [
    ("RGB", "png", (28, 28)), ("RGB", "png", (31, 57)), ("RGB", "jpg", (301, 29)),
    ("RGB", "jpg", (97, 83)), ("L", "png", (45, 33)), ("L", "jpg", (45, 33)),
    ("1", "png", (45, 33)), ("P", "png", (61, 40)), ("RGBA", "png", (50, 37)),
    ("LA", "png", (50, 37)), ("CMYK", "jpg", (39, 52)),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "kind", "size"), FILES, ids=lambda part: str(part))
def test_pictures_reach_the_model_as_in_training(
    clip: Path, tmp_path: Path, mode: str, kind: str, size: tuple[int, int]
):
    """Bit for bit open_clip's transform of the opened file, converted to RGB as training did."""
    import open_clip

    with registered(copy.deepcopy(VISION), tmp_path) as name:
        _, _, transform = open_clip.create_model_and_transforms(name)
    path = tmp_path / f"picture.{kind}"
    picture = _picture(mode, size)
    picture.save(path, **({"exif": _turned()} if mode == "RGB" else {}))
    opened = Image.open(path)
    assert (opened.mode, opened.size) == (mode, size)
    found = tower_of(clip).preprocess([read_rgb(path)])[0]
    assert torch.equal(found, transform(opened.convert("RGB")))
    # some modes the transform alone would resize before it converts them, with another outcome
    assert torch.equal(found, transform(opened)) == (mode in ("RGB", "L", "LA", "CMYK"))


def _turned() -> Image.Exif:
    """EXIF that says the picture lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
