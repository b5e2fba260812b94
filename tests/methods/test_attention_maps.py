"""Attention weights and maps against the models' own attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.inputs import open_model
from mfv_dsl.methods.attention_maps import AttentionHead, attention_maps, attention_weights
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.patches import latent_patches, token_patches
from tests.methods.plain import Plain, hooked, plus
from tests.methods.support import batches


@pytest.fixture(scope="module")
def llava() -> Any:
    return open_model('tiny("llava")')


def direction(model: Any) -> torch.Tensor:
    numbers = torch.randn(model.facts.d_model, generator=torch.Generator().manual_seed(7))
    return 4 * numbers / numbers.norm()


@torch.no_grad()
def test_weights_are_those_of_transformers(llava: Any, scenes: Scenes):
    """Two prompts of different lengths, so that one is padded."""
    first, second = (batches(llava, scenes, "left", "test", 1, 1, shots) for shots in (0, 1))
    prompts = [first[0].prompts[0], second[0].prompts[0]]
    batch, vector, config = llava.batch(prompts, scenes), 10 * direction(llava), llava.model.config
    heads = [AttentionHead("lm.attn", layer, head) for layer in (0, 3, 4) for head in (0, 1)]
    found = attention_weights(llava, batch, heads, [Edit("lm.resid", 2, "add", vector)])
    text = config.get_text_config()
    usual = text._attn_implementation
    text._attn_implementation = "eager"
    arguments = {
        "input_ids": batch.tokens, "attention_mask": batch.mask, "output_attentions": True,
        "position_ids": batch.positions, **llava.encoder.arguments(batch.media),
    }  # fmt: skip
    try:
        wanted = [llava.model(**arguments).attentions]
        with hooked(llava.layers[2], "output", lambda x: plus(x, vector)):
            wanted.append(llava.model(**arguments).attentions)
    finally:
        text._attn_implementation = usual
    length = batch.tokens.shape[1]
    changed = 0.0
    for head, weights in zip(heads, found, strict=True):
        for condition in range(weights.shape[1]):
            own = wanted[condition][head.layer][:, head.head, -1].clone()
            own[0, batch.mask[0] == 0] = 0
            np.testing.assert_allclose(weights[:, condition, -length:], own, atol=1e-6)
        assert weights.shape[1] == 2
        changed = max(changed, float(np.abs(weights[:, -1] - weights[:, 0]).max()))
    assert changed > 1e-3


@torch.no_grad()
def test_maps_of_picture_tokens(llava: Any, scenes: Scenes):
    (batch,) = batches(llava, scenes, "above", "test", 1, 1, shots=1)
    pictures = scenes.pictures(batch.prompts[0].images, 40)
    (found,) = attention_maps(llava, batch, pictures, [AttentionHead("lm.attn", 3, 1)])
    ((weights,),) = attention_weights(llava, batch, [found.head])
    of_pictures = (batch.tokens[0] == llava.image_token).numpy()
    own = weights[0][-len(of_pictures) :][of_pictures]
    np.testing.assert_array_equal(np.concatenate([m[0].ravel() for m in found.pictures]), own)
    assert [m.shape for m in found.pictures] == [(1, 4, 4), (1, 4, 4)]
    assert 0 < found.on_pictures[0] <= 1 and found.latents is None
    assert [patches.rows for patches in token_patches(llava, batch)] == [4, 4]


@torch.no_grad()
def test_weights_of_a_flamingo(tiny: OpenFlamingo, scenes: Scenes):
    """Cross-attention by open_flamingo's own modules, self-attention by what its heads put out."""
    (batch,) = batches(tiny, scenes, "left", "test", 2, 2, shots=1)
    plain, vector = Plain(tiny), direction(tiny)
    heads = [AttentionHead("xattn", 5, 0), AttentionHead("xattn", 5, 6)]
    found = attention_weights(tiny, batch, heads, [Edit("lm.resid", 2, "add", vector)])
    attention = plain.layers[5]["block"].gated_cross_attn_layer.attn
    keys = attention.to_kv(batch.media[:, -1]).chunk(2, -1)[0].unflatten(-1, (8, -1))
    states = []
    for change in (lambda x: x, lambda x: plus(x, vector)):
        with hooked(plain.layers[2]["block"], "output", change):
            states.append(plain._state(batch, plain.layers[4]["block"]))
    for head, weights in zip(heads, found, strict=True):
        for condition, state in enumerate(states):
            query = attention.to_q(attention.norm(state)).unflatten(-1, (8, -1))[:, head.head]
            scores = torch.einsum("bd,bld->bl", query * attention.scale, keys[:, :, head.head])
            np.testing.assert_allclose(weights[:, condition], scores.softmax(-1), atol=1e-6)
    ((weights,),) = (attention_weights(tiny, batch[:1], [AttentionHead("lm.attn", 5, 2)]),)
    assert weights.shape[:2] == (1, 1) and weights.sum() == pytest.approx(1, abs=1e-6)


@torch.no_grad()
def test_maps_through_latents(tiny: OpenFlamingo, scenes: Scenes):
    (batch,) = batches(tiny, scenes, "left", "test", 1, 1, shots=1)
    pictures = scenes.pictures(batch.prompts[0].images, tiny.image_size)
    head = AttentionHead("xattn", 5, 6)
    (found,) = attention_maps(tiny, batch, pictures, [head])
    seen = latent_patches(tiny, pictures[-1])
    perceiver: Any = tiny.model.perceiver
    patches = tiny.model.vision_encoder(tiny.preprocess([pictures[-1]]))[1]
    attention = perceiver.layers[-1][0]
    latents = perceiver.latents[None]  # it has one layer
    normed, own = attention.norm_media(patches), attention.norm_latents(latents)
    heads = attention.heads
    query = attention.to_q(own)[0].unflatten(-1, (heads, -1)).transpose(0, 1)
    keys = attention.to_kv(torch.cat([normed, own], 1))[0].chunk(2, -1)[0]
    keys = keys.unflatten(-1, (heads, -1)).transpose(0, 1)
    wanted = (query @ keys.transpose(1, 2) * attention.scale).softmax(-1)[..., :16].mean(0)
    np.testing.assert_allclose(seen.reshape(16, 16), wanted, atol=1e-6)
    assert found.latents is not None and found.latents.shape == (1, 16)
    np.testing.assert_allclose(
        found.pictures[0].reshape(1, 16), found.latents @ wanted.numpy(), atol=1e-6
    )


def test_several_heads_look_at_a_picture_that_is_encoded_once(tiny: OpenFlamingo, scenes: Scenes):
    (batch,) = batches(tiny, scenes, "left", "test", 1, 1)
    pictures = scenes.pictures(batch.prompts[0].images, tiny.image_size)
    heads = [AttentionHead("xattn", 5, head) for head in range(3)]
    attention_maps(tiny, batch, pictures, heads)  # what is kept of pictures is kept now
    calls: list[int] = []
    encoder: Any = tiny.model.vision_encoder
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        counts = []
        for some in (heads[:1], heads):
            calls.clear()
            attention_maps(tiny, batch, pictures, some)
            counts.append(len(calls))
    finally:
        hook.remove()
    assert counts[0] == counts[1] > 0


def test_what_is_refused(tiny: OpenFlamingo, llava: Any, scenes: Scenes):
    (batch,) = batches(tiny, scenes, "left", "test", 1, 1)
    pictures = scenes.pictures(batch.prompts[0].images, tiny.image_size)

    def code(model: Any, batch: Any, site: str, layer: int, head: int) -> str:
        with pytest.raises(MfvError) as caught:
            attention_maps(model, batch, pictures, [AttentionHead(site, layer, head)])
        return caught.value.code

    assert code(tiny, batch, "lm.attn", 3, 1) == "MFV5586"  # its pictures are no tokens
    assert code(tiny, batch, "xattn", 4, 0) == "MFV5103"
    assert code(tiny, batch, "xattn", 1, 8) == "MFV5104"
    (of_llava,) = batches(llava, scenes, "left", "test", 1, 1)
    assert code(llava, of_llava, "xattn", 0, 0) == "MFV5102"
    assert code(llava, of_llava, "lm.attn", 6, 0) == "MFV5103"
    assert code(llava, of_llava, "lm.attn", 0, -1) == "MFV5104"
