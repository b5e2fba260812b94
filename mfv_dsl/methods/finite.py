"""Measurements that came out as no numbers are errors, never outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.finite import NotFinite, not_finite
from mfv_dsl.models.base import Backend, PromptBatch


def failure(
    backend: Backend, batches: Iterable[PromptBatch], edits: Sequence[Edit], p_answer: np.ndarray
) -> NotFinite | None:
    """The error (MFV5370) of scores under ``edits`` of which some are NaN, ``p_answer`` (prompts,)
    of ``batches``; None where all are numbers."""
    bad = np.flatnonzero(~np.isfinite(p_answer))
    if not len(bad):
        return None
    row, what = int(bad[0]), f"the scores of {len(bad)} of {len(p_answer)} prompts are"
    for batch in batches:
        if row < len(batch):
            return not_finite("MFV5370", what, backend, batch[row : row + 1], _of_row(edits, row))
        row -= len(batch)
    return not_finite("MFV5370", what, backend, None, edits)


def check_scores(
    backend: Backend, batch: PromptBatch, finite: torch.Tensor | np.ndarray,
    edits: Sequence[Edit] = (),
) -> None:  # fmt: skip
    """Refuse (MFV5370) scores of ``batch`` under ``edits`` that are none; ``finite`` (prompts,)
    tells which are numbers."""
    numbers = finite.cpu().numpy() if isinstance(finite, torch.Tensor) else finite
    error = failure(backend, [batch], edits, np.where(numbers.astype(bool), 1.0, np.nan))
    if error is not None:
        raise error


def check_heads(
    backend: Backend, what: str, site: str, layers: Sequence[int],
    values: np.ndarray | torch.Tensor, batch: PromptBatch, code: str,
) -> None:  # fmt: skip
    """Refuse ``values`` (layers, heads, ...) of the ``layers`` of a site, all measured, that are
    not all numbers, by the first layer and head."""
    finite = np.isfinite(np.asarray(values)).reshape(len(layers), values.shape[1], -1).all(-1)
    if finite.all():
        return
    row, head = np.argwhere(~finite)[0]
    place = f"{site}[{layers[row]}]" + (f", head {head}" if values.shape[1] > 1 else "")
    raise not_finite(code, f"{what}, first at {place}, are", backend, batch)


def _of_row(edits: Sequence[Edit], row: int) -> list[Edit]:
    """``edits`` whose values for several prompts are cut to that of one."""
    return [
        replace(edit, value=edit.value[row : row + 1])
        if edit.value.ndim > (1 if edit.heads is None else 2) and len(edit.value) > 1
        else edit
        for edit in edits
    ]
