"""What a vector costs elsewhere: how far it changes answers that are none of its business.

For a prompt of another kind (:mod:`mfv_dsl.data.off_task`), with p the unedited model's
distribution of the next token and q that of the edited one, over the whole vocabulary:

    KL(p ‖ q) = Σ p(t) · (ln p(t) - ln q(t))    in nats; 0 where nothing changed
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought
from mfv_dsl.data.off_task import OFF_TASKS
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.prefix import PrefixOf, encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.intervals import accuracy_interval, difference_interval
from mfv_dsl.methods.means import divergence_interval
from mfv_dsl.models.base import Backend, PromptBatch

_AT_ONCE = 4  # variants whose whole distributions are held


@dataclass(frozen=True, repr=False)
class OffTaskCost(Short):
    """What one set of edits changes on off-task prompts.

    By prompt, each (n,): ``kl_per_prompt`` in nats, ``correct_before`` and ``correct_after``,
    whether the likeliest token was the answer's first without and with the edits.
    """

    kl_per_prompt: np.ndarray
    correct_before: np.ndarray
    correct_after: np.ndarray

    def __len__(self) -> int:
        return len(self.kl_per_prompt)

    @property
    def kl_mean(self) -> float:
        """The mean divergence over prompts, in nats."""
        return float(self.kl_per_prompt.mean())

    @property
    def accuracy_before(self) -> float:
        """The unedited model's accuracy."""
        return float(self.correct_before.mean())

    @property
    def accuracy_after(self) -> float:
        """The accuracy with the edits."""
        return float(self.correct_after.mean())

    @property
    def change(self) -> float:
        """Accuracy with the edits less that without, on the same prompts."""
        return self.accuracy_after - self.accuracy_before

    @property
    def kl_interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean divergence, over prompts."""
        return divergence_interval(self.kl_per_prompt)

    @property
    def before_interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy before."""
        return accuracy_interval(self.correct_before)

    @property
    def after_interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy after."""
        return accuracy_interval(self.correct_after)

    @property
    def change_interval(self) -> tuple[float, float]:
        """The 95 % interval of the change, paired by prompt."""
        return difference_interval(self.correct_after.astype(np.float64) - self.correct_before)


@dataclass(frozen=True)
class CostRow:
    """What a vector costs on one kind of off-task prompt, ``doc`` in words: the mean divergence
    ``kl`` in nats over ``n`` prompts, and accuracies without and with the vector, each with its
    95 % interval; ``change`` is paired by prompt."""

    kind: str
    doc: str
    n: int
    kl: float
    kl_interval: tuple[float, float]
    accuracy_before: float
    before_interval: tuple[float, float]
    accuracy_after: float
    after_interval: tuple[float, float]
    change: float
    change_interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """The row as plain data, but for its kind; None is a bound that one prompt lacks."""
        names = ("n", "kl", "kl_interval", "accuracy_before", "accuracy_after", "change",
                 "change_interval")  # fmt: skip
        low, high = self.kl_interval
        bounds = (low, high if math.isfinite(high) else None)
        return {name: getattr(self, name) for name in names} | {"kl_interval": bounds}


def cost_rows(costs: Mapping[str, OffTaskCost]) -> list[CostRow]:
    """A row for each kind of off-task prompt."""
    return [
        CostRow(
            kind, OFF_TASKS[kind].doc, len(cost), cost.kl_mean, cost.kl_interval,
            cost.accuracy_before, cost.before_interval, cost.accuracy_after, cost.after_interval,
            cost.change, cost.change_interval,
        )
        for kind, cost in costs.items()
    ]  # fmt: skip


def off_task_cost(
    backend: Backend,
    batches: Sequence[PromptBatch],
    edits: Sequence[Edit],
    progress: Progress = lambda _: None,
) -> OffTaskCost:
    """What ``edits``, all at the last token, cost on the prompts of ``batches``.

    ``progress`` counts prompts.
    """
    return off_task_costs(backend, batches, [edits], progress)[0]


def off_task_costs(
    backend: Backend,
    batches: Sequence[PromptBatch],
    variants: Sequence[Sequence[Edit]],
    progress: Progress = lambda _: None,
    prefix_of: PrefixOf = encode_prefix,
) -> list[OffTaskCost]:
    """For each variant, a list of edits, what :func:`off_task_cost` gives; every prompt's earlier
    tokens are run once for all variants, by ``prefix_of``, unless that is
    :func:`~mfv_dsl.engine.prefix.full_passes`, which takes edits at other tokens than the last."""
    if not variants:
        return []

    def measured(rows: Rows) -> list[OffTaskCost]:
        own = [rows.edits(edits) for edits in variants]
        return _costs(backend, rows.batch, own, prefix_of)

    parts = []
    for rows, part in in_parts(backend, batches, measured):
        parts.append(part)
        progress(len(rows))
    return concatenate_costs(parts)


def concatenate_costs(parts: Sequence[Sequence[OffTaskCost]]) -> list[OffTaskCost]:
    """For each variant its costs on consecutive prompts as one."""
    names = ("kl_per_prompt", "correct_before", "correct_after")
    return [
        OffTaskCost(*(np.concatenate([getattr(cost, name) for cost in costs]) for name in names))
        for costs in zip(*parts, strict=True)
    ]


@torch.no_grad()
def _costs(
    backend: Backend, batch: PromptBatch, variants: Sequence[Sequence[Edit]], prefix_of: PrefixOf
) -> list[OffTaskCost]:
    """What each variant costs on one batch."""
    answers = batch.answers[:, None]
    costs: dict[int, OffTaskCost] = {}
    for chunk in prefix_of(backend, batch).run(variants, logits=True, at_once=_AT_ONCE):
        p, q = (_log_p(scores.logits) for scores in (chunk.unedited, chunk.scores))
        kl = (p.exp() * (p - q)).sum(-1).clamp_min(0)  # below 0 is rounding
        finite, numbers, after, before = brought(
            chunk.scores.finite & chunk.unedited.finite, kl.double(),
            chunk.scores.likeliest == answers, (chunk.unedited.likeliest == answers)[:, 0],
        )  # fmt: skip
        for column, variant in enumerate(chunk.variants):
            check_scores(backend, batch, finite[:, column], variants[variant])
            costs[variant] = OffTaskCost(
                numbers[:, column].numpy(), before.numpy(), after[:, column].numpy()
            )
    return [costs[variant] for variant in range(len(variants))]


def _log_p(logits: torch.Tensor | None) -> torch.Tensor:
    """Log-probabilities (prompts, variants, vocabulary), in float32 at least."""
    assert logits is not None
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)
