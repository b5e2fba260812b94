"""Sites beyond the heads of self-attention: cross-attention, and where pictures are encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate_texts
from mfv_dsl.engine.pictures import edit_pictures
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.foreign import hookpoint_of
from mfv_dsl.library.hookpoints import layer_of_path
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.attribution import attribute
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.mediation import mediate, mediate_plain
from mfv_dsl.methods.selection import output_norms, top_heads
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from tests.models.vlm.test_passes import batch_of, in_double, pictures, text
from tests.models.vlm.zoo import ZOO

Loaded = Callable[[str], VisionLanguageModel]
SHOTS = (2, 1)


@contextmanager
def added_by_hand(model: VisionLanguageModel, path: str, value: torch.Tensor) -> Iterator[None]:
    """A hook on a module of the model, placed without the engine: ``value`` is added to all that
    the module puts out.  It comes first, as transformers' own hooks keep the states that features
    are made of."""

    def change(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + value, *output[1:])
        return output + value

    handle = model.model.get_submodule(path).register_forward_hook(change, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def own_inputs(model: VisionLanguageModel, shots: tuple[int, ...] = SHOTS) -> dict[str, Any]:
    """What the model's processor makes of the prompts and pictures of ``batch_of``."""
    texts = [text(model, k) for k in shots]
    shown = [
        [Image.fromarray(picture) for picture in pictures(k + 1, seed)]
        for seed, k in enumerate(shots)
    ]
    if model.architecture.features == "perceiver":
        mark = model.architecture.mark
        rows = []
        for row, images in zip(texts, shown, strict=True):
            pieces = row.split(mark)[1:]
            rows.append(
                [part for pair in zip(images, pieces, strict=True) for part in pair if part]
            )
        inputs = model.processor(text=rows, return_tensors="pt", padding=True)
    else:
        inputs = model.processor(text=texts, images=shown, return_tensors="pt", padding=True)
    return {name: value for name, value in inputs.items() if name != "labels"}


def picture_edits(model: VisionLanguageModel) -> Iterator[Edit]:
    """One at every layer of the sites where pictures are encoded, at all their places."""
    generator = torch.Generator().manual_seed(2)
    for name in ("vision", "projector"):
        site = model.sites[name]
        for layer in site.layers:
            value = torch.randn(site.width, generator=generator)
            yield Edit(name, layer, "add", value, positions=None)


# -- where pictures are encoded -------------------------------------------------------------------
@pytest.mark.parametrize("name", [
    name if name == "llava" else pytest.param(name, marks=pytest.mark.slow) for name in ZOO
])  # fmt: skip
@torch.no_grad()
def test_an_edit_of_pictures_is_a_hook_on_the_models_own_call(name: str, loaded: Loaded):
    model = loaded(name)
    batch, inputs = batch_of(model, SHOTS), own_inputs(model)
    unedited = model.forward(batch).log_softmax(-1)
    effects: dict[str, float] = {}
    for edit in picture_edits(model):
        site = model.sites[edit.site]
        read = Read(edit.site, edit.layer, positions=None)
        done = full_pass(model, batch, [edit], [read])
        ours = done.logits.log_softmax(-1)
        with added_by_hand(model, site.module_path(edit.layer), edit.value):
            own = model.model(**inputs).logits[:, -1].log_softmax(-1)
        torch.testing.assert_close(ours, own, atol=1e-4, rtol=0)
        without = full_pass(model, batch, reads=[read]).readings[0]
        assert done.readings[0].shape[-1] == site.width
        assert not torch.equal(done.readings[0], without)
        effect = float((ours - unedited).abs().max())
        effects[edit.site] = max(effect, effects.get(edit.site, 0))
    assert min(effects.values()) > 1e-3 and len(effects) == 2
    assert torch.equal(model.forward(batch).log_softmax(-1), unedited)  # nothing is left behind


@torch.no_grad()
def test_an_edit_reaches_the_states_that_features_are_made_of(loaded: Loaded):
    """The last but one layer of this tower is what its projector takes, by a hook of transformers'
    that is there since the first call."""
    model = loaded("llava")
    batch = batch_of(model)
    value = torch.ones(model.sites["vision"].width)
    changed = full_pass(model, batch, [Edit("vision", 1, "add", value, positions=None)]).logits
    assert float((changed - model.forward(batch)).abs().max()) > 0.01


@torch.no_grad()
def test_readings_are_of_each_different_picture_in_its_turn(loaded: Loaded):
    model = loaded("llava")
    first, second = pictures(2)
    batch = model.texts([text(model, 1)] * 2, [[first, second], [second, first]])
    read = Read("vision", 0, positions=None)
    one, two = (
        full_pass(model, model.texts([text(model, 0)], [[picture]]), reads=[read]).readings[0]
        for picture in (first, second)
    )
    both = full_pass(model, batch, reads=[read]).readings[0]
    torch.testing.assert_close(both, torch.cat([one, two]))
    last = full_pass(model, batch, reads=[Read("vision", 0)]).readings[0]
    torch.testing.assert_close(last, both[:, -1:])


@torch.no_grad()
def test_one_place_of_every_picture(loaded: Loaded):
    model = loaded("qwen3_vl")
    batch = batch_of(model)
    value = torch.randn(model.sites["projector"].width)
    reads = [Read("projector", 0, positions=None)]
    edit = Edit("projector", 0, "replace", value, positions=(-2,))
    (plain,) = full_pass(model, batch, reads=reads).readings
    (done,) = full_pass(model, batch, [edit], reads).readings
    torch.testing.assert_close(done[:, -2], value.expand(len(done), -1))
    torch.testing.assert_close(done[:, [0, 1, -1]], plain[:, [0, 1, -1]])


@torch.no_grad()
def test_a_batch_of_edited_pictures_is_a_batch_as_any_other(loaded: Loaded):
    model = loaded("llava")
    batch = batch_of(model)
    of_pictures = next(picture_edits(model))
    added = Edit("lm.resid", 1, "add", torch.ones(model.facts.d_model))
    both = full_pass(model, batch, [of_pictures, added]).logits.log_softmax(-1)
    edited, others = edit_pictures(model, batch, [of_pictures, added])
    assert others == [added]
    scores = encode_prefix(model, edited).scores([others])
    expected = both.gather(1, batch.answers[:, None])
    torch.testing.assert_close(scores.log_p, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_generation_with_edited_pictures(loaded: Loaded):
    model = loaded("llava")
    *_, edit = picture_edits(model)
    asked = ([text(model, 0)], [pictures(1)], 6)
    ours = generate_texts(model, *asked, edits=[edit])
    with added_by_hand(model, model.sites[edit.site].path, edit.value):
        assert generate_texts(model, *asked) == ours
    assert generate_texts(model, *asked) != ours


@torch.no_grad()
def test_a_users_own_call(loaded: Loaded):
    model = loaded("llava")
    edit = next(picture_edits(model))
    inputs = own_inputs(model)
    with HookPlan.of(model, [edit]).attach():
        ours = model.model(**inputs).logits[:, -1]
    path = model.sites[edit.site].module_path(edit.layer)
    with added_by_hand(model, path, edit.value):
        torch.testing.assert_close(ours, model.model(**inputs).logits[:, -1])


def test_what_is_refused_where_pictures_are_encoded(loaded: Loaded):
    model = loaded("qwen3_vl")
    batch = batch_of(model, (2, 1))
    width = model.sites["vision"].width
    with pytest.raises(MfvError, match="before any token") as raised:
        encode_prefix(model, batch).scores([[Edit("vision", 0, "add", torch.ones(width))]])
    assert raised.value.code == "MFV7289"
    with pytest.raises(MfvError, match="one value for all") as raised:
        full_pass(model, batch, [Edit("vision", 0, "add", torch.ones(2, width))])
    assert raised.value.code == "MFV7291"
    mixed = batch_of(model, (1,), ((56, 56), (112, 128)))
    with pytest.raises(MfvError, match="different numbers of places") as raised:
        full_pass(model, mixed, reads=[Read("vision", 0, positions=None)])
    assert raised.value.code == "MFV7290"
    assert full_pass(model, mixed, reads=[Read("vision", 0)]).readings[0].shape == (2, 1, width)
    blind = model.texts(["Q:mug. A:"], [[]])
    with pytest.raises(MfvError, match="never fired") as raised:
        full_pass(model, blind, reads=[Read("vision", 0)])
    assert raised.value.code == "MFV5101"


# -- cross-attention, and layers without heads ----------------------------------------------------
@pytest.mark.parametrize(("name", "layers"), [
    ("mllama", (1, 3)), ("idefics", (0, 2)),
])  # fmt: skip
@pytest.mark.slow
def test_heads_of_cross_attention_are_ranked_as_those_of_self_attention(
    name: str, layers: tuple[int, ...], loaded: Loaded
):
    model = in_double(loaded(name))
    batch = batch_of(model)
    twins = batch_of(model, (1, 2))
    mean = task_mean(model, [batch], "left", correct_only=False, site="xattn").mean
    assert mean.shape == (2, 4, model.facts.head_dim) and bool(mean.isfinite().all())
    exact = mediate(model, [twins], "left", mean, site="xattn")
    plain = mediate_plain(model, [twins], "left", mean, site="xattn")
    assert exact.layers == layers and exact.site == "xattn"
    np.testing.assert_allclose(exact.cie, plain.cie, atol=1e-7)  # of float32
    assert float(np.abs(exact.cie).max()) > 1e-6
    estimate = attribute(model, [twins], "left", mean, site="xattn")
    assert estimate.cie.shape == exact.cie.shape and np.isfinite(estimate.cie).all()


@pytest.mark.slow
def test_where_a_layer_has_no_heads_nothing_is_said_of_them(loaded: Loaded):
    model = loaded("mllama")
    assert model.facts.layers_without_heads == (1, 3) == model.sites["xattn"].layers
    assert model.facts.head_layers == model.sites["lm.attn"].layers == (0, 2)
    batch, twins = batch_of(model), batch_of(model, (1, 2))
    counted: list[int] = []
    mean = task_mean(model, [batch], "left", correct_only=False).mean
    exact = mediate(model, [twins], "left", mean, counted.append)
    assert sum(counted) == model.facts.head_count == 8
    plain = mediate_plain(model, [twins], "left", mean)
    np.testing.assert_allclose(exact.cie, plain.cie, atol=1e-6)
    estimate = attribute(model, [twins], "left", mean, counted.append)
    assert sum(counted) == 16
    norms = output_norms(model, mean)
    for values in (mean.mean(-1).numpy(), exact.aie, exact.accuracy_change, estimate.aie, norms):
        assert values.shape == (4, 4)
        assert np.isnan(values[[1, 3]]).all() and np.isfinite(values[[0, 2]]).all()
    chosen = top_heads([exact.aie], 99)
    assert {layer for layer, _ in chosen} == {0, 2} and len(chosen) == 8
    vector = function_vector(model, mean, chosen[:2])
    assert bool(vector.residual.isfinite().all())
    with pytest.raises(MfvError, match="no layer 1") as raised:
        function_vector(model, mean, ((1, 0),))
    assert raised.value.code == "MFV5103"


def test_keys_and_values_of_pictures_are_made_once(loaded: Loaded):
    """And the projections that make them are as they were, also after an error."""
    model = loaded("idefics")
    projection = model.text_model.gated_cross_attn_layers[0].cross_attn.k_proj
    calls: list[int] = []
    handle = projection.register_forward_hook(lambda _, inputs, __: calls.append(1))
    state = model.prefix(batch_of(model))
    handle.remove()
    assert id(projection) in state.standing and len(calls) == 2  # the prompts, their last tokens
    with pytest.raises(RuntimeError, match="stop"), model.continuation(state):
        assert projection(None) is state.standing[id(projection)]
        raise RuntimeError("stop")
    assert "forward" not in vars(projection)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_other_tools_find_a_layer_by_its_hookpoint(loaded: Loaded, name: str):
    """They count a module's path from transformers' base model."""
    model = loaded(name)
    for layer in (0, 1):
        path = hookpoint_of(model.facts).replace("{layer}", str(layer))
        own = model.model.get_submodule(model.sites["lm.resid"].module_path(layer))
        assert model.model.base_model.get_submodule(path) is own
        assert layer_of_path(path) == layer
