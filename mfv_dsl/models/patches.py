"""Where in a picture the places are that attention looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.base import Backend, PromptBatch
from mfv_dsl.models.openflamingo import FlamingoPictures, OpenFlamingo


@dataclass(frozen=True)
class Patches:
    """A picture's patches among a prompt's tokens: ``rows`` by ``columns`` of them, the first at
    ``first`` counted from the end of the prompt (negative), line by line."""

    first: int
    rows: int
    columns: int


def _elsewhere(backend: Backend) -> str:
    """What to do where self-attention sees no patches."""
    crossed = backend.sites.get("xattn")
    if crossed is None:
        return "take a model whose pictures are tokens, such as LLaVA or Qwen-VL"
    return f"take a head of its cross-attention, such as X{min(crossed.layers)}H0"


def token_patches(backend: Backend, batch: PromptBatch) -> list[Patches]:
    """The patches of each picture of a batch of one prompt, whose tokens stand for them.

    Raises MfvError: MFV5586 for a model whose pictures are no tokens, MFV5587 for pictures that are
    cut into tiles, or whose tokens are no rows and columns of patches.
    """
    media: Any = batch.media
    if not hasattr(media, "pictures") or getattr(backend, "architecture", None) is None:
        raise MfvError(
            "MFV5586",
            "pictures are no tokens of this model's prompts, so its self-attention sees no patches",
            help=_elsewhere(backend),
        )
    architecture: Any = backend.architecture  # type: ignore[attr-defined]
    if architecture.looks_back_at_pictures:
        raise MfvError(
            "MFV5586", "pictures are no tokens of this model's prompts: its text looks at them by "
            "cross-attention, whose maps are drawn for an OpenFlamingo alone",
            help="take a model whose pictures are tokens, such as LLaVA or Qwen-VL",
        )  # fmt: skip
    is_picture = torch.isin(batch.tokens[0].cpu(), torch.tensor(sorted(backend.image_tokens)))
    places = is_picture.nonzero()[:, 0].tolist()
    found, length = [], batch.tokens.shape[1]
    for encoded, picture in zip(media.rows[0], media.pictures[0], strict=True):
        count = len(encoded.rows)
        own, places = places[:count], places[count:]
        size = _grid(architecture, encoded, picture().shape[:2])
        if size is None or len(own) < count or size[0] * size[1] != count:
            raise MfvError(
                "MFV5587", f"the {count} features of a picture are no rows and columns of patches",
                help="ask about a square picture; for a model that cuts pictures into tiles, say "
                "`tiles=1` where it is loaded",
            )  # fmt: skip
        if own[-1] - own[0] != count - 1:  # marks between the rows: Pixtral's
            raise MfvError(
                "MFV5587", "a picture's patches do not stand side by side in this model's prompts",
                help="take a model whose pictures are one run of tokens, such as LLaVA or Qwen-VL",
            )  # fmt: skip
        found.append(Patches(own[0] - length, *size))
    return found


def _grid(architecture: Any, encoded: Any, shape: Sequence[int]) -> tuple[int, int] | None:
    """Rows and columns of a picture's features; None where they are not known."""
    count = len(encoded.rows)
    if encoded.place.grid is not None:
        _, height, width = encoded.place.grid[0].tolist()
        merge = isqrt(height * width // count) if count else 0
        return None if not merge else (height // merge, width // merge)
    if architecture.tiling is not None or shape[0] != shape[1]:
        return None
    side = isqrt(count)
    return (side, side) if side**2 == count else None


def latent_patches(flamingo: OpenFlamingo, picture: np.ndarray) -> np.ndarray:
    """How much each of a Flamingo's latents looks at each patch of a ``picture``
    (height, width, 3) uint8: (latents, rows, columns) float32.

    It is the attention of the perceiver's last layer, its mean over heads.  The latents look at one
    another, too, so that the sum over patches is below 1; and at the patches in earlier layers,
    which is not in it.  Raises MfvError (MFV5587) for patches that are no square.
    """
    attention: Any = flamingo.model.perceiver.layers[-1][0]
    with _inputs_of(attention) as inputs, torch.no_grad():
        FlamingoPictures(flamingo).latents(flamingo.preprocess([picture]))
        patches, latents = inputs[0]
        normed, own = attention.norm_media(patches), attention.norm_latents(latents)
        query = attention.to_q(own).unflatten(-1, (attention.heads, -1))
        keys = attention.to_kv(torch.cat([normed, own], dim=-2)).chunk(2, dim=-1)[0]
        keys = keys.unflatten(-1, (attention.heads, -1))
        scores = torch.einsum("btihd,btjhd->bthij", query * attention.scale, keys)
        weights = scores.softmax(-1)[0, 0].mean(0)[:, : patches.shape[-2]]
    side = isqrt(patches.shape[-2])
    if side**2 != patches.shape[-2]:
        raise MfvError(
            "MFV5587", f"the {patches.shape[-2]} patches of a picture are no rows and columns",
            help="take a model that cuts square pictures into square patches",
        )  # fmt: skip
    grid: np.ndarray = weights.float().cpu().unflatten(-1, (side, side)).numpy()
    return grid


@contextmanager
def _inputs_of(module: Any) -> Iterator[list[tuple[torch.Tensor, ...]]]:
    """What a module is called with while the block runs."""
    found: list[tuple[torch.Tensor, ...]] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: found.append(inputs))
    try:
        yield found
    finally:
        handle.remove()
