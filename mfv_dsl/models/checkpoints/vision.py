"""The image tower of a CLIP in open_clip's files, giving the features OpenFlamingo was trained on.

Two things changed under the checkpoints since.  They were trained on patch tokens *before* the
tower's last layer norm (open_clip 2.16 to 2.20); since open_clip 2.24 ``output_tokens`` gives those
after it, unless ``final_ln_after_pool`` is set.  And OpenAI's weights were made with QuickGELU;
the configuration says so, and a tower built without it gives other features without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.checkpoints.facts import read_config
from mfv_dsl.models.checkpoints.weights import fill, read_weights
from mfv_dsl.models.flamingo_classes import clip_builders, flamingo_classes


@dataclass(frozen=True)
class Tower:
    """An image tower: pixels (images, 3, size, size) to (pooled, patch tokens (images, patches,
    ``width``)), and ``preprocess``, pictures (height, width, 3) uint8 to such pixels, float32."""

    module: nn.Module
    preprocess: Callable[[Sequence[np.ndarray]], torch.Tensor]
    image_size: int
    width: int


def load_tower(
    config_file: Path, weights_file: Path, dtype: torch.dtype, quick_gelu: bool | None = None
) -> Tower:
    """The image tower of an open_clip model on the CPU, in ``dtype``.

    ``quick_gelu`` is what these weights are known to need, where it is known.  Raises MFV7218 for
    a configuration that open_flamingo could not use, or that is known to be wrong.
    """
    config = read_config(config_file)
    module = _build(config_file, config, quick_gelu).to(dtype).to_empty(device="cpu")
    state = {
        name.removeprefix("visual."): tensor
        for name, tensor in read_weights(weights_file).items()
        if name.startswith("visual.")
    }
    fill(module.state_dict(), state, weights_file)
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    return Tower(
        module, _preprocess(config, size), size, config["model_cfg"]["vision_cfg"]["width"]
    )


def _build(config_file: Path, config: dict[str, Any], quick_gelu: bool | None) -> nn.Module:
    """The tower without weights, by open_clip's own code."""
    model = config.get("model_cfg")
    vision = model.get("vision_cfg") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(vision, dict):
        raise _refused(config_file, "it has no model_cfg with a vision_cfg")
    if quick_gelu is not None and bool(model.get("quick_gelu")) != quick_gelu:
        raise _refused(
            config_file,
            f"it says quick_gelu = {bool(model.get('quick_gelu'))}, and these weights were made "
            f"with {quick_gelu}: the features would be wrong",
            help=f'say "quick_gelu": {str(quick_gelu).lower()} in its model_cfg',
        )
    try:
        with torch.device("meta"):
            tower: nn.Module = clip_builders().build_vision_tower(
                model["embed_dim"],
                {**vision, "output_tokens": True, "final_ln_after_pool": True},
                bool(model.get("quick_gelu")),
            )
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise _refused(config_file, f"open_clip cannot build it: {error!r}") from None
    usable = isinstance(tower, flamingo_classes().VisionTransformer) and tower.attn_pool is None
    if not usable or tower.pool_type != "tok" or not isinstance(vision.get("image_size"), int):
        raise _refused(
            config_file, "it is no vision transformer with a class token and square pictures"
        )
    return tower


def _preprocess(
    config: dict[str, Any], size: int
) -> Callable[[Sequence[np.ndarray]], torch.Tensor]:
    """open_clip's own transform for evaluation."""
    clip = clip_builders()
    settings = {**config.get("preprocess_cfg", {}), "size": size}
    merged = clip.merge_preprocess_dict(clip.PreprocessCfg(), settings)
    transform = clip.image_transform(clip.PreprocessCfg(**merged), is_train=False)

    def preprocess(pictures: Sequence[np.ndarray]) -> torch.Tensor:
        return torch.stack([transform(Image.fromarray(picture)) for picture in pictures])

    return preprocess


def _refused(config_file: Path, why: str, help: str | None = None) -> MfvError:
    return MfvError("MFV7218", f"{config_file} cannot be used: {why}", help=help)
