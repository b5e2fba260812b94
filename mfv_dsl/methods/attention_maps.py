"""Where in the picture a head looks, from the last token of a prompt.

A head of self-attention of a model whose pictures are tokens: its weights on these tokens, laid out
as the patches that they stand for.  A head of an OpenFlamingo's cross-attention looks at the
perceiver's latents, and these look at patches: for each patch, the sum over latents of the head's
weight on the latent times the latent's weight on the patch
(:func:`~mfv_dsl.models.patches.latent_patches`).  The weights on latents themselves are there, too.

Weights say what a head reads from, not what it makes of it; they are no effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.hooks import find_module, find_site
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.injections import part_name
from mfv_dsl.models.attention_weights import recorded_weights
from mfv_dsl.models.base import Backend, PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.patches import latent_patches, token_patches


@dataclass(frozen=True, order=True)
class AttentionHead:
    """A head at a site with heads: ``lm.attn`` or ``xattn``."""

    site: str
    layer: int
    head: int

    def __str__(self) -> str:
        return part_name(self.site, self.layer, self.head)


@dataclass(frozen=True, repr=False, eq=False)
class AttentionMap(Short):
    """Where a head looks: for each picture of the prompt its weights, (conditions, rows, columns),
    without and, where there was one, with a vector.

    ``latents`` (conditions, latents) are the weights of a head of cross-attention, which sees the
    last picture alone; None of other heads.
    """

    head: AttentionHead
    pictures: tuple[np.ndarray, ...]
    latents: np.ndarray | None = None

    @property
    def on_pictures(self) -> np.ndarray:
        """The weight on all patches together, (conditions,)."""
        total: np.ndarray = sum(
            (own.sum((1, 2)) for own in self.pictures[1:]), start=self.pictures[0].sum((1, 2))
        )
        return total


def attention_weights(
    backend: Backend, batch: PromptBatch, heads: Sequence[AttentionHead], edits: Sequence[Edit] = ()
) -> list[np.ndarray]:
    """What each head looks at from the last tokens of ``batch``, without and, with ``edits``, with
    them: each (prompts, conditions, seen) float32.

    Of self-attention the last weight is that on the token itself, the one before it that on the
    token before it, and so on, with zeros in front; of cross-attention they are on latents.

    Raises MfvError: MFV5102 to MFV5104 for a head that is not there, MFV5588 for a model whose
    weights cannot be had, MFV5370 where the model computes no numbers.
    """
    for head in heads:
        _check_head(backend, head)
    places = list(dict.fromkeys((head.site, head.layer) for head in heads))
    modules = [find_module(backend.model, backend.sites[site], layer) for site, layer in places]
    with torch.no_grad():
        prefix = encode_prefix(backend, batch)
        with recorded_weights(modules) as found:
            (chunk,) = prefix.run([list(edits)], reads=[Read("lm.resid", 0)], at_once=1)
    check_scores(backend, batch, chunk.scores.finite[:, 0], edits)
    if len(found) < len(places):
        raise MfvError(
            "MFV5588", "the attention weights of this model cannot be had: its prompts' earlier "
            "tokens see its last one, or its attention is not one that is known",
            help="take another model, or load it with attention=eager and ask transformers",
        )  # fmt: skip
    weights = []
    for head in heads:
        own = found[places.index((head.site, head.layer))][:, head.head]
        rows = [0, own.shape[1] - 1] if edits else [0]  # below the edit they are the same
        weights.append(own[:, rows].float().cpu().numpy())
    return weights


def _check_head(backend: Backend, head: AttentionHead) -> None:
    site = find_site(backend.sites, head.site, head.layer)
    if not 0 <= head.head < (site.heads or 0):
        raise MfvError(
            "MFV5104", f"{head}: there is no head {head.head}",
            help=f"the site has heads 0 to {(site.heads or 0) - 1}",
        )  # fmt: skip


def attention_maps(
    backend: Backend,
    batch: PromptBatch,
    pictures: Sequence[np.ndarray],
    heads: Sequence[AttentionHead],
    edits: Sequence[Edit] = (),
) -> list[AttentionMap]:
    """Where in the ``pictures`` of a batch of one prompt, (height, width, 3) uint8 each, the
    ``heads`` look, without and with ``edits``.

    Raises MfvError as :func:`attention_weights`, and MFV5586 and MFV5587 for pictures that are no
    patches among tokens.
    """
    weights = attention_weights(backend, batch, heads, edits)
    sites = {head.site for head in heads}
    through = _of_latents(backend, pictures[-1]) if "xattn" in sites else None
    places = token_patches(backend, batch) if sites - {"xattn"} else []
    maps = []
    for head, (own, *_) in zip(heads, weights, strict=True):
        if head.site == "xattn":
            on_patches = np.einsum("cl,lij->cij", own, through)
            maps.append(AttentionMap(head, (on_patches,), own))
            continue
        parts = []
        for patches in places:
            seen = own[:, patches.first :][:, : patches.rows * patches.columns]
            parts.append(seen.reshape(len(seen), patches.rows, patches.columns))
        if not parts:
            raise MfvError(
                "MFV5587", "there is no picture in this prompt", help="ask about a picture"
            )
        maps.append(AttentionMap(head, tuple(parts)))
    return maps


def _of_latents(backend: Backend, picture: np.ndarray) -> np.ndarray:
    """What :func:`latent_patches` gives, or that the model has no such latents (MFV5586)."""
    if not isinstance(backend, OpenFlamingo):
        raise MfvError(
            "MFV5586",
            "maps of cross-attention are drawn for an OpenFlamingo alone",
            help="take a model whose pictures are tokens, such as LLaVA or Qwen-VL",
        )
    return latent_patches(backend, picture)
