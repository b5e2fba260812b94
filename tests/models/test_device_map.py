"""A Flamingo over several devices.

There is one device here, so what can be tested is: how layers are split; that the hooks change
nothing when both "devices" are the processor; and, on tensors without values that know their device
and refuse to meet one of another (PyTorch's fake tensors), that everything is moved to where it is
used.  Fake tensors let an index be elsewhere, and have no values for the model to look at.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.models import device_map, features, parallel_copies
from mfv_dsl.models.device_map import bytes_of, device_of, moved, split_layers, spread
from mfv_dsl.models.flamingo_attention import Media, Segments
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.picture_groups import PictureGroups
from tests.conftest import small_flamingo, small_mpt_flamingo
from tests.engine.support import lively_flamingo, lively_mpt, mixed_batch, random_variants

CPU, META = torch.device("cpu"), torch.device("meta")


# -- how layers are split -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sizes", "budgets", "counts"),
    [
        ([10] * 8, [100, 100], [4, 4]),
        ([10] * 8, [300, 100], [6, 2]),
        ([10] * 8, [100, 0, 100], [4, 0, 4]),
        ([10] * 8, [-50, 80], [0, 8]),
        ([10, 10, 40], [60, 60], [2, 1]),
        ([10] * 3, [1000], [3]),
        ([10] * 2, [10, 100, 100], [0, 1, 1]),
        ([], [5, 5], [0, 0]),
    ],
)
def test_layers_are_split_by_room(sizes: list[int], budgets: list[int], counts: list[int]):
    assert split_layers(sizes, budgets) == counts


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=7),
    budgets=st.lists(st.integers(1, 120), min_size=1, max_size=3),
)
def test_no_other_split_leaves_more_room(sizes: list[int], budgets: list[int]):
    best = min(worst(counts, sizes, budgets) for counts in every_split(len(sizes), len(budgets)))
    if best > 1:
        with pytest.raises(MfvError, match="room for"):
            split_layers(sizes, budgets)
    else:
        found = split_layers(sizes, budgets)
        assert sum(found) == len(sizes)
        assert worst(found, sizes, budgets) <= best + 1e-9


def every_split(layers: int, devices: int) -> Iterator[list[int]]:
    if devices == 1:
        yield [layers]
        return
    for first in range(layers + 1):
        for rest in every_split(layers - first, devices - 1):
            yield [first, *rest]


def worst(counts: list[int], sizes: list[int], budgets: list[int]) -> float:
    """The largest used part of a budget."""
    used, start = [], 0
    for count, budget in zip(counts, budgets, strict=True):
        used.append(sum(sizes[start : start + count]) / budget)
        start += count
    return max(used)


def test_what_does_not_fit_is_told_with_the_figures(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_map, "free_bytes", lambda device: 1000)
    with pytest.raises(MfvError, match=r"take 0\.0 GB, and the devices have room for 0\.0 GB"):
        spread(small_flamingo().model, [CPU, CPU])


def test_moved_goes_into_whatever_holds_tensors():
    one = torch.ones(2)
    there = moved({"a": [one, (one, "text")], 1: Media(one, one), "b": None}, META)
    assert there["a"][0].device == META and there["a"][1][0].device == META
    assert there["a"][1][1] == "text" and there["b"] is None
    assert isinstance(there[1], Media) and there[1].values.device == META


# -- the same numbers -----------------------------------------------------------------------------
@pytest.mark.parametrize("make", [lively_flamingo, lively_mpt], ids=["neox", "mpt"])
def test_hooks_change_no_number(make: Callable[..., OpenFlamingo], scenes: Scenes):
    whole = make(4, 4, 32, 2)
    model = OpenFlamingo(
        copy.deepcopy(whole.model), whole.tokenizer, whole.preprocess, whole.facts, 40,
        whole.pad_token,
    )  # fmt: skip
    spread(model.model, [CPU, CPU])
    batch = mixed_batch(model, scenes)
    variants = random_variants(model.sites, 4, seed=1)
    assert torch.equal(full_pass(model, batch).logits, full_pass(whole, batch).logits)
    spread_p, whole_p = (encode_prefix(one, batch).scores(variants).p for one in (model, whole))
    assert torch.equal(spread_p, whole_p)
    assert generate(model, batch, 4, beams=2) == generate(whole, batch, 4, beams=2)


# -- where things are -----------------------------------------------------------------------------
@pytest.fixture(params=[small_flamingo, small_mpt_flamingo], ids=["neox", "mpt"])
def two_devices(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenFlamingo]:
    """A Flamingo of four layers of fake tensors, half on the processor and half on ``meta``."""

    def to(module: nn.Module, device: torch.device) -> nn.Module:
        """``Module.to`` for fake tensors, which cannot be changed in place."""
        for part in module.modules():
            for name, weight in part._parameters.items():
                if weight is not None:
                    moved_weight = nn.Parameter(weight.to(device), requires_grad=False)
                    part._parameters[name] = moved_weight
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = buffer.to(device)
        return module

    def segments(images: torch.Tensor) -> Segments:
        """Of two pictures, somewhere."""
        places = torch.zeros(images.shape, dtype=torch.long)
        return Segments(2, torch.cat([places, places], 1), places, images[..., None])

    # what follows from numbers, which fake tensors do not have
    monkeypatch.setattr(Segments, "of", segments)
    monkeypatch.setattr(parallel_copies, "needed", lambda mask: mask)
    monkeypatch.setattr(nn.Module, "to", to)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = request.param(layers=4, every=1)
        size = bytes_of(model.model)
        monkeypatch.setattr(device_map, "free_bytes", lambda device: 10 * size)
        # there are no values to compare
        monkeypatch.setattr(features, "weight_state", lambda weights: ())
        monkeypatch.setattr(PictureGroups, "_is_alike", lambda *arguments: True)
        spread(model.model, [CPU, META])
        yield model


def test_parts_are_where_they_should_be(two_devices: OpenFlamingo):
    model = two_devices.model
    assert [device_of(layer) for layer in two_devices.layers] == [CPU, CPU, META, META]
    first = (model.vision_encoder, model.perceiver, model.lang_encoder.get_input_embeddings())
    assert {device_of(part) for part in first} == {CPU} and two_devices.device == CPU
    norm = model.lang_encoder.get_submodule(two_devices.family.final_norm)
    assert device_of(norm) == META
    tied = model.lang_encoder.config.tie_word_embeddings
    assert device_of(model.lang_encoder.get_output_embeddings()) == (CPU if tied else META)


def plan(model: OpenFlamingo) -> tuple[list[Edit], list[Read]]:
    """Edits on both devices, their values on the first, and reads of every layer."""
    edits = [
        Edit("lm.attn", 1, "replace", torch.ones(1, 8), (1,)),
        Edit("lm.attn", 2, "add", torch.ones(4, 2, 8), (0, 3)),
        Edit("lm.resid", 3, "project_out", torch.ones(4, 32)),
        Edit("xattn", 3, "scale", torch.zeros(())),
    ]
    return edits, [Read("lm.resid", layer) for layer in range(4)]


@pytest.mark.slow
def test_a_full_pass_meets_no_tensor_of_another_device(two_devices: OpenFlamingo, scenes: Scenes):
    edits, reads = plan(two_devices)
    done = full_pass(two_devices, mixed_batch(two_devices, scenes), edits, reads)
    assert done.logits.device == CPU
    assert [reading.device for reading in done.readings] == [CPU, CPU, META, META]


@pytest.mark.slow
def test_nor_does_the_prefix_engine(two_devices: OpenFlamingo, scenes: Scenes):
    edits, reads = plan(two_devices)
    prefix = encode_prefix(two_devices, mixed_batch(two_devices, scenes))
    assert [past.keys.device for past in prefix.state.past] == [CPU, CPU, META, META]
    assert [media.keys.device for media in prefix.state.media] == [CPU, CPU, META, META]
    variants = [[], edits, edits[:1], edits[2:]]
    for chunk in prefix.run(variants, reads=reads, at_once=2):
        assert chunk.scores.p.shape == (4, 2)
        assert [reading.device for reading in chunk.readings] == [CPU, CPU, META, META]
    for layer in (0, 2):
        together = Injection([prefix, prefix])
        assert together.log_p(
            [[Edit("lm.resid", layer, "add", torch.zeros(32, device=CPU))]] * 2
        ).shape == (8,)


@pytest.mark.slow
def test_nor_does_decoding(two_devices: OpenFlamingo, scenes: Scenes):
    # a fake tensor cannot tell open_flamingo whether it marks an image
    two_devices.model.lang_encoder.is_conditioned = lambda: False
    with two_devices.decoding(mixed_batch(two_devices, scenes)) as decoder:
        assert decoder.prompt().device == CPU
        assert decoder.step(torch.ones(4, dtype=torch.long)).device == CPU
        decoder.keep(torch.tensor([0, 0, 3], device=CPU))
        assert decoder.step(torch.ones(3, dtype=torch.long)).shape[0] == 3


@pytest.mark.slow
def test_the_dry_run_notices_what_is_not_moved(two_devices: OpenFlamingo, scenes: Scenes):
    two_devices.layers[2]._forward_pre_hooks.clear()
    with pytest.raises(RuntimeError, match="same device|at least two devices"):
        full_pass(two_devices, mixed_batch(two_devices, scenes))
