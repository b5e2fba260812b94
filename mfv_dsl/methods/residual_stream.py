"""The residual stream at the last token, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.edits import Read
from mfv_dsl.engine.finite import not_finite
from mfv_dsl.engine.full_pass import Pass, full_pass
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.activations import Progress
from mfv_dsl.models.base import Backend, PromptBatch


@dataclass(frozen=True, repr=False)
class Stream(Short):
    """The residual stream at the last token of ``n`` prompts, at the output of every decoder layer.

    ``mean`` (layers, d_model) float32 is the mean state; ``norm`` (layers,) float32 the mean of the
    states' lengths, and ``deviation`` (layers,) the standard deviation of these lengths.
    """

    mean: torch.Tensor
    norm: torch.Tensor
    deviation: torch.Tensor
    n: int


def residual_stream(
    backend: Backend, batches: Sequence[PromptBatch], progress: Progress = lambda _: None
) -> Stream:
    """What the unedited model holds at the last token of the prompts of ``batches``.

    ``progress`` counts prompts.  Raises MfvError (MFV5372) for states that are no numbers.
    """
    site = backend.sites["lm.resid"]
    reads = [Read("lm.resid", layer) for layer in site.layers]
    total = torch.zeros(len(reads), site.width, dtype=torch.float64)
    lengths: list[torch.Tensor] = []  # each (layers, prompts)

    def read_stream(rows: Rows) -> Pass:
        with torch.no_grad():
            return full_pass(backend, rows.batch, reads=reads)

    for rows, output in in_parts(backend, batches, read_stream):
        batch = rows.batch
        readings = brought(*(reading[:, 0] for reading in output.readings))
        for read, reading in zip(reads, readings, strict=True):
            if not bool(reading.isfinite().all()):
                what = f"the states of the stream at lm.resid[{read.layer}] are"
                raise not_finite("MFV5372", what, backend, batch)
        states = torch.stack([reading.double() for reading in readings])
        total += states.sum(1)
        lengths.append(states.norm(dim=-1))
        progress(len(batch))
    all_lengths = torch.cat(lengths, dim=1)
    return Stream(
        mean=(total / all_lengths.shape[1]).float(),
        norm=all_lengths.mean(1).float(),
        deviation=all_lengths.std(1, correction=0).float(),
        n=all_lengths.shape[1],
    )
