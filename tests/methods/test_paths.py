"""Path patching against plain hooks on whole prompts."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.inputs import open_model
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.injections import Reader
from mfv_dsl.methods.paths import VectorPaths, vector_paths
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.methods.plain import Plain, hooked, plus
from tests.methods.support import batches


@pytest.fixture(scope="module")
def models(tiny: OpenFlamingo) -> dict[str, Any]:
    return {"tiny": tiny, "llava": open_model('tiny("llava")')}


def direction(model: Any, length: float = 4.0) -> torch.Tensor:
    numbers = torch.randn(model.facts.d_model, generator=torch.Generator().manual_seed(3))
    return length * numbers / numbers.norm()


#: Tokens that logits are compared with.
OTHERS = list(range(10, 30))


def worth(plain: Plain, last: torch.Tensor, batch: Any) -> torch.Tensor:
    """The answer's log-probability, and its logit less the mean of the others', (prompts, 2)."""
    logits, rows = plain.head(plain.norm(last)).double(), torch.arange(len(batch))
    others = [
        row[[token for token in OTHERS if token != answer]].mean()
        for row, answer in zip(logits, batch.answers.tolist(), strict=True)
    ]
    own = logits[rows, batch.answers]
    return torch.stack([logits.log_softmax(-1)[rows, batch.answers], own - torch.stack(others)], 1)


@torch.no_grad()
def reference(
    plain: Plain, batch: Any, vector: torch.Tensor, layer: int, reader: Reader
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``sent``, ``to_answer`` and ``removed`` of one reader, by their definition."""
    place = reader.site, reader.layer
    width = plain.output(batch, *place).shape[-1]
    heads = plain.backend.sites[reader.site].heads or 1
    part = slice(None) if reader.head is None else slice(
        reader.head * width // heads, (reader.head + 1) * width // heads
    )  # fmt: skip
    before = plain.output(batch, *place)
    with plain.seeing(*place, vector):
        sees = plain.output(batch, *place)
    with plain.putting_out(*place, reader.head, sees[:, part]):
        sent = worth(plain, plain.stream(batch)[-1], batch)
    change = torch.zeros_like(before)
    change[:, part] = (sees - before)[:, part]
    last = plain.stream(batch)[-1] + plain.written(*place, change)
    to_answer = worth(plain, last, batch)
    injecting = hooked(plain.layers[layer]["block"], "output", lambda x: plus(x, vector))
    with ExitStack() as stack:
        stack.enter_context(injecting)
        with plain.seeing(*place, -vector):
            blind = plain.output(batch, *place)
        stack.enter_context(plain.putting_out(*place, reader.head, blind[:, part]))
        removed = worth(plain, plain.stream(batch)[-1], batch)
    return sent, to_answer, removed


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer"), [("tiny", 3), ("llava", 1)])
@torch.no_grad()
def test_paths_are_those_of_plain_hooks(name: str, layer: int, models: Any, scenes: Scenes):
    model, vector = models[name], direction(models[name])
    (batch,) = batches(model, scenes, "left", "test", 2, 2)
    added = Vector(vector, Space(model.facts.fingerprint, model.facts.d_model))
    paths = vector_paths(model, [batch], adding(added, layer, 1.0), OTHERS)
    plain = Plain(model)
    np.testing.assert_allclose(paths.unedited[:, 0], plain.log_p(batch), atol=1e-5)
    with hooked(plain.layers[layer]["block"], "output", lambda x: plus(x, vector)):
        np.testing.assert_allclose(paths.injected[:, 0], plain.log_p(batch), atol=1e-5)
    unedited = plain.stream(batch)[-1]
    np.testing.assert_allclose(paths.unedited, worth(plain, unedited, batch), atol=2e-5)
    np.testing.assert_allclose(paths.straight, worth(plain, unedited + vector, batch), atol=2e-5)
    sites = {reader.site for reader in paths.readers}
    assert sites == ({"lm.attn", "lm.mlp"} | ({"xattn", "xattn.mlp"} if name == "tiny" else set()))
    chosen = [
        *[number for number, reader in enumerate(paths.readers) if reader.head is None],
        *range(0, len(paths.readers), 7),
    ]
    largest = 0.0
    for number in chosen:
        wanted = reference(plain, batch, vector, layer, paths.readers[number])
        for values, want in zip((paths.sent, paths.to_answer, paths.removed), wanted, strict=True):
            np.testing.assert_allclose(values[:, number], want, atol=2e-5)
            largest = max(largest, float(np.abs(values[:, number] - paths.unedited).max()))
    assert largest > 0.01  # something does read it


@torch.no_grad()
def test_of_readers_behind_the_vector_only(models: Any, scenes: Scenes):
    model = models["llava"]
    (batch,) = batches(model, scenes, "above", "test", 2, 2)
    added = Vector(direction(model), Space(model.facts.fingerprint, model.facts.d_model))
    last = model.facts.n_layers - 1
    with pytest.raises(MfvError) as caught:  # nothing reads what is added behind all layers
        vector_paths(model, [batch], adding(added, last, 1.0))
    assert caught.value.code == "MFV5583"
    paths = vector_paths(model, [batch], adding(added, last - 1, 1.0))
    assert {reader.layer for reader in paths.readers} == {last}
    assert len(paths.readers) == model.facts.n_heads + 1
    effects = paths.effects("p")
    p = [np.exp(each[:, 0]) for each in (paths.unedited, paths.injected)]
    np.testing.assert_allclose(effects["total"], p[1] - p[0])
    assert np.isnan(paths.effects("logit")["sent"]).all()  # without candidates
    table = paths.of_heads(effects["removed"].mean(0), model.facts.n_layers)
    assert table.shape == (model.facts.n_layers, model.facts.n_heads)
    assert np.isnan(table[:last]).all() and np.isfinite(table[last]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "llava"])
@torch.no_grad()
def test_a_vector_in_parts(name: str, models: Any, scenes: Scenes):
    """Added at an attention's output it reaches that layer's MLP; the last reader that it reaches
    has the straight path alone beside it."""
    model = models[name]
    (batch,) = batches(model, scenes, "right", "test", 2, 2)
    vector, last = direction(model), model.facts.n_layers - 1
    edits = [Edit("lm.attn.out", last, "add", vector), Edit("lm.mlp", 0, "add", 0 * vector)]
    paths = vector_paths(model, [batch], edits)
    (place,) = [i for i, r in enumerate(paths.readers) if (r.site, r.layer) == ("lm.mlp", last)]
    assert paths.readers[place].head is None
    plain = Plain(model)
    with plain.seeing("lm.mlp", last, vector):
        np.testing.assert_allclose(paths.sent[:, place, 0], plain.log_p(batch), atol=1e-5)
    np.testing.assert_allclose(paths.sent[:, place], paths.to_answer[:, place], atol=1e-5)
    np.testing.assert_allclose(paths.removed[:, place], paths.straight, atol=1e-5)


def test_edits_whose_paths_are_not_known(models: Any, scenes: Scenes):
    model = models["llava"]
    (batch,) = batches(model, scenes, "left", "test", 1, 1)
    vector = direction(model)
    for edit in (
        Edit("lm.resid", 1, "replace", vector),
        Edit("lm.resid", 1, "add", vector, positions=None),
        Edit("lm.resid", 1, "add", vector, length="kept"),
        Edit("lm.resid", 1, "add", vector, when=torch.tensor([True])),
        Edit("lm.attn", 1, "add", torch.zeros(model.facts.n_heads, model.facts.head_dim)),
    ):
        with pytest.raises(MfvError) as caught:
            vector_paths(model, [batch], [edit])
        assert caught.value.code == "MFV5582"


def test_what_paths_are_shown_as():
    paths = VectorPaths((), *(np.zeros((1, 2)),) * 3, *(np.zeros((1, 0, 2)),) * 3)
    assert len(repr(paths)) < 200
    assert str(Reader(3, "lm.attn", 1)) == "L3H1" and str(Reader(2, "xattn", 0)) == "X2H0"
    assert str(Reader(3, "lm.mlp")) == "MLP 3"
