"""What was read and written where, for whoever wants to see it.

    with tracing() as touches:
        full_pass(backend, batch, edits)
    print(touches[0])  # add at lm.resid[3], item 0, token 17

Only what happened is noted: a pass whose edits did not all fire raises and notes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch

from mfv_dsl.engine.edits import Edit, EditOperation, Positions, Read
from mfv_dsl.models.base import PromptBatch


@dataclass(frozen=True)
class Touch:
    """One reading (``operation`` None) or change of one token.

    ``heads`` is None where all heads, or a site without heads, were touched.  ``item`` is the
    prompt's place in its batch, ``token`` counts the prompt's own tokens from 0, ``variant`` is the
    variant's place in the list given to the prefix engine, None in a full pass.
    """

    operation: EditOperation | None
    site: str
    layer: int
    heads: tuple[int, ...] | None
    item: int
    token: int
    variant: int | None = None

    def __str__(self) -> str:
        heads = "" if self.heads is None else f", heads {', '.join(map(str, self.heads))}"
        variant = "" if self.variant is None else f", variant {self.variant}"
        what = self.operation or "read"
        return (
            f"{what} at {self.site}[{self.layer}]{heads}{variant}, "
            f"item {self.item}, token {self.token}"
        )


@dataclass
class _Notes:
    items: int
    touches: list[Touch] = field(default_factory=list)


_notes: ContextVar[_Notes | None] = ContextVar("notes", default=None)


@contextmanager
def tracing(items: int = 3) -> Iterator[list[Touch]]:
    """Within the block, touches of the first ``items`` prompts of every pass are listed.

    Of a generation those in the prompt are.
    """
    notes = _Notes(items)
    token = _notes.set(notes)
    try:
        yield notes.touches
    finally:
        _notes.reset(token)


def _places(positions: Positions, item: int, length: int) -> Sequence[int]:
    """The tokens of a prompt, counted from its end, at which something was done."""
    if isinstance(positions, torch.Tensor):
        marked = positions[item].nonzero()[:, 0] - positions.shape[1]
        return [int(place) for place in marked.tolist()]
    return positions if isinstance(positions, tuple) else range(-length, 0)


def note(batch: PromptBatch, works: Sequence[Edit | Read], variant: int | None = None) -> None:
    """List what ``works`` touched in a pass over ``batch``, if somebody is tracing."""
    notes = _notes.get()
    if notes is None:
        return
    lengths = batch.mask[: notes.items].sum(-1).tolist()
    for work in works:
        operation, heads = (work.operation, work.heads) if isinstance(work, Edit) else (None, None)
        mask = work.when if isinstance(work, Edit) else None
        for item, length in enumerate(lengths):
            if isinstance(mask, torch.Tensor) and not bool(mask[item]):
                continue
            places = _places(work.positions, item, length)
            notes.touches += [
                Touch(operation, work.site, work.layer, heads, item, length + place, variant)
                for place in places
                if place >= -length  # else it fell on padding
            ]
