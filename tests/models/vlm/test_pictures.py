"""Pictures: encoded once each, and read into prompts without their pixels."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mfv_dsl.models.features import Features
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.inputs import Inputs, ProcessorWarning
from mfv_dsl.models.vlm.pictures import Encoder
from mfv_dsl.models.vlm.placeholders import PER_TOKEN, read_texts
from tests.models.vlm.test_passes import ARCHITECTURES, pictures, text

Loaded = Callable[[str], VisionLanguageModel]
SIZES = ((56, 56), (56, 112), (112, 60), (200, 150))


def renewed(model: VisionLanguageModel) -> VisionLanguageModel:
    """The same model, to which no picture was shown yet."""
    processor = copy.copy(model.processor)
    return VisionLanguageModel(model.model, processor, model.architecture, model.facts)


def calls_of(model: VisionLanguageModel, name: str, monkeypatch: Any) -> list[int]:
    """A list that grows whenever a method of the model's reading or encoding is called."""
    calls: list[int] = []
    owner = Inputs if hasattr(Inputs, name) else Encoder
    whole = getattr(owner, name)

    def counted(self: Any, *arguments: Any) -> Any:
        calls.append(len(arguments[0]))
        return whole(self, *arguments)

    monkeypatch.setattr(owner, name, counted)
    return calls


# -- prompts without pixels -----------------------------------------------------------------------
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_texts_are_read_as_by_the_models_own_processor(name: str, loaded: Loaded):
    """To the token, for prompts of several lengths with pictures of several sizes."""
    model = loaded(name)
    if model.architecture.features == "perceiver":
        pytest.skip("its processor is asked for every prompt")
    for shots in ((0,), (1, 0), (4, 2), (8, 3)):
        shown = [pictures(k + 1, seed, SIZES) for seed, k in enumerate(shots)]
        texts = [text(model, k) for k in shots]
        own = model.inputs.processed(texts, shown)
        places = [[features.place for features in model.features.of_pictures(row)] for row in shown]
        read = read_texts(model.processor, texts, places, return_tensors="pt", padding=True)
        for part in ("input_ids", "attention_mask", "image_grid_thw", *PER_TOKEN):
            assert (part in own) == (part in read), part
            assert part not in own or torch.equal(own[part], read[part]), part
    assert model.inputs.reads_alone


@pytest.mark.parametrize("name", ["qwen3_vl", pytest.param("idefics", marks=pytest.mark.slow)])
def test_pixels_are_preprocessed_once(name: str, loaded: Loaded, monkeypatch: pytest.MonkeyPatch):
    model = renewed(loaded(name))
    shown = [pictures(3), pictures(3, 1), pictures(3, 2)] * 3
    read = calls_of(model, "processed", monkeypatch)
    encoded = calls_of(model, "_encode", monkeypatch)
    for _ in range(5):
        model.texts([text(model, 2)] * 9, shown)
    assert len(encoded) == 9
    # four prompts of the first batches are compared; Idefics 1 has no other way
    assert read == ([5, 5, 5] if name == "qwen3_vl" else [9] * 5)


def test_a_processor_that_looks_at_its_neighbours(loaded: Loaded):
    """One that writes something else for a picture among others is read by its own code."""
    model = renewed(loaded("llava"))
    usual = model.processor.replace_image_token

    def more(inputs: Any, image_idx: int, **options: Any) -> str:
        alone = len(inputs["pixel_values"]) == 1
        return str(usual(inputs, image_idx, **options)) + ("" if alone else "¤")

    model.processor.replace_image_token = more
    shown, prompts = [pictures(2)], [text(model, 1)]
    with pytest.warns(ProcessorWarning, match="in a prompt than alone"):
        batch = model.texts(prompts, shown)
    assert torch.equal(batch.tokens, model.inputs.processed(prompts, shown)["input_ids"])
    assert "¤" in model.text(batch.tokens[0].tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        assert torch.equal(model.texts(prompts, shown).tokens, batch.tokens)


# -- encoded once ---------------------------------------------------------------------------------
def test_features_do_not_depend_on_what_was_kept(loaded: Loaded):
    model = loaded("qwen3_vl")
    shown = [pictures(3), pictures(2, 1)]
    prompts = [text(model, 2), text(model, 1)]
    fresh = renewed(model)
    first, again = (fresh.texts(prompts, shown) for _ in range(2))
    for row, kept in zip(first.media.rows, again.media.rows, strict=True):
        for features, same in zip(row, kept, strict=True):
            assert features is same
    cleared = renewed(model).texts(prompts, shown)
    for row, other in zip(first.media.rows, cleared.media.rows, strict=True):
        for features, made in zip(row, other, strict=True):
            assert torch.equal(features.rows, made.rows)
            assert all(map(torch.equal, features.deep, made.deep))


@torch.no_grad()
def test_a_changed_vision_tower_encodes_anew(loaded: Loaded):
    """Whether by somebody's hooks or in its weights."""
    model = loaded("llava")
    encoder = Encoder(copy.deepcopy(model.model), model.processor, model.architecture)
    shown = pictures(1)
    kept = Features(encoder)
    (usual,) = kept.of_pictures(shown)
    tower = encoder.model.get_submodule(model.architecture.vision)
    hook = tower.register_forward_pre_hook(lambda _, inputs: tuple(x * 0 for x in inputs))
    try:
        (edited,) = kept.of_pictures(shown)
        assert not torch.equal(edited.rows, usual.rows)
    finally:
        hook.remove()
    (again,) = kept.of_pictures(shown)
    assert again is usual
    next(encoder.model.get_submodule(model.architecture.projector).parameters()).mul_(2)
    (changed,) = kept.of_pictures(shown)
    assert not torch.equal(changed.rows, usual.rows)
