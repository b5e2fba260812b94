"""Into how many tiles a processor cuts a picture: the same in every prompt, as few as is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mfv_dsl.models.vlm.architectures import Architecture
from mfv_dsl.models.vlm.grids import pinpoints_within


def set_sizes(
    model: Any, processor: Any, architecture: Architecture, pixels: int | None, tiles: int
) -> None:
    """Let ``processor`` bring pictures to ``pixels`` pixels, where that is given, and cut them into
    ``tiles`` tiles at most, beside the whole picture that some models see too; 1 for pictures that
    are not cut."""
    images = processor.image_processor
    if pixels is not None and architecture.sizes == "any":
        images.size = {"shortest_edge": pixels, "longest_edge": pixels}
    elif pixels is not None:
        images.size = {"longest_edge": math.isqrt(pixels)}
    if architecture.tiling == "pinpoints":
        side = model.config.vision_config.image_size
        grids = pinpoints_within(model.config.image_grid_pinpoints, side, tiles)
        images.image_grid_pinpoints = model.config.image_grid_pinpoints = grids
        if architecture.tiles_lone_pictures:
            _treat_alike(images, cut=tiles > 1)
    elif architecture.tiling == "quarters":
        images.do_image_splitting = tiles >= 4
    elif architecture.tiling == "squares":
        side, tile = math.isqrt(tiles), images.max_image_size["longest_edge"]
        images.do_image_splitting = side > 1
        if side > 1:
            longest = min(images.size["longest_edge"], side * tile)
            images.size = {"longest_edge": longest}
    elif architecture.tiling == "patches":
        images.max_patches = tiles
        images.min_patches = min(images.min_patches, tiles)
    elif architecture.tiling == "crops":
        images.max_crops = tiles


def _treat_alike(image_processor: Any, cut: bool) -> None:
    """Let a processor that cuts a prompt's only picture into tiles, and leaves several whole, do
    one of these with every picture."""
    preprocess = image_processor._preprocess

    def alike(images: Any, batch_num_images: Sequence[int], *rest: Any, **options: Any) -> Any:
        if cut:
            numbers = [1] * sum(batch_num_images)
        else:
            numbers = [max(2, number) for number in batch_num_images]
        return preprocess(images, numbers, *rest, **options)

    image_processor._preprocess = alike
