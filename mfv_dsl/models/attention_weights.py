"""The weights of attention, kept as a last token's copies are run.

The attentions of copies (:mod:`~mfv_dsl.models.parallel_attention`,
:mod:`~mfv_dsl.models.flamingo_attention`) note their weights here; they are what the model's own
attention gives when it is asked for them, which not every attention can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

import torch
from torch import nn

#: The weights that were last computed, in a list of one, where somebody wants them.
_LATEST: ContextVar[list[torch.Tensor] | None] = ContextVar("latest_weights", default=None)


def note_weights(weights: torch.Tensor) -> None:
    """``weights`` (prompts, heads, copies, seen) have been computed."""
    latest = _LATEST.get()
    if latest is not None:
        latest[:] = [weights.detach()]


@contextmanager
def recorded_weights(projections: Sequence[nn.Module]) -> Iterator[dict[int, torch.Tensor]]:
    """Within the block, the weights with which what each of ``projections`` (of the heads'
    outputs) gets was read, (prompts, heads, copies, seen), by the projection's place in the list;
    of one that is run several times the last ones."""
    latest: list[torch.Tensor] = []
    found: dict[int, torch.Tensor] = {}
    token = _LATEST.set(latest)
    with ExitStack() as hooks:
        for place, projection in enumerate(projections):

            def note(*_: object, place: int = place) -> None:
                if latest:
                    found[place] = latest.pop()

            hooks.callback(projection.register_forward_pre_hook(note).remove)
        try:
            yield found
        finally:
            _LATEST.reset(token)
