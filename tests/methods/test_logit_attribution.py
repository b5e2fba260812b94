"""Direct logit attribution: shares that add up, each held against the model's own modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.inputs import open_model
from mfv_dsl.methods.linear_norm import linear_norm
from mfv_dsl.methods.logit_attribution import Part, logit_attribution
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.cases import one_quick
from tests.methods.plain import Plain, hooked, plus
from tests.methods.support import batches


@pytest.fixture(scope="module")
def models(tiny: OpenFlamingo) -> dict[str, Any]:
    return {"tiny": tiny, "llava": open_model('tiny("llava")')}


def direction(model: Any) -> torch.Tensor:
    numbers = torch.randn(model.facts.d_model, generator=torch.Generator().manual_seed(5))
    return 4 * numbers / numbers.norm()


@pytest.mark.parametrize("name", ["tiny", "llava"])
@pytest.mark.parametrize("site", one_quick(["lm.resid", "lm.attn.out", "lm.mlp"]))
@torch.no_grad()
def test_shares_add_up_to_the_logit(name: str, site: str, models: Any, scenes: Scenes):
    model, vector = models[name], direction(models[name])
    (batch,) = batches(model, scenes, "left", "test", 3, 3)
    plain = Plain(model)
    edit = Edit(site, 2, "add", vector)
    module = plain.layers[2]["block"] if site == "lm.resid" else model.model.get_submodule(
        model.sites[site].module_path(2)
    )  # fmt: skip
    logits = [model.forward(batch)]
    with hooked(module, "output", lambda x: plus(x, vector)):
        logits.append(model.forward(batch))
    rows, others = torch.arange(3), list(range(20, 40))
    found = logit_attribution(model, [batch], [edit])
    wanted = np.stack([each[rows, batch.answers].numpy() for each in logits])
    np.testing.assert_allclose(found.shares.sum(-1), found.logits, atol=1e-10)
    np.testing.assert_allclose(found.logits, wanted, atol=2e-5)
    found = logit_attribution(model, [batch[:2], batch[2:]], [edit], others)
    np.testing.assert_allclose(found.shares.sum(-1), found.logits, atol=1e-10)
    for row, answer in enumerate(batch.answers.tolist()):
        mean = torch.stack(logits)[:, row, [c for c in others if c != answer]].double().mean(-1)
        np.testing.assert_allclose(found.logits[:, row], wanted[:, row] - mean.numpy(), atol=2e-5)
    assert found.relative and found.shares.shape == (2, 3, len(found.parts))
    others_share = [i for i, part in enumerate(found.parts) if part.kind == "other"]
    assert np.abs(found.shares[..., others_share]).max() < 1e-4  # all is told


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "llava"])
@torch.no_grad()
def test_a_share_is_what_the_part_writes(name: str, models: Any, scenes: Scenes):
    """With the norm's scale held, the logit changes by a part's share when the part is taken out of
    the final state."""
    model = models[name]
    (batch,) = batches(model, scenes, "below", "test", 2, 2)
    plain, rows = Plain(model), torch.arange(2)
    found = logit_attribution(model, [batch])
    last = plain.stream(batch)[-1].double()
    norm = nn.LayerNorm if isinstance(plain.norm, nn.LayerNorm) else None
    centred = last - last.mean(-1, keepdim=True) if norm else last
    eps = plain.norm.eps if norm else plain.norm.variance_epsilon
    scale = (centred.square().mean(-1, keepdim=True) + eps).rsqrt()
    answers = plain.head.weight.double()[batch.answers]
    of_site = {"head": "lm.attn", "mlp": "lm.mlp", "cross head": "xattn", "cross mlp": "xattn.mlp"}
    seen = set()
    for number, part in enumerate(found.parts):
        if part.kind not in of_site or (part.head or 0) % 3:
            continue
        assert part.layer is not None
        output = plain.output(batch, of_site[part.kind], part.layer)
        kept = torch.zeros_like(output)
        width = output.shape[-1] // (1 if part.head is None else model.facts.n_heads)
        own = slice((part.head or 0) * width, ((part.head or 0) + 1) * width)
        kept[:, own] = output[:, own]
        written = plain.written(of_site[part.kind], part.layer, kept).double()
        written = written - written.mean(-1, keepdim=True) if norm else written
        wanted = (written * scale * plain.norm.weight.double() * answers).sum(-1)
        np.testing.assert_allclose(found.shares[0, :, number], wanted, atol=2e-5)
        seen.add(part.kind)
    assert seen == (set(of_site) if name == "tiny" else {"head", "mlp"})
    start = found.parts.index(Part("embedding"))
    assert np.isfinite(found.shares[0, rows.numpy(), start]).all()


def test_norms_are_linear_at_their_own_scale():
    torch.manual_seed(0)
    states = torch.randn(4, 8)
    norm = nn.LayerNorm(8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    for each in (norm, nn.LayerNorm(8, elementwise_affine=False), nn.RMSNorm(8)):
        linear = linear_norm(each, states)
        readout = torch.randn(4, 8)
        wanted = (each(states).detach().double() * readout).sum(-1)
        found = (states.double() * linear.direction(readout)).sum(-1) + readout.double() @ (
            linear.bias
        )
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    with pytest.raises(MfvError) as caught:
        linear_norm(nn.Tanh(), states)
    assert caught.value.code == "MFV5580"


def test_parts_have_names():
    parts = (Part("head", 2, 3), Part("cross head", 0, 1), Part("mlp", 4), Part("cross mlp", 0))
    assert [str(part) for part in parts] == ["L2H3", "X0H1", "MLP 4", "cross-attention MLP 0"]
    assert [str(Part("other", 3)), str(Part("vector"))] == ["other 3", "vector"]
