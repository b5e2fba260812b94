"""A Flamingo's cross-attention: of copies of a last token, which all see one picture, and of whole
texts, of which every token sees the last picture before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch

from mfv_dsl.models.attention_weights import note_weights

#: Texts are cut into segments where those, padded, have at most so many times their tokens.
_PADDING = 4


class Media(NamedTuple):
    """One layer's cross-attention keys and values of the last image of each prompt,
    (prompts, heads, latents, head_dim).  The keys are scaled; the values are zero where there is no
    image."""

    keys: torch.Tensor
    values: torch.Tensor

    @classmethod
    def of(cls, attention: Any, media: torch.Tensor, images: torch.Tensor) -> Media:
        """``media`` (prompts, images, latents, d_visual), ``images`` (prompts,) how many."""
        assert attention.only_attend_immediate_media
        device = attention.to_kv.weight.device
        last = media[torch.arange(len(media), device=media.device), (images - 1).clamp_min(0)]
        keys, values = (
            part.unflatten(-1, (attention.heads, -1)).transpose(1, 2).contiguous()
            for part in attention.to_kv(last.to(device)).chunk(2, dim=-1)
        )
        absent = (images == 0)[:, None, None, None].to(device)
        return cls(keys * attention.scale, values.masked_fill(absent, 0.0))

    @classmethod
    def joined(cls, parts: Sequence[Media]) -> Media:
        """Those of several batches as one, the prompts of all in turn."""
        return cls(*map(torch.cat, zip(*parts, strict=True)))


def see_media(gate: Any, hidden: torch.Tensor, media: Media) -> torch.Tensor:
    """``GatedCrossAttentionBlock.forward`` of copies (prompts, copies, d_model) that all see the
    last image, whose keys and values are there already."""
    attention = gate.attn
    query = attention.to_q(attention.norm(hidden)).unflatten(-1, (attention.heads, -1))
    weights = (query.transpose(1, 2) @ media.keys.transpose(-1, -2)).softmax(-1)
    note_weights(weights)
    read = (weights @ media.values).transpose(1, 2).flatten(2)
    hidden = torch.addcmul(hidden, attention.to_out(read), gate.attn_gate.tanh())
    return torch.addcmul(hidden, gate.ff(hidden), gate.ff_gate.tanh())


class Segments(NamedTuple):
    """Texts cut at their images: one segment for every image, from it to the next, padded.

    ``tokens`` (prompts, segments · longest) are the places of tokens in the text, with any where
    there is none; ``places`` (prompts, length) the place of every token among those; ``imageless``
    (prompts, length, 1) marks tokens before the first image.
    """

    count: int
    tokens: torch.Tensor
    places: torch.Tensor
    imageless: torch.Tensor

    @classmethod
    def of(cls, images: torch.Tensor) -> Segments | None:
        """``images`` (prompts, length) marks the tokens that stand for one.  None where there are
        no images, or where the segments' lengths are so different that nothing would be gained."""
        prompts, length = images.shape
        segment = images.cumsum(-1)  # 0: before the first image
        sizes = segment.new_zeros(prompts, length + 1)
        sizes.scatter_add_(1, segment, torch.ones_like(segment))
        count, longest = torch.stack([segment.max(), sizes[:, 1:].max()]).tolist()
        if not count or count * longest > _PADDING * length:
            return None
        place = torch.arange(length, device=images.device)
        within = place - (sizes.cumsum(-1) - sizes).gather(1, segment)
        places = (segment - 1) * longest + within
        imageless = segment == 0
        places.masked_fill_(imageless, count * longest)  # one more, for all that see none
        tokens = segment.new_zeros(prompts, count * longest + 1)
        tokens.scatter_(1, places, place.expand(prompts, -1))
        return cls(count, tokens[:, :-1], places.masked_fill(imageless, 0), imageless[..., None])


@contextmanager
def own_images(attentions: Sequence[Any], images: torch.Tensor) -> Iterator[None]:
    """Within the block the cross-attentions of a whole text, in which ``images`` (prompts, length)
    marks images, compute every token's scores with its own image's latents alone: those that
    open_flamingo's ``forward`` does not mask, so that time grows with the text and not with the
    text times the images."""
    segments = Segments.of(images)
    for attention in attentions if segments is not None else ():
        attention.forward = partial(_attend_own_image, attention, segments)
    try:
        yield
    finally:
        for attention in attentions:
            vars(attention).pop("forward", None)


def _attend_own_image(
    attention: Any, segments: Segments, x: torch.Tensor, media: torch.Tensor,
    media_locations: torch.Tensor | None = None, use_cached_media: bool = False,
) -> torch.Tensor:  # fmt: skip
    """``MaskedCrossAttention.forward``."""
    if use_cached_media or x.shape[1] != segments.places.shape[1]:  # a token behind the text
        whole: torch.Tensor = type(attention).forward(
            attention, x, media, media_locations, use_cached_media
        )
        return whole
    count, tokens, places, imageless = (
        part.to(x.device) if isinstance(part, torch.Tensor) else part for part in segments
    )
    rows, heads = torch.arange(len(x), device=x.device)[:, None], attention.heads
    query = (attention.to_q(attention.norm(x)) * attention.scale)[rows, tokens]
    queries, keys, values = (
        part.reshape(len(x) * count, -1, heads, part.shape[-1] // heads).transpose(1, 2)
        for part in (query, *attention.to_kv(media[:, :count]).chunk(2, dim=-1))
    )
    read = (queries @ keys.transpose(-1, -2)).softmax(-1) @ values
    by_token = read.transpose(1, 2).reshape(len(x), -1, query.shape[-1])[rows, places]
    output: torch.Tensor = attention.to_out(by_token.masked_fill(imageless, 0.0))
    return output
