"""What a processor makes of a picture, as a picture again."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch

from mfv_dsl.base.errors import MfvError

_GAP = 4  # pixels between tiles


def drawn(inputs: Mapping[str, Any], config: Any) -> torch.Tensor:
    """The ``pixel_values`` of one picture as (3, height, width): patches in their places, tiles in
    rows with a gap of zeros between.

    Raises MfvError (MFV7279) for pixels in an order that is not known.
    """
    pixels: torch.Tensor = inputs["pixel_values"]
    if inputs.get("image_grid_thw") is not None:
        return _of_qwen(pixels, inputs["image_grid_thw"][0].tolist(), config.vision_config)
    if pixels.ndim == 3:  # crops, patches, numbers of a patch
        pixels = _of_square_patches(pixels)
    if pixels.ndim < 4 or pixels.shape[-3] != 3:
        raise MfvError(
            "MFV7279", "this model's processor gives pixels in an order that is not known",
            notes=[f"their shape is {tuple(pixels.shape)}"],
        )  # fmt: skip
    tiles = pixels.flatten(0, -4)
    columns = max(1, round(len(tiles) ** 0.5))
    rows = [
        _joined(tiles[start : start + columns], dim=-1) for start in range(0, len(tiles), columns)
    ]
    width = max(row.shape[-1] for row in rows)
    padded = [torch.nn.functional.pad(row, (0, width - row.shape[-1])) for row in rows]
    return _joined(padded, dim=-2)


def _joined(parts: Any, dim: int) -> torch.Tensor:
    """Parts (3, height, width) one after the other, with gaps between."""
    spaced = []
    for part in parts:
        shape = list(part.shape)
        shape[dim] = _GAP
        spaced += [part, part.new_zeros(shape)]
    return torch.cat(spaced[:-1], dim=dim)


def _of_qwen(pixels: torch.Tensor, grid: list[int], vision: Any) -> torch.Tensor:
    """Patches (patches, numbers), those that are merged beside one another, of Qwen's models; a
    picture is there once for each moment of a patch, and is drawn once."""
    _, height, width = grid
    merge, moments = vision.spatial_merge_size, vision.temporal_patch_size
    side = vision.patch_size
    patches = pixels.reshape(
        -1, height // merge, width // merge, merge, merge, 3, moments, side, side
    )[0, ..., 0, :, :]
    placed = patches.permute(4, 0, 2, 5, 1, 3, 6)  # colour, then what makes rows, and columns
    return placed.reshape(3, height * side, width * side)


def _of_square_patches(pixels: torch.Tensor) -> torch.Tensor:
    """Crops (crops, patches, numbers) of square patches whose colours come last, as (crops, 3,
    height, width)."""
    crops, count, numbers = pixels.shape
    across, side = isqrt(count), isqrt(numbers // 3)
    if across**2 != count or side**2 * 3 != numbers:
        return pixels
    placed = pixels.reshape(crops, across, across, side, side, 3).permute(0, 5, 1, 3, 2, 4)
    return placed.reshape(crops, 3, across * side, across * side)
