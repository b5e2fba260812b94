"""Adapters in a model: what they compute, and that nothing of them stays."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

import mfv_dsl as mfv
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.models.adapters import Lora, SoftPrompt, adapted, lora_modules, with_room
from mfv_dsl.models.loaded import is_unchanged
from tests.cases import one_quick

FORMS = [Lora(4, 8), Lora(2, 2, "all"), SoftPrompt(5)]


@pytest.fixture(scope="module", params=one_quick(["flamingo", "llava"]))
def backend(request: pytest.FixtureRequest) -> Any:
    return mfv.load_model("tiny", request.param)


@pytest.fixture(scope="module")
def prompts(scenes: Any) -> Any:
    """Of two lengths, so that there is padding."""
    return [
        *draw_prompts(scenes, "left", "train", 3, 0, 1),
        *draw_prompts(scenes, "left", "train", 2, 2, 1),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_model_is_as_it_was_afterwards(backend: Any, prompts: Any, scenes: Any, form: Any):
    batch = backend.batch(prompts, scenes)
    before, modules = backend.forward(batch), dict(backend.model.named_modules())
    attributes = set(vars(backend.model))
    with adapted(backend, form, 0) as inside:
        for weight in inside.parameters.values():
            nn.init.normal_(weight, std=0.1)
        changed = inside.backend.forward(inside.backend.batch(prompts, scenes))
        assert not torch.allclose(changed, before, atol=1e-2)
        with pytest.raises(RuntimeError, match="stop"), adapted(backend, form, 0):
            raise RuntimeError("stop")
    assert torch.equal(backend.forward(batch), before)
    assert is_unchanged(backend)
    assert dict(backend.model.named_modules()) == modules
    assert set(vars(backend.model)) == attributes
    assert not any(weight.requires_grad for weight in backend.model.parameters())


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_prefix_gives_what_a_full_pass_gives(
    backend: Any, prompts: Any, scenes: Any, form: Any
):
    with adapted(backend, form, 0) as inside, torch.no_grad():
        for weight in inside.parameters.values():
            nn.init.normal_(weight, std=0.1)
        batch = inside.backend.batch(prompts, scenes)
        whole = inside.backend.forward(batch)
        copies = encode_prefix(inside.backend, batch).scores([()], logits=True).logits
        assert copies is not None
        assert torch.allclose(copies[:, 0], whole, atol=1e-4)
        with inside.backend.decoding(batch) as decoder:
            assert torch.allclose(decoder.prompt(), whole, atol=1e-4)


@pytest.mark.parametrize("modules", ["attention", "all"])
def test_low_rank_matrices_are_those_of_the_formula(
    backend: Any, prompts: Any, scenes: Any, modules: str
):
    """W + alpha / rank · B·A in the place of each weight, written into the weights themselves."""
    batch = backend.batch(prompts, scenes)
    with adapted(backend, Lora(3, 6, modules), 0) as inside, torch.no_grad():
        assert torch.equal(inside.backend.forward(batch), backend.forward(batch))  # B is zero
        for weight in inside.parameters.values():
            nn.init.normal_(weight, std=0.1)
        ours = inside.backend.forward(batch)
        learned = {name: weight.clone() for name, weight in inside.parameters.items()}
    paths = lora_modules(backend, modules)
    assert {name.rpartition(".")[0] for name in learned} == set(paths)
    kept = {path: backend.model.get_submodule(path).weight.data for path in paths}
    try:
        for path, weight in kept.items():
            product = learned[f"{path}.lora_B"] @ learned[f"{path}.lora_A"]
            backend.model.get_submodule(path).weight.data = weight + 6 / 3 * product
        with torch.no_grad():
            assert torch.allclose(ours, backend.forward(batch), atol=1e-4)
    finally:
        for path, weight in kept.items():
            backend.model.get_submodule(path).weight.data = weight


def test_every_linear_map_that_is_asked_for_has_some(backend: Any):
    attention, every = (set(lora_modules(backend, which)) for which in ("attention", "all"))
    assert attention < every and len(every) % backend.facts.n_layers == 0
    assert not any("vision" in path or "perceiver" in path or "gated" in path for path in every)


def test_a_soft_prompt_of_a_texts_own_embeddings_is_that_text(
    backend: Any, prompts: Any, scenes: Any
):
    """Embeddings of real tokens, learned, give what these tokens before each prompt give, also
    where there is padding before them."""
    batch = backend.batch(prompts, scenes)
    assert not batch.mask.all()
    words = getattr(backend.model, "lang_encoder", backend.model).get_input_embeddings()
    text = batch.tokens[0, -4:]  # any tokens without a picture
    with adapted(backend, SoftPrompt(4), 0) as inside, torch.no_grad():
        inside.parameters["soft_prompt"].copy_(words(text))
        ours = inside.backend.forward(inside.backend.batch(prompts, scenes))
    room = with_room(batch, 4, 0)
    tokens = room.tokens.clone()
    for row in range(len(tokens)):
        start = int((room.mask[row] == 0).sum())
        tokens[row, start : start + 4] = text
    assert torch.allclose(
        ours, backend.forward(dataclasses.replace(room, tokens=tokens)), atol=1e-4
    )
    if not hasattr(batch, "positions"):
        # a batch put together by hand, from the tokens and the mask alone
        longest = batch.mask[:, 0] == 1
        whole = torch.cat([text.expand(int(longest.sum()), -1), batch.tokens[longest]], 1)
        mask, media = torch.ones_like(whole), batch.media[longest]
        hand = dataclasses.replace(batch, tokens=whole, mask=mask, media=media)
        assert torch.allclose(ours[longest], backend.forward(hand), atol=1e-4)


def test_room_is_made_before_the_first_token():
    """A batch with padding, positions of two kinds and further tensors by token."""

    @dataclasses.dataclass
    class Batch:
        tokens: torch.Tensor
        mask: torch.Tensor
        positions: torch.Tensor
        per_token: dict[str, torch.Tensor]

    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    batch = Batch(
        torch.tensor([[9, 5, 6], [5, 6, 7]]), mask, torch.tensor([[[1, 0, 1], [0, 1, 2]]] * 3),
        {"kinds": torch.tensor([[0, 1, 0], [1, 0, 1]]), "seen": torch.ones(2, 3, 2)},
    )  # fmt: skip
    room = with_room(batch, 2, 8)
    assert room.tokens.tolist() == [[9, 8, 8, 5, 6], [8, 8, 5, 6, 7]]
    assert room.mask.tolist() == [[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
    assert room.positions[2].tolist() == [[1, 0, 1, 2, 3], [0, 1, 2, 3, 4]]
    assert room.per_token["kinds"].tolist() == [[0, 0, 0, 1, 0], [0, 0, 1, 0, 1]]
    assert room.per_token["seen"][..., 0].tolist() == [[1, 0, 0, 1, 1], [0, 0, 1, 1, 1]]


@pytest.mark.slow
def test_a_beginning_is_drawn_from_its_seed(backend: Any):
    def begun(form: Any, seed: int) -> torch.Tensor:
        before = torch.random.get_rng_state()
        with adapted(backend, form, seed) as inside:
            drawn = torch.cat([w.detach().flatten() for w in inside.parameters.values()])
        assert torch.equal(torch.random.get_rng_state(), before)
        return drawn

    for form in FORMS:
        assert torch.equal(begun(form, 1), begun(form, 1))
        assert not torch.equal(begun(form, 1), begun(form, 2))
