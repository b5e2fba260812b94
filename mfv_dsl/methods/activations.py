"""Mean head outputs over a task's prompts (arXiv:2310.15213, section 2.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.edits import Read
from mfv_dsl.engine.full_pass import Pass, full_pass
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.finite import check_heads, check_scores
from mfv_dsl.methods.linearisation import (
    NormRecorder,
    NormSamples,
    NormSums,
    is_behind_norm,
    norm_samples,
)
from mfv_dsl.methods.outcomes import outcomes
from mfv_dsl.models.base import Backend, PromptBatch

Progress = Callable[[int], None]
ArrayOrTensor: TypeAlias = "np.ndarray | torch.Tensor"


@dataclass(frozen=True, repr=False)
class TaskMean(Short):
    """``mean`` (layers, heads, head_dim) float32: each head's output at the last token, before the
    output projection, averaged over ``n_used`` of ``n`` prompts; :func:`rows_of` says which layer a
    row is, and NaN is where a layer has no such heads.  ``correct`` tells which of the prompts the
    model answered correctly.  ``norm`` is there where a norm stands behind the heads: how it scaled
    the prompts that were averaged over."""

    relation: str
    mean: torch.Tensor
    correct: tuple[bool, ...]
    n_used: int
    norm: NormSamples | None = None

    @property
    def accuracy(self) -> float:
        """The share of prompts that were answered correctly."""
        return sum(self.correct) / len(self.correct)


def rows_of(backend: Backend, site: str = "lm.attn") -> tuple[int, ...]:
    """The layers that rows of arrays about a site's heads stand for.  Heads of self-attention are
    named by their layer, so that there is a row for every decoder layer, NaN in those without such
    heads; of another site there are the layers that it has."""
    if site == "lm.attn":
        return tuple(range(backend.facts.n_layers))
    return backend.sites[site].layers


def row_per_layer(backend: Backend, site: str, values: ArrayOrTensor, dim: int = 0) -> Any:
    """``values`` about a site's heads, whose dimension ``dim`` has the rows of :func:`rows_of`,
    with a row for every decoder layer: NaN where there are none of the site's."""
    rows = list(rows_of(backend, site))
    if rows == list(range(backend.facts.n_layers)):
        return values
    shape = list(values.shape)
    shape[dim] = backend.facts.n_layers
    if isinstance(values, torch.Tensor):
        whole = torch.full(shape, torch.nan, dtype=values.dtype)
        return whole.index_copy(dim, torch.tensor(rows), values)
    full = np.full(shape, np.nan, dtype=values.dtype)
    full[(slice(None),) * dim + (rows,)] = values
    return full


def head_reads(backend: Backend, site: str = "lm.attn") -> tuple[Read, ...]:
    """One read per layer of the site, of every head's output at the last token."""
    return tuple(Read(site, layer) for layer in backend.sites[site].layers)


def task_mean(
    backend: Backend,
    batches: Sequence[PromptBatch],
    relation: str,
    correct_only: bool = True,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> TaskMean:
    """The task mean of ``relation`` over ``batches``, at ``site``: ``lm.attn`` or ``xattn``
    (arXiv:2310.15213, section 2.3, for ``correct_only``).

    Sums are in float64, and memory does not grow with the number of batches.  ``progress`` counts
    prompts.  Raises MfvError: MFV5201 where no prompt is left to average over, MFV5370 and MFV5372
    where the model computes no numbers, MFV7292 for what stands behind the heads and is no RMS
    norm.
    """
    return mean_of_sums([head_sums(backend, batches, relation, correct_only, progress, site)],
                        relation, correct_only)  # fmt: skip


#: What :func:`head_sums` gives: the sum of outputs (layers, heads, head_dim) in float64, which
#: prompts were answered correctly, and what was recorded of a norm.
Sums: TypeAlias = "tuple[torch.Tensor, tuple[bool, ...], NormSums | None]"


def head_sums(
    backend: Backend,
    batches: Sequence[PromptBatch],
    relation: str,
    correct_only: bool = True,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> Sums:
    """What a mean over the prompts of ``batches`` and others is made of; arguments and errors as of
    :func:`task_mean`, but that no prompt need be left."""
    place = backend.sites[site]
    reads = head_reads(backend, site)
    rows = rows_of(backend, site)
    shape = (len(rows), place.heads or 1, place.width)
    total = torch.full(shape, torch.nan, dtype=torch.float64)
    total[[rows.index(read.layer) for read in reads]] = 0
    correct: list[bool] = []
    norm = NormRecorder(backend) if site == "lm.attn" and is_behind_norm(backend) else None

    def read_heads(rows: Rows) -> Pass:
        with torch.no_grad():
            return full_pass(backend, rows.batch, reads=reads)

    for rows_run, output in in_parts(backend, batches, read_heads):
        batch = rows_run.batch
        answered = outcomes(output.logits, batch.answers)
        check_scores(backend, batch, np.isfinite(answered.p_answer))
        correct_rows = answered.correct
        correct += correct_rows.tolist()
        mask = (
            torch.from_numpy(correct_rows)
            if correct_only
            else torch.ones(len(batch), dtype=torch.bool)
        )
        readings = brought(*(reading[:, 0] for reading in output.readings))
        for read, reading in zip(reads, readings, strict=True):
            what = f"the outputs of heads on `{relation}`"
            states = reading.float().movedim(0, 1)[None]
            check_heads(backend, what, site, [read.layer], states, batch, "MFV5372")
            total[rows.index(read.layer)] += reading[mask].double().sum(0)
        if norm is not None:
            norm.add(output.readings, mask)
        progress(len(batch))
    return total, tuple(correct), None if norm is None else norm.sums()


def mean_of_sums(parts: Sequence[Sums], relation: str, correct_only: bool = True) -> TaskMean:
    """The mean over the prompts of all ``parts``, added up in their order.  Raises MfvError
    (MFV5201) where no prompt is left to average over."""
    totals, answered, norms = zip(*parts, strict=True)
    correct = tuple(one for part in answered for one in part)
    n_used = sum(correct) if correct_only else len(correct)
    if not n_used:
        raise MfvError(
            "MFV5201",
            f"none of the {len(correct)} prompts of `{relation}` was answered correctly, "
            "so there is no mean to take",
            help="use more shots, another relation, or correct_only=false",
        )
    total = sum(totals[1:], totals[0])
    recorded = [norm for norm in norms if norm is not None]
    return TaskMean(
        relation, (total / n_used).float(), correct, n_used,
        norm_samples(recorded) if recorded else None,
    )  # fmt: skip
