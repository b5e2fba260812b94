"""Every architecture with an adapter in it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from mfv_dsl.models.adapters import Lora, SoftPrompt, adapted, lora_modules, with_room
from tests.cases import one_quick
from tests.models.vlm.test_passes import ARCHITECTURES, Loaded, batch_of


@pytest.mark.parametrize("name", one_quick(ARCHITECTURES))
def test_low_rank_matrices_are_put_in_and_taken_out(name: str, loaded: Loaded):
    model = loaded(name)
    batch = batch_of(model)
    before, paths = model.forward(batch), lora_modules(model, "all")
    with adapted(model, Lora(2, 4, "all"), 0) as inside:
        assert len(inside.parameters) == 2 * len(paths)
        for weight in inside.parameters.values():
            nn.init.normal_(weight, std=0.3)
        logits = inside.backend.forward(batch)
        assert not torch.allclose(logits, before, atol=1e-3)
        gradients = torch.autograd.grad(logits.square().sum(), [*inside.parameters.values()])
        assert any(bool(gradient.any()) for gradient in gradients)
    assert torch.equal(model.forward(batch), before)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_soft_prompt_stands_before_every_prompt(name: str, loaded: Loaded):
    """Embeddings of a token, learned, give what that token before each prompt gives."""
    model: Any = loaded(name)
    batch = batch_of(model)
    token = int(batch.tokens[0, -1])
    with adapted(model, SoftPrompt(3), 0) as inside, torch.no_grad():
        words = model.model.get_input_embeddings()
        inside.parameters["soft_prompt"].copy_(words(torch.full((3,), token)))
        wrapped: Any = inside.backend
        room = with_room(batch, 3, wrapped._filler)
        ours = wrapped.forward(room)
    tokens = room.tokens.clone()
    for row, start in enumerate((room.mask == 0).sum(-1).tolist()):
        tokens[row, start : start + 3] = token
    whole = model.forward(dataclasses.replace(room, tokens=tokens))
    assert torch.allclose(ours, whole, atol=1e-4)
