"""What a processor writes into a prompt for each picture, without the picture's pixels.

A processor looks at a picture's pixels, and then at the text that it stands in.  What comes of the
pixels is noted when a picture is encoded; the text is then read by the processor's own code, with
these notes in place of pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

#: What a processor gives for each token of a text, rather than for a picture.
PER_TOKEN = ("token_type_ids", "mm_token_type_ids", "cross_attention_mask", "image_attention_mask")
_OF_TEXTS = ("input_ids", "attention_mask")


@dataclass(frozen=True)
class Placeholder:
    """What a processor makes of one picture alone, but for its pixels: the ``text`` in place of its
    mark, the ``grid`` of its patches (1, 3), and the number of its ``tiles``; None where the
    processor has none."""

    text: str | None = None
    grid: torch.Tensor | None = None
    tiles: int | None = None


NOTHING_NOTED = Placeholder()


def with_placeholder(
    processor: Any, mark: str, image: Image.Image
) -> tuple[Mapping[str, Any], Placeholder]:
    """What ``processor`` makes of a picture alone, and what it writes for it."""
    noting, notes = copy.copy(processor), []

    def note(images: Any, **options: Any) -> Any:
        inputs, texts = processor._process_images(images, **options)
        notes.append((texts[0] if len(texts) == 1 else None, inputs.get("num_tiles")))
        return inputs, texts

    if hasattr(processor, "_process_images"):
        noting._process_images = note
    inputs = noting(text=mark, images=[image], return_tensors="pt")
    text, tiles = notes[0] if len(notes) == 1 else (None, None)
    count = None if tiles is None else int(tiles[0][0])
    return inputs, Placeholder(text, inputs.get("image_grid_thw"), count)


def read_texts(
    processor: Any,
    texts: Sequence[str],
    pictures: Sequence[Sequence[Placeholder]],
    **options: Any,
) -> Mapping[str, Any]:
    """What ``processor`` makes of texts with marks where ``pictures`` stand: all but the pixels.

    Raises whatever the processor raises, which is an error also where it asks for more than was
    noted.
    """
    flat = [picture for row in pictures for picture in row]
    written = [picture.text for picture in flat]

    def from_notes(images: Any, **_: Any) -> tuple[dict[str, Any], list[str]]:
        if None in written:
            raise KeyError("text")
        shapes = {
            "num_tiles": [[picture.tiles for picture in row] for row in pictures],
            "num_patches": [0] * len(flat),  # how many of these pixels, which are none
            "pixel_values": torch.empty(0),
        }
        return shapes, [text for text in written if text is not None]

    reading = copy.copy(processor)
    reading._process_images = from_notes
    reading.image_processor = _WithoutPixels(processor.image_processor)
    dot = Image.new("RGB", (1, 1))
    images = [[dot] * len(row) for row in pictures] if flat else None
    inputs = reading(text=list(texts), images=images, **options)
    grids = [picture.grid for picture in flat if picture.grid is not None]
    read = {name: inputs[name] for name in (*_OF_TEXTS, *PER_TOKEN) if name in inputs}
    return read | ({"image_grid_thw": torch.cat(grids)} if grids else {})


class _WithoutPixels:
    """An image processor for whoever wants its settings: of pictures it makes nothing."""

    def __init__(self, image_processor: Any) -> None:
        self._settings = image_processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._settings, name)

    def __call__(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def fetch_images(self, images: Any) -> Any:
        return images
