"""Nothing that is made on the processor meets a model's tensors without being moved to them.

There is no GPU here, so it is the other way round: the model is on the processor, and whatever is
made without a device is made on `meta`, where it has no values and meets no other tensor.  Only an
explicit move brings it over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from mfv_dsl.engine.candidates import likeliest_sequences
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.exactness import largest_difference
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.greedy import continue_greedily
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.methods.off_task import off_task_costs
from tests.models.vlm.test_passes import batch_of, edits

Loaded = Callable[[str], Any]
_MOVES = {
    torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.type_as, torch.Tensor.numpy,
    torch.Tensor.tolist, torch.Tensor.item,
}  # fmt: skip


class ElsewhereByDefault(TorchFunctionMode):
    """What is made without a device is on `meta`; moved or read, its values are zeros."""

    def __torch_function__(
        self, function: Any, _: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        first = arguments[0] if arguments else None
        if function in _MOVES and isinstance(first, torch.Tensor) and first.is_meta:
            first = torch.zeros(first.shape, dtype=first.dtype, device="cpu")
            arguments = (first, *arguments[1:])
        return function(*arguments, **(options or {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "llava", *(pytest.param(name, marks=pytest.mark.slow)
               for name in ("qwen3_vl", "gemma3", "idefics", "mllama", "paligemma")),
])  # fmt: skip
def test_what_is_made_on_the_processor_is_moved(name: str, loaded: Loaded):
    model = loaded(name)
    batch, changes = batch_of(model, (1, 1)), list(edits(model))
    reads = [Read("lm.resid", 1)]
    with torch.no_grad(), torch.device("meta"), ElsewhereByDefault():
        full_pass(model, batch, changes[:2], reads)
        list(encode_prefix(model, batch).run([[], *([edit] for edit in changes)], reads=reads))
        added = [Edit("lm.resid", 1, "add", torch.zeros(model.facts.d_model, device="cpu"))]
        Injection([encode_prefix(model, batch)]).scores([added])
        Injection([encode_prefix(model, batch), encode_prefix(model, batch)]).log_p([added] * 2)
        largest_difference(model, batch)
        generate(model, batch, 3, beams=2)
        generate(model, batch, 2, changes[:1])
        sequence_log_p(model, batch, [(1, 2), (1, 3)])
        off_task_costs(model, [batch], [changes[:1]])
        prefix = encode_prefix(model, batch)
        likeliest_sequences(prefix, [(1, 2), (1, 3), (4,)], np.zeros(2, int), [[], changes[:1]])
        continue_greedily(prefix, [[], changes[:1]], 3)


def test_the_test_sees_what_is_not_moved(loaded: Loaded):
    logits = loaded("llava").forward(batch_of(loaded("llava"), (1,)))
    with torch.device("meta"), ElsewhereByDefault():
        assert float((logits + torch.ones(1).to(logits)).sum()) == pytest.approx(
            float(logits.sum())
        )
        with pytest.raises(RuntimeError, match="device"):
            logits[:, torch.tensor([0, 1])] + torch.ones(2)
