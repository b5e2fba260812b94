"""What is listed of a run is what was touched."""

from __future__ import annotations

import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.trace import tracing
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.engine.support import lively_flamingo, mixed_batch


def test_touches_are_where_activations_change(scenes: Scenes):
    """Against the residual stream of all tokens, read with the edits and without."""
    model = lively_flamingo(4, 4, 32, 2)
    batch = mixed_batch(model, scenes, (1, 0))
    edits = [
        Edit("lm.resid", 1, "add", torch.ones(32), positions=(-1, -4)),
        Edit("lm.resid", 1, "scale", torch.tensor(2.0), positions=(-6,)),
    ]
    everything = Read("lm.resid", 1, positions=None)
    before = full_pass(model, batch, reads=[everything]).readings[0]
    with tracing(items=2) as touches:
        after = full_pass(model, batch, edits, [everything]).readings[0]
    changed = {
        (item, token)
        for item in range(2)
        for token, row in enumerate((after != before).any(-1)[item, batch.mask[item] == 1])
        if row
    }
    written = {(touch.item, touch.token) for touch in touches if touch.operation}
    assert written == changed and len(changed) == 5  # the second prompt has five tokens
    read = [touch for touch in touches if touch.operation is None]
    assert len(read) == int(batch.mask.sum())
    last = int(batch.mask[0].sum()) - 1
    assert str(touches[0]) == f"add at lm.resid[1], item 0, token {last}"


def test_variants_and_generations_are_listed_and_failures_are_not(scenes: Scenes):
    model: OpenFlamingo = lively_flamingo(4, 4, 32, 2)
    batch = mixed_batch(model, scenes, (1, 0))
    edit = Edit("lm.attn", 2, "replace", torch.ones(1, 8), (3,))
    with tracing(items=1) as touches:
        encode_prefix(model, batch).scores([[], [edit]])
        generate(model, batch, 2, [edit])
        with pytest.raises(MfvError):
            full_pass(model, batch, [Edit("lm.attn", 9, "replace", torch.ones(1, 8), (3,))])
    last = int(batch.mask[0].sum()) - 1
    assert [str(touch) for touch in touches] == [
        f"replace at lm.attn[2], heads 3, variant 1, item 0, token {last}",
        f"replace at lm.attn[2], heads 3, item 0, token {last}",
    ]
    full_pass(model, batch, [edit])
    assert len(touches) == 2
