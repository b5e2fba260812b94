"""The logit lens against the models' own modules; the tuned lens against the logit lens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.inputs import open_model
from mfv_dsl.library.lens_file import load_lens, save_lens
from mfv_dsl.methods.lens import TunedLens, answer_curve, train_lens
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.methods.plain import Plain, hooked, plus
from tests.methods.support import batches


@pytest.fixture(scope="module")
def models(tiny: OpenFlamingo) -> dict[str, Any]:
    return {"tiny": tiny, "llava": open_model('tiny("llava")')}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "llava"])
@torch.no_grad()
def test_the_logit_lens(name: str, models: Any, scenes: Scenes):
    model = models[name]
    (batch,) = batches(model, scenes, "left", "test", 3, 3)
    vector = torch.randn(model.facts.d_model, generator=torch.Generator().manual_seed(1))
    curve = answer_curve(model, [batch[:1], batch[1:]], [Edit("lm.resid", 2, "add", vector)])
    plain, rows = Plain(model), torch.arange(3)
    for condition, change in enumerate((lambda x: x, lambda x: plus(x, vector))):
        with hooked(plain.layers[2]["block"], "output", change):
            states = plain.stream(batch)
            last = model.forward(batch)
        for layer, state in enumerate(states):
            logits = plain.head(plain.norm(state)).double()
            wanted = logits.log_softmax(-1)[rows, batch.answers]
            np.testing.assert_allclose(curve.log_p[condition, :, layer], wanted, atol=1e-5)
            rank = (logits > logits[rows, batch.answers][:, None]).sum(-1)
            np.testing.assert_array_equal(curve.rank[condition, :, layer], rank)
            np.testing.assert_array_equal(curve.likeliest[condition, :, layer], logits.argmax(-1))
        wanted = last.double().log_softmax(-1)[rows, batch.answers]
        np.testing.assert_allclose(curve.log_p[condition, :, -1], wanted, atol=1e-5)


@pytest.mark.slow
def test_a_tuned_lens_is_nearer_to_the_model(models: Any, scenes: Scenes, tmp_path: Path):
    model = models["llava"]
    own = batches(model, scenes, "left", "train", 48, 48)
    held_out = batches(model, scenes, "right", "validation", 20, 20)
    told: list[int] = []
    lens = train_lens(model, own, own, epochs=60, progress=told.append)
    assert sum(told) == 60 * (model.facts.n_layers - 1)
    assert (lens.divergences[:, 1] < 0.7 * lens.divergences[:, 0]).all()
    again = train_lens(model, own, own, epochs=60)
    assert torch.equal(lens.weights, again.weights) and torch.equal(lens.biases, again.biases)
    curve, logit = answer_curve(model, held_out, lens=lens), answer_curve(model, held_out)
    np.testing.assert_allclose(curve.log_p[..., -1], logit.log_p[..., -1])  # nothing to translate
    assert not np.allclose(curve.log_p[..., 0], logit.log_p[..., 0])
    file = tmp_path / "lens.safetensors"
    save_lens(lens, file)
    first = file.read_bytes()
    loaded = load_lens(file)
    assert torch.equal(loaded.weights, lens.weights) and torch.equal(loaded.biases, lens.biases)
    save_lens(loaded, file)
    assert file.read_bytes() == first
    with pytest.raises(MfvError) as caught:
        answer_curve(models["tiny"], held_out, lens=loaded)
    assert caught.value.code == "MFV5584"


def test_what_a_translator_does():
    weights, biases = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]), torch.tensor([[0.0, 3.0]])
    lens = TunedLens("f", weights, biases, np.zeros((1, 2)))
    states = torch.tensor([[1.0, 2.0]])
    assert lens.translated(0, states).tolist() == [[3.0, 5.0]]
    assert lens.translated(1, states) is states


def test_files_that_hold_no_lens(tmp_path: Path):
    from safetensors.torch import save_file

    file = tmp_path / "lens.safetensors"
    good = TunedLens("f", torch.zeros(1, 2, 2), torch.zeros(1, 2), np.zeros((1, 2)))

    def refused() -> str:
        with pytest.raises(MfvError) as caught:
            load_lens(file)
        assert caught.value.code == "MFV5585"
        return caught.value.message

    assert "no such file" in refused()
    file.write_bytes(b"not a lens")
    assert "holds no lens" in refused()
    save_file({"weights": torch.zeros(1)}, str(file))
    assert "holds no lens" in refused()
    save_lens(TunedLens("f", torch.zeros(1, 2, 3), good.biases, good.divergences), file)
    assert "do not fit" in refused()
    save_lens(TunedLens("f", good.weights / 0, good.biases, good.divergences), file)
    assert "not all finite" in refused()
    with pytest.raises(MfvError) as caught:
        save_lens(good, tmp_path)
    assert caught.value.code.startswith("MFV61")
