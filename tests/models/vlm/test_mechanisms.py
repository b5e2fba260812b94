"""Measures of what a vector does inside, on other architectures than the bundled ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import Edit
from mfv_dsl.methods.attention_maps import AttentionHead, attention_weights
from mfv_dsl.methods.lens import answer_curve
from mfv_dsl.methods.logit_attribution import logit_attribution
from mfv_dsl.methods.paths import vector_paths
from mfv_dsl.models.patches import token_patches
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from tests.models.vlm.test_linearisation import gained
from tests.models.vlm.test_passes import batch_of

Loaded = Callable[[str], VisionLanguageModel]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma3", "qwen3_vl", "mllama", "idefics"])
@torch.no_grad()
def test_shares_and_paths(name: str, loaded: Loaded):
    """Shares add up where a norm stands behind heads, and where cross-attention is told as a whole;
    a reader that sees nothing new changes nothing."""
    model = gained(loaded(name)) if name == "gemma3" else loaded(name)
    batch, last = batch_of(model), model.facts.n_layers - 1
    rows = torch.arange(len(batch))
    vector = torch.randn(model.facts.d_model, generator=torch.Generator().manual_seed(0))
    edits = [Edit("lm.resid", 0, "add", vector)]
    found = logit_attribution(model, [batch], edits)
    np.testing.assert_allclose(found.shares.sum(-1), found.logits, atol=1e-9)
    wanted = model.forward(batch)[rows, batch.answers]
    np.testing.assert_allclose(found.logits[0], wanted, atol=2e-4)
    if name in ("gemma3", "qwen3_vl"):
        other = [i for i, part in enumerate(found.parts) if part.kind in ("other", "bias")]
        assert np.abs(found.shares[..., other]).max() < 1e-3  # all is told by head and MLP
    if name == "idefics":
        with pytest.raises(MfvError) as caught:
            vector_paths(model, [batch], edits)
        assert caught.value.code == "MFV5581"
        return
    paths = vector_paths(model, [batch], [Edit("lm.resid", 0, "add", 0 * vector)])
    for values in (paths.sent, paths.to_answer, paths.removed):
        np.testing.assert_allclose(
            values[..., 0], np.broadcast_to(paths.unedited[:, None, 0], values.shape[:2]), atol=1e-4
        )
    paths = vector_paths(model, [batch], edits)
    assert max(reader.layer for reader in paths.readers) == last
    mlp = [r.site == "lm.mlp" and r.layer == last for r in paths.readers].index(True)
    np.testing.assert_allclose(paths.sent[:, mlp], paths.to_answer[:, mlp], atol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_patches_of_a_picture_with_a_grid(loaded: Loaded):
    model = loaded("qwen3_vl")
    batch = batch_of(model, (1,), ((56, 112),))
    grids = token_patches(model, batch)
    tokens = batch.tokens[0].tolist()
    for patches in grids:
        count = patches.rows * patches.columns
        own = tokens[patches.first : patches.first + count]
        assert own == [model.image_token] * count
        assert patches.columns == 2 * patches.rows or patches.rows == 2 * patches.columns
    assert sum(p.rows * p.columns for p in grids) == tokens.count(model.image_token)
    (weights,) = attention_weights(model, batch, [AttentionHead("lm.attn", 1, 0)])
    assert weights[0, 0].sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_of_a_model_without_a_shared_prefix(loaded: Loaded):
    """Its lens is read by full passes; its attention's weights are not had."""
    model = loaded("paligemma")
    batch = batch_of(model)
    with pytest.raises(MfvError) as caught:
        attention_weights(model, batch, [AttentionHead("lm.attn", 1, 0)])
    assert caught.value.code == "MFV5588"
    curve = answer_curve(
        model, [batch], [Edit("lm.resid", 0, "add", torch.ones(model.facts.d_model))]
    )
    rows = torch.arange(len(batch))
    wanted = model.forward(batch).double().log_softmax(-1)[rows, batch.answers]
    np.testing.assert_allclose(curve.log_p[0, :, -1], wanted, atol=1e-4)
