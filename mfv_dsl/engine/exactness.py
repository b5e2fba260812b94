"""Whether parallel copies of a last token, and tokens behind them, give what the model's own passes
give, seen before it is relied on.

A model whose passes are recorded and replayed is checked once, on the first prompts that it gets:
the unedited token and a few heads, each with two more tokens behind it, both ways.  What an unknown
architecture, or a new version of a library, does otherwise is so an error, never another number.
"""

from __future__ import annotations

import math
from typing import cast

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.finite import not_finite
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.engine.scoring import score
from mfv_dsl.engine.tree import Tree
from mfv_dsl.engine.variants import VariantHooks
from mfv_dsl.models.base import Backend, PromptBatch, TextBackend
from mfv_dsl.models.branches import Kept

#: The largest difference of log-probabilities that is rounding, by precision.
TOLERANCE = {
    torch.float64: 1e-9, torch.float32: 2e-3, torch.bfloat16: 0.25, torch.float16: 0.1
}  # fmt: skip
_PROMPTS = 2
_FURTHER = 2  # tokens


@torch.no_grad()
def largest_difference(backend: Backend, batch: PromptBatch) -> float:
    """The largest difference of log-probabilities between copies and the model's own passes, over
    the unedited token and three heads; on the first prompts of ``batch``.  Of every prompt the
    token that is the likeliest behind it is looked at, behind it and behind each of two tokens
    more."""
    batch = batch[:_PROMPTS]
    tokens = _log_p(backend.forward(batch)).argmax(-1, keepdim=True)
    variants = [[], *_edits(backend, batch)]
    further = batch.tokens[:, -1] if _is_room(backend, batch) else None
    copies = _by_copies(backend, batch, variants, tokens, further)
    passes = []
    for edits in variants:
        with backend.decoding(batch) as decoder:
            with Hooks(backend.model, backend.sites, edits):
                behind = [decoder.prompt()]
            if further is not None:
                behind += [decoder.step(further) for _ in range(_FURTHER)]
        passes.append(torch.stack([_log_p(logits).gather(1, tokens)[:, 0] for logits in behind]))
    return float((torch.stack(passes, dim=2) - copies.to(passes[0])).abs().max())


def _by_copies(
    backend: Backend, batch: PromptBatch, variants: list[list[Edit]], tokens: torch.Tensor,
    further: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """Log-probabilities of ``tokens`` (prompts, 1) behind the copies, and where there are
    ``further`` (prompts,) tokens behind each copy with one and with two of them;
    (1 or 3, prompts, variants)."""
    rows = torch.arange(len(variants), device=backend.device).expand(len(batch), -1)
    with backend.continuation(backend.prefix(batch)) as continuation:
        kept: Kept = {}
        continuation.branches.kept = kept
        hidden = continuation.start.expand(-1, len(variants), -1)
        with VariantHooks(backend.model, backend.sites, variants):
            for stage in continuation.stages:
                hidden = stage(hidden)
        scores = score(hidden, continuation.logits, continuation.vocabulary, tokens[:, 0])
        tree = Tree(continuation, kept, tuple(range(len(variants))), range(len(variants)), scores)
        behind = [scores.log_p]
        if further is not None:
            said = further[:, None].expand(rows.shape)
            targets = tokens[:, None].expand(-1, len(variants), -1)
            for level in range(1, _FURTHER + 1):
                _, scores = tree.step(level, said, rows, targets)
                behind.append(scores.log_p[..., 0])
    return torch.stack(behind)


def _is_room(backend: Backend, batch: PromptBatch) -> bool:
    """Whether the model takes further tokens behind these prompts."""
    try:
        cast(TextBackend, backend).check_length(batch.tokens.shape[1] + _FURTHER, "the prompts")
    except MfvError:
        return False
    return True


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
