"""Whether parallel copies of a last token give what full passes give, seen before it is relied on.

A model whose passes are recorded and replayed is checked once, on the first prompts that it gets:
the unedited token and a few heads, both ways.  What an unknown architecture, or a new version of a
library, does otherwise is so an error, never another number.
"""

from __future__ import annotations

import math

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.finite import not_finite
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.engine.scoring import score
from mfv_dsl.engine.variants import VariantHooks
from mfv_dsl.models.base import Backend, PromptBatch

#: The largest difference of log-probabilities that is rounding, by precision.
TOLERANCE = {
    torch.float64: 1e-9, torch.float32: 2e-3, torch.bfloat16: 0.25, torch.float16: 0.1
}  # fmt: skip
_PROMPTS = 2


@torch.no_grad()
def largest_difference(backend: Backend, batch: PromptBatch) -> float:
    """The largest difference of a prompt's likeliest token's log-probability between copies and
    full passes, over the unedited token and three heads; on the first prompts of ``batch``."""
    batch = batch[:_PROMPTS]
    unedited = _log_p(backend.forward(batch))
    tokens = unedited.argmax(-1, keepdim=True)
    variants = [[], *_edits(backend, batch)]
    state = backend.prefix(batch)
    with backend.continuation(state) as continuation:
        hidden = continuation.start.expand(-1, len(variants), -1)
        with VariantHooks(backend.model, backend.sites, variants):
            for stage in continuation.stages:
                hidden = stage(hidden)
        copies = score(
            hidden, continuation.logits, continuation.vocabulary, tokens[:, 0], keep_logits=False
        ).log_p
    passes = []
    for edits in variants:
        with Hooks(backend.model, backend.sites, edits):
            passes.append(_log_p(backend.forward(batch)).gather(1, tokens)[:, 0])
    return float((torch.stack(passes, dim=1) - copies.to(passes[0])).abs().max())


def check_exact(backend: Backend, batch: PromptBatch) -> None:
    """Raise MfvError if copies and full passes of ``backend`` differ by more than rounding
    (MFV7274), or give no numbers (MFV5370)."""
    difference = largest_difference(backend, batch)
    if math.isnan(difference):
        raise not_finite("MFV5370", "the model's scores are", backend, batch[:_PROMPTS])
    allowed = TOLERANCE.get(batch.dtype, TOLERANCE[torch.float32])
    if not difference <= allowed:
        raise MfvError(
            "MFV7274",
            f"the shared prefix is not exact for this model: log-probabilities differ by "
            f"{difference:.2g} from full passes, and rounding in {_name(batch.dtype)} explains "
            f"{allowed:g}",
            help="please report the model and the version of transformers",
        )


def _edits(backend: Backend, batch: PromptBatch) -> list[list[Edit]]:
    """Random outputs, of the size that heads have, in place of the first, middle and last head."""
    site = backend.sites["lm.attn"]
    generator = torch.Generator().manual_seed(0)
    layers = {site.layers[0], site.layers[len(site.layers) // 2], site.layers[-1]}
    return [
        [Edit("lm.attn", layer, "replace", torch.randn(1, site.width, generator=generator),
              heads=(layer % (site.heads or 1),))]
        for layer in sorted(layers)
    ]  # fmt: skip


def _log_p(logits: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
