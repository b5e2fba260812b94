"""Gates of edits: looked at in the unedited model, and put in place of by masks of prompts.

Whether a prompt opens a gate is known once its unedited states are, whatever is written into it and
wherever.  So a batch is looked at before it is edited, and the edits that a pass makes have masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from mfv_dsl.engine.edits import Edit, Gate

#: The states behind some decoder layers at the last tokens of a batch's prompts in the unedited
#: model, (prompts, d_model) by layer.
StatesOf = Callable[[Sequence[int]], Mapping[int, torch.Tensor]]


def with_masks(variants: Sequence[Sequence[Edit]], states_of: StatesOf) -> list[Sequence[Edit]]:
    """``variants`` with the prompts that open their gates in place of the gates; ``states_of`` is
    asked once, and only where there are gates."""
    gates = [gate for edits in variants for gate in gates_of(edits)]
    if not gates:
        return list(variants)
    states = states_of(sorted({gate.layer for gate in gates}))
    masks = {id(gate): gate.opens(states[gate.layer]) for gate in gates}
    return [
        [
            replace(edit, when=masks[id(edit.when)]) if isinstance(edit.when, Gate) else edit
            for edit in edits
        ]
        for edits in variants
    ]


def gates_of(edits: Sequence[Edit]) -> list[Gate]:
    """The gates that some edits have."""
    return [edit.when for edit in edits if isinstance(edit.when, Gate)]
