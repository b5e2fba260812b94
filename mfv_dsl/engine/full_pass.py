"""The full pass: an ordinary forward with edits and reads made by hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mfv_dsl.base.short import Short
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.gates import with_masks
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.engine.pictures import encoded_now, is_of_pictures
from mfv_dsl.engine.positions import placed
from mfv_dsl.engine.trace import note
from mfv_dsl.models.base import Backend, PromptBatch


@dataclass(frozen=True, repr=False)
class Pass(Short):
    """What one pass gave: ``logits`` (prompts, vocabulary) of the next token, and the readings in
    the order asked for, each (prompts, positions, [heads,] width), or where pictures are encoded
    (pictures or their tiles, positions, width)."""

    logits: torch.Tensor
    readings: tuple[torch.Tensor, ...]


def full_pass(
    backend: Backend, batch: PromptBatch, edits: Sequence[Edit] = (), reads: Sequence[Read] = ()
) -> Pass:
    """Run ``batch`` once with ``edits`` made, in their order, and then ``reads`` taken.

    For example, every head's output at the last token of layer 2::

        output = full_pass(model, batch, reads=[Read("lm.attn", layer=2)])
        heads = output.readings[0][:, 0]  # (prompts, heads, head_dim)

    Raises MfvError: MFV5102 to MFV5105 for what does not fit the model, MFV5121 and MFV5122 for
    positions that a prompt does not have, MFV5101 for an edit or a read that never fired.
    """
    edits = placed(backend, batch, settled(backend, batch, edits))
    works: list[Edit | Read] = [*edits, *reads]
    with Hooks(backend.model, backend.sites, edits, reads) as hooks:
        logits = backend.forward(encoded_now(backend, batch, works))
    note(batch, [work for work in works if not is_of_pictures(backend, work)])
    return Pass(logits, tuple(hooks.read(read) for read in reads))


def settled(backend: Backend, batch: PromptBatch, edits: Sequence[Edit]) -> Sequence[Edit]:
    """``edits`` with the prompts of ``batch`` that open their gates in place of the gates; a pass
    of the unedited model looks at them, where there are some."""
    (edits,) = with_masks([edits], lambda layers: unedited_states(backend, batch, layers))
    return edits


@torch.no_grad()
def unedited_states(
    backend: Backend, batch: PromptBatch, layers: Sequence[int]
) -> dict[int, torch.Tensor]:
    """The states behind some decoder layers at the prompts' last tokens in the unedited model,
    (prompts, d_model) by layer.  Raises MfvError (MFV5103) for a layer that there is not."""
    output = full_pass(backend, batch, reads=[Read("lm.resid", layer) for layer in layers])
    return {layer: states[:, 0] for layer, states in zip(layers, output.readings, strict=True)}
