"""How often a GPU is waited for, counted on a pretended one."""

from __future__ import annotations

import pytest
import torch

from benchmarks.device_counts import PROMPTS, WORK, measured
from benchmarks.pretended_gpu import PretendedGpu
from mfv_dsl.base.transfer import brought, sent

#: Waits that a batch of prompts may cost, whatever the number of prompts, layers and heads.
MOST = 8


@pytest.mark.slow
def test_waits_do_not_grow_with_prompts_or_layers() -> None:
    found = measured()
    assert set(found) == set(WORK.values())
    for name, counts in found.items():
        most = PROMPTS if name == "generation" else MOST  # there for each token
        assert counts.waits <= most, (name, counts.places)
        assert counts.kernels > 0


def test_a_pretended_gpu_counts_what_is_waited_for() -> None:
    with PretendedGpu() as gpu:
        numbers = torch.arange(6, device="cuda:0")
        assert numbers.device == torch.device("cuda", 0)
        gpu.counts()
        assert numbers.sum().item() == 15
        assert numbers.tolist() == [0, 1, 2, 3, 4, 5]
        assert numbers[numbers > 3].cpu().tolist() == [4, 5]
        assert gpu.counts().waits == 4  # the number, the list, the mask, the copy
        assert numbers[[0, 2]].shape == (2,)
        assert torch.ones(2).to(gpu.device).shape == (2,)
        assert gpu.counts().waits == 2
        assert (numbers * 2 + 1).shape == (6,)
        counts = gpu.counts()
        assert (counts.waits, counts.kernels) == (0, 2)
        with pytest.raises(RuntimeError, match="same device"):
            numbers + torch.ones(6)


def test_tensors_go_and_come_back_with_one_wait() -> None:
    with PretendedGpu() as gpu:
        there = [sent(torch.full((2,), float(i)), gpu.device) for i in range(3)]
        assert all(tensor.device == gpu.device for tensor in there)
        assert gpu.counts().waits == 0
        back = brought(*there)
        assert [tensor.tolist() for tensor in back] == [[0, 0], [1, 1], [2, 2]]
        assert gpu.counts().waits == 1
        assert [tensor.tolist() for tensor in brought(*back)] == [[0, 0], [1, 1], [2, 2]]
        assert gpu.counts().waits == 0
