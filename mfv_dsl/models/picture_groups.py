"""Pictures encoded in groups of one size, so that what comes of one does not depend on others.

A matrix product may add up in another order when its matrices have another shape: a picture's
features differ in their last bits with the number of those encoded beside it.  Groups that are all
of one size, filled up by repeating a picture, take that away, as long as what comes of a picture
depends neither on its place in the group nor on its neighbours there.  This is checked, to the bit,
with the first group; where it does not hold, pictures are encoded one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mfv_dsl.base.memory import AtOnce
from mfv_dsl.base.transfer import brought

#: Pictures in a group, by the kind of device; on a processor more bring no speed.
GROUP = {"cpu": 16, "cuda": 32}


def group_size(device: torch.device) -> int:
    """How many pictures are encoded together on ``device``."""
    return GROUP.get(device.type, GROUP["cpu"])


class PictureGroups:
    """Encodes pictures in groups of :func:`group_size`.

    Args:
        encode: Features (pictures, ...) of pixels (pictures, 3, height, width).
    """

    def __init__(self, encode: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._encode = encode
        self._at_once: dict[tuple[object, ...], AtOnce] = {}

    def __call__(self, pixels: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
        """Features of each of ``pixels`` (3, height, width), at most a group, in the processor's
        memory; a whole group is encoded.  Where memory runs out, fewer at a time from then on, with
        a MemoryWarning."""
        size = group_size(device)
        way = device, pixels[0].shape, size, torch.get_num_threads()
        if way not in self._at_once:
            self._at_once[way] = AtOnce(device, "pictures")
            if not self._is_alike(pixels[0], size, self._at_once[way]):
                self._at_once[way].size = 1
        at_once = self._at_once[way]
        more = 0 if at_once.size == 1 else size - len(pixels)
        features = self._run(torch.stack([*pixels, *[pixels[-1]] * more]), at_once)
        return [row.clone() for row in features[: len(pixels)]]

    def _run(self, group: torch.Tensor, at_once: AtOnce) -> torch.Tensor:
        def run(part: torch.Tensor) -> torch.Tensor:
            return brought(self._encode(part))[0]

        return torch.cat([part for _, part in at_once.of(group, run)])

    def _is_alike(self, picture: torch.Tensor, size: int, at_once: AtOnce) -> bool:
        """Whether to the bit the same comes of pictures in other places and beside others."""
        group = torch.stack([picture.roll(place, -1) * (1 - place / size) for place in range(size)])
        places = torch.arange(size)
        usual = self._run(group, at_once)
        return all(
            torch.equal(_bits(self._run(group[order], at_once)), _bits(usual[order]))
            for order in (places.flip(0), places // 2)
        )


def _bits(features: torch.Tensor) -> torch.Tensor:
    return features.contiguous().view(torch.uint8)
