"""How many features a picture becomes, from a model's files; no torch.

What processors and vision towers compute from a picture's size, repeated for square pictures; a
test holds it equal to what they give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mfv_dsl.models.vlm.architectures import Architecture

#: The side of rendered pictures for a model that takes any size.
USUAL_SIZE = 448
#: What a file may leave out: the bounds on a picture's pixels of Qwen's processors, the longest
#: side of Pixtral's, and the number of latents in Idefics 2.
_QWEN_BOUNDS, _PIXTRAL_LONGEST, _LATENTS = (56 * 56, 28 * 28 * 1280), 1024, 64

Config = Mapping[str, Any]


def picture_side(config: Config) -> int:
    """The side of pictures that are rendered for the model of a config.json."""
    side = _one((config.get("vision_config") or {}).get("image_size"))
    return side or USUAL_SIZE


def features(
    config: Config, processor: Config, row: Architecture, pixels: int | None, tiles: int
) -> int:
    """How many tokens of a prompt a square picture of :func:`picture_side` takes, its marks left
    out; 0 where the files do not say.

    ``processor`` is what the processor's file says of pictures.
    """
    if row.features in ("cross_states", "perceiver"):
        return 1
    vision: Config = config.get("vision_config") or {}
    patch = _one(vision.get("patch_size")) or (16 if config["model_type"] == "qwen3_vl" else 14)
    side = picture_side(config)
    if row.sizes == "any":
        return _qwen(vision, processor, patch, pixels)
    if row.sizes == "bounded":
        longest = math.isqrt(pixels) if pixels else _edge(processor, "longest_edge")
        shown = min(side, longest or _PIXTRAL_LONGEST)
        cell = patch * int(config.get("spatial_merge_size") or (2 if "mistral3" in
                           config["model_type"] else 1))  # fmt: skip
        return math.ceil(shown / cell) ** 2
    for name in ("mm_tokens_per_image", "image_seq_length"):
        if row.tiling is None and _one(config.get(name)):
            return int(config[name])
    if row.tiling == "quarters":
        latents = (config.get("perceiver_config") or {}).get("resampler_n_latents") or _LATENTS
        return int(latents) * (5 if tiles >= 4 else 1)
    if row.tiling == "patches":
        return int(config.get("image_seq_length") or 256)  # a square of its own size is one tile
    if _one(vision.get("image_size")) is None:
        return 0
    patches = side // patch
    if row.tiling == "squares":
        shrunk = patches**2 // int(config.get("scale_factor") or 2) ** 2
        most = (_edge(processor, "longest_edge") or 4 * side) // side
        cut = min(math.isqrt(tiles), most)
        return shrunk * (cut**2 + 1 if cut > 1 else 1)
    if row.tiling == "crops":
        return 2 * math.ceil(patches / 2) ** 2  # the whole picture, and one crop of it
    if row.tiling == "pinpoints":
        if row.tiles_lone_pictures and tiles == 1:
            return patches**2 + 1
        return _anyres(config, side, patches, tiles)
    return patches**2 + _class_token(config, vision)


def pinpoints_within(
    pinpoints: Sequence[Sequence[int]] | None, side: int, tiles: int
) -> list[list[int]]:
    """Of the sizes (height, width) that pictures are brought to, those of at most ``tiles`` tiles
    of ``side``; a single tile where there is none.

    >>> pinpoints_within([[336, 672], [672, 672]], 336, 2)
    [[336, 672]]
    >>> pinpoints_within([[336, 672], [672, 672]], 336, 1)
    [[336, 336]]
    """
    small = [
        list(size) for size in pinpoints or () if (size[0] // side) * (size[1] // side) <= tiles
    ]
    return small or [[side, side]]


def _qwen(vision: Config, processor: Config, patch: int, pixels: int | None) -> int:
    cell = patch * int(vision.get("spatial_merge_size") or 2)
    least = pixels or processor.get("min_pixels") or _edge(processor, "shortest_edge")
    most = pixels or processor.get("max_pixels") or _edge(processor, "longest_edge")
    least, most = least or _QWEN_BOUNDS[0], most or _QWEN_BOUNDS[1]
    cells = round(USUAL_SIZE / cell)
    if (cells * cell) ** 2 > most:
        cells = max(1, math.floor(math.sqrt(most) / cell))
    elif (cells * cell) ** 2 < least:
        cells = math.ceil(math.sqrt(least) / cell)
    return int(cells**2)


def _anyres(config: Config, side: int, patches: int, tiles: int) -> int:
    """Of LLaVA-NeXT and LLaVA-OneVision: the whole picture, and the tiles of the size that fits it
    best, without what was padded, with a token at the end of each line."""
    grids = pinpoints_within(config.get("image_grid_pinpoints"), side, tiles)

    def fit(size: Sequence[int]) -> tuple[int, int]:
        shown = int(side * min(size[0] / side, size[1] / side))
        area = min(shown**2, side**2)
        return area, area - size[0] * size[1]

    best = max(grids, key=fit)
    height, width = (patches * (length // side) for length in best)
    if width > height:
        width -= (width - height) // 2 * 2
    else:
        height -= (height - width) // 2 * 2
    most = str(config.get("vision_aspect_ratio") or "")
    if most.startswith("anyres_max_"):
        ratio = math.sqrt(height * width / (int(most.removeprefix("anyres_max_")) * patches**2))
        if ratio > 1.1:
            height, width = int(height // ratio), int(width // ratio)
    return patches**2 + height * width + height


def _class_token(config: Config, vision: Config) -> int:
    """1 where the vision tower's class token is among the features."""
    has_one = vision.get("model_type", "clip_vision_model") == "clip_vision_model"
    return int(has_one and config.get("vision_feature_select_strategy") == "full")


def _edge(processor: Config, name: str) -> int | None:
    size = processor.get("size")
    return _one(size.get(name)) if isinstance(size, dict) else None


def _one(value: Any) -> int | None:
    """A number, or the first of several."""
    value = value[0] if isinstance(value, list | tuple) and value else value
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
