"""Numbers that are none: who computed NaN or infinity, where it began, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.tensors import tensors_in
from mfv_dsl.models.base import Backend, PromptBatch

#: The sites of one layer in the order in which they are computed.
_ORDER = ("xattn", "xattn.mlp", "lm.attn", "lm.attn.out", "lm.mlp", "lm.resid")


class NotFinite(MfvError):
    """What was measured holds NaN or infinity; other measurements of the same run may be fine."""


def holds_numbers(states: torch.Tensor) -> torch.Tensor:
    """Which of ``states`` (..., width) are all numbers, of a length that float32 can hold, (...).

    A longer state passes a norm as zero, and what comes out looks like an answer.
    """
    wide = states if states.dtype == torch.float64 else states.float()
    return wide.square().sum(-1).isfinite()


def check_edits(backend: Backend, edits: Sequence[Edit]) -> None:
    """Refuse (MFV5370) an edit whose value is none, or too large for the model's precision."""
    dtype = _dtype(backend)
    are_held = brought(*(holds_numbers(edit.value.detach().to(dtype)).all() for edit in edits))
    for edit, is_held in zip(edits, are_held, strict=True):
        if not bool(is_held):
            is_written = bool(edit.value.isfinite().all())
            why = f"too large to be held in {_name(dtype)}" if is_written else "not all numbers"
            raise NotFinite(
                "MFV5370", f"what is written, {edit}, is {why}", help=remedy(backend, edits)
            )


def not_finite(
    code: str,
    what: str,
    backend: Backend,
    batch: PromptBatch | None = None,
    edits: Sequence[Edit] = (),
) -> NotFinite:
    """The error that ``what`` is not all numbers; the prompts of ``batch`` are run again to find
    where that begins."""
    begin = "" if batch is None else f"; it begins at {first_place(backend, batch, edits)}"
    return NotFinite(code, f"{what} not all numbers{begin}", help=remedy(backend, edits))


@torch.no_grad()
def first_place(backend: Backend, batch: PromptBatch, edits: Sequence[Edit] = ()) -> str:
    """The first place of a pass over ``batch`` whose activations are not all numbers."""
    if not all(bool(tensor.isfinite().all()) for tensor in _fractions(batch.media)):
        return "the encoded pictures"
    reads = [
        Read(name, layer, None)
        for layer in backend.sites["lm.resid"].layers
        for name in _ORDER
        if name in backend.sites and layer in backend.sites[name].layers
    ]
    output = full_pass(backend, batch, edits, reads)
    seen = batch.mask.bool()
    for read, reading in zip(reads, output.readings, strict=True):
        states = holds_numbers(reading.flatten(2))
        if states.shape == seen.shape and not bool(states[seen.to(states.device)].all()):
            return f"{read.site}[{read.layer}]"
    return "the output behind the last layer"


def remedy(backend: Backend, edits: Sequence[Edit] = ()) -> str:
    """What to do about numbers that overflow."""
    cures = []
    if any(edit.operation in ("add", "scale") for edit in edits):
        cures.append("use a smaller `scale`")
    if _dtype(backend) == torch.float16:
        cures.append("load the model with dtype=bf16 or dtype=fp32, which hold larger numbers")
    elif not cures and _dtype(backend) == torch.bfloat16:
        cures.append("load the model with dtype=fp32")
    return ", or ".join(cures) or "look at the model's weights and at what is written into it"


def _dtype(backend: Backend) -> torch.dtype:
    return next(p.dtype for p in backend.model.parameters() if p.is_floating_point())


def _name(dtype: torch.dtype) -> str:
    names = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
    return names.get(dtype, str(dtype).removeprefix("torch."))


def _fractions(tree: Any) -> Iterator[torch.Tensor]:
    """The tensors with fractions in a tree."""
    return (tensor for tensor in tensors_in(tree) if tensor.is_floating_point())
