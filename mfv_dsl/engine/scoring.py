"""What next-token logits say of target tokens, without keeping the whole vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch

from mfv_dsl.base.memory import slice_bytes
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.finite import holds_numbers


@dataclass(frozen=True, repr=False)
class Scores(Short):
    """Scores of next-token distributions, one per prompt and variant.

    ``log_p`` and ``rank`` (prompts, variants), or (prompts, variants, targets) where every prompt
    has several: log-probability of the target token in nats, and how many tokens come before it
    (0: it is the likeliest; of equals the first token of the vocabulary wins); ``rank`` is
    (prompts, variants, 0) where it was not asked for.  ``likeliest``
    (prompts, variants) is the likeliest token.  ``top`` and ``top_log_p``
    (prompts, variants, k) are the k likeliest tokens, the likeliest first.  ``finite``
    (prompts, variants): whether all logits are numbers, and so is the state that they come from;
    where it is not, ``log_p`` is NaN and nothing else means anything.  ``logits``
    (prompts, variants, vocabulary) is there where it was asked for.

    Probabilities are float32, float64 for a float64 model, and carry gradients.
    """

    log_p: torch.Tensor
    rank: torch.Tensor
    likeliest: torch.Tensor
    top: torch.Tensor
    top_log_p: torch.Tensor
    finite: torch.Tensor
    logits: torch.Tensor | None = None

    @property
    def p(self) -> torch.Tensor:
        """Probability of the target token, shaped as ``log_p``."""
        return self.log_p.exp()

    def variants(self, places: torch.Tensor) -> Scores:
        """The scores of ``chosen`` variants, in this order."""
        return self.map_tensors(lambda part: part.index_select(1, places))

    def detach(self) -> Scores:
        """The same without gradients."""
        return self.map_tensors(torch.Tensor.detach)

    def map_tensors(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Scores:
        """The same with ``change`` made to every tensor."""
        return replace(self, **{name: change(part) for name, part in self.tensors().items()})

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is there, by name."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in parts.items() if part is not None}


def concatenate_scores(parts: Sequence[Scores], dim: int = 1) -> Scores:
    """``parts`` as one, along the variants or, with ``dim=0``, along the prompts."""
    tensors = [part.tensors() for part in parts]
    return Scores(**{name: torch.cat([part[name] for part in tensors], dim) for name in tensors[0]})


def score(
    hidden: torch.Tensor,
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    vocabulary: int,
    targets: torch.Tensor,
    top: int = 0,
    keep_logits: bool = False,
    ranks: bool = True,
) -> Scores:
    """Score ``logits_of(hidden)`` against ``targets``, a bounded slice of rows at a time.

    ``hidden`` (prompts, variants, d_model); ``targets`` (prompts,) or (prompts, targets), or
    (prompts, variants, targets) where each variant has its own.  Without ``ranks`` there are none.
    """
    prompts, variants = hidden.shape[:2]
    rows = hidden.flatten(0, 1)
    held = holds_numbers(rows.detach())
    tokens = sent(targets, hidden.device)
    if targets.ndim < 3:
        tokens = tokens.reshape(prompts, 1, -1).expand(-1, variants, -1)
    token_rows = tokens.flatten(0, 1)
    step = max(1, slice_bytes(rows.device) // (vocabulary * 12))
    flat = concatenate_scores(
        [
            _score_rows(
                logits_of(rows[i : i + step]),
                token_rows[i : i + step],
                held[i : i + step],
                top,
                keep_logits,
                ranks,
            )
            for i in range(0, len(rows), step)
        ],
        dim=0,
    )
    shaped = flat.map_tensors(lambda part: part.reshape(prompts, variants, *part.shape[1:]))
    if targets.ndim == 1:
        rank = shaped.rank[..., 0] if ranks else shaped.rank
        return replace(shaped, log_p=shaped.log_p[..., 0], rank=rank)
    return shaped


def log_probabilities(
    rows: torch.Tensor,
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    vocabulary: int,
    targets: torch.Tensor,
) -> torch.Tensor:
    """Log-probabilities of ``targets`` (rows,) under ``logits_of(rows)``, (rows,): the ``log_p``
    of :func:`score` and nothing else, for whoever takes gradients."""
    held = holds_numbers(rows.detach())
    targets = sent(targets, rows.device)[:, None]
    step = max(1, slice_bytes(rows.device) // (vocabulary * 12))
    parts = []
    for i in range(0, len(rows), step):
        logits, finite = _logits(logits_of(rows[i : i + step]), held[i : i + step])
        reached = logits.gather(1, targets[i : i + step])[:, 0]
        parts.append((reached - logits.logsumexp(-1)).masked_fill(~finite, torch.nan))
    return torch.cat(parts)


def _logits(raw: torch.Tensor, held: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (rows, vocabulary) in the precision of scores, and which rows are all numbers."""
    logits = raw if raw.dtype == torch.float64 else raw.float()
    return logits, held & logits.detach().isfinite().all(-1)


def _score_rows(
    raw: torch.Tensor, targets: torch.Tensor, held: torch.Tensor, top: int, keep_logits: bool,
    ranks: bool,
) -> Scores:  # fmt: skip
    """``raw`` (rows, vocabulary), ``targets`` (rows, targets); ``held`` (rows,) tells which states
    are numbers."""
    logits, finite = _logits(raw, held)
    total = logits.logsumexp(-1, keepdim=True)
    target_logits = logits.gather(1, targets)
    ranked = targets if ranks else targets[:, :0]
    with torch.no_grad():
        rank = torch.empty_like(ranked)
        for i in range(ranked.shape[1]):
            rank[:, i] = _rank(logits, target_logits[:, i], targets[:, i])
        tokens = logits.topk(min(top, logits.shape[1]), dim=-1).indices
    return Scores(
        log_p=(target_logits - total).masked_fill(~finite[:, None], torch.nan),
        rank=rank,
        likeliest=logits.argmax(-1),
        top=tokens,
        top_log_p=logits.gather(1, tokens) - total,
        finite=finite,
        logits=raw if keep_logits else None,
    )


def _rank(logits: torch.Tensor, target_logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How many tokens come before ``target`` (rows,), whose logits are ``reached`` (rows,)."""
    above = (logits > target_logits[:, None]).sum(-1)
    earlier = torch.arange(logits.shape[1], device=logits.device) < target[:, None]
    return above + ((logits == target_logits[:, None]) & earlier).sum(-1)
