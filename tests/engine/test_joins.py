"""What is run of copies of a last token, and what is not: no copy before it differs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.engine.support import drawn, lively_flamingo, lively_mpt, mixed_batch, random_variants
from tests.engine.test_prefix import check_parity

MODELS = {"neox": ("attention.query_key_value", "mlp"), "mpt": ("attn.Wqkv", "ffn")}


@pytest.fixture(params=list(MODELS))
def named(request: pytest.FixtureRequest) -> tuple[OpenFlamingo, str, str]:
    make = lively_flamingo if request.param == "neox" else lively_mpt
    return (make(4, 4, 32, 2), *MODELS[request.param])


@contextmanager
def rows_of(model: OpenFlamingo, path: str) -> Iterator[list[int]]:
    """How many rows a module gets, layer by layer."""
    rows: list[int] = []

    def note(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows.append(inputs[0].shape[1])

    handles = [
        layer.decoder_layer.get_submodule(path).register_forward_pre_hook(note)
        for layer in model.layers
    ]
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def test_a_head_is_not_run_before_it_is_replaced(
    named: tuple[OpenFlamingo, str, str], scenes: Scenes
):
    model, projection, mlp = named
    prefix = encode_prefix(model, mixed_batch(model, scenes))
    heads = [
        [Edit("lm.attn", layer, "replace", drawn(1, 8), (head,))]
        for layer in range(4)
        for head in range(4)
    ]
    with rows_of(model, projection) as attended, rows_of(model, mlp) as passed:
        prefix.scores(heads)
    assert attended == [1, 5, 9, 13] and passed == [5, 9, 13, 17]


@torch.no_grad()
def test_a_vector_is_added_behind_its_layer(named: tuple[OpenFlamingo, str, str], scenes: Scenes):
    model, projection, mlp = named
    prefix = encode_prefix(model, mixed_batch(model, scenes))
    added = [[Edit("lm.resid", layer, "add", drawn(32, seed=layer))] for layer in (1, 1, 3)]
    with rows_of(model, projection) as attended, rows_of(model, mlp) as passed:
        scores = prefix.scores(added)
    # the unedited token is run up to layer 1 on the way, and from there with the others
    assert attended == passed == [1, 1, 3, 3]
    assert not torch.equal(scores.log_p[:, 0], scores.log_p[:, 2])


@torch.no_grad()
def test_what_is_read_where_copies_join_is_each_copys_own(
    named: tuple[OpenFlamingo, str, str], scenes: Scenes
):
    model, _, _ = named
    batch = mixed_batch(model, scenes)
    variants = [
        [Edit("lm.resid", 1, "replace", drawn(32, seed=1))],
        [Edit("lm.attn", 1, "replace", drawn(1, 8, seed=2), (3,))],
        [Edit("lm.mlp" if "lm.mlp" in model.sites else "lm.attn.out", 2, "add", drawn(32))],
        [],
    ]
    reads = [Read("lm.attn", 1), Read("lm.resid", 1), Read("lm.resid", 0)]
    (chunk,) = encode_prefix(model, batch).run(variants, reads=reads)
    heads, behind, before = (
        {v: reading[:, i] for i, v in enumerate(chunk.variants)} for reading in chunk.readings
    )
    torch.testing.assert_close(behind[0], drawn(32, seed=1).expand(4, -1))
    torch.testing.assert_close(heads[1][:, 3], drawn(1, 8, seed=2).expand(4, -1))
    for same in (0, 2):
        assert torch.equal(heads[same], heads[3])
    assert not torch.equal(behind[1], behind[3]) and torch.equal(behind[2], behind[3])
    assert all(torch.equal(before[i], before[3]) for i in range(3))


def test_a_prefix_ends_with_its_last_keys(named: tuple[OpenFlamingo, str, str], scenes: Scenes):
    model, projection, mlp = named
    with rows_of(model, projection) as projected, rows_of(model, mlp) as passed:
        encode_prefix(model, mixed_batch(model, scenes))
    assert len(projected) == 4 and len(passed) == 3
    last = model.layers[-1].decoder_layer.get_submodule(model.family.projection or "")
    assert not last._forward_pre_hooks


@pytest.mark.slow
def test_rotations_that_are_not_plain_are_left_as_they_are(scenes: Scenes):
    """Keys are kept as the last token sees them only where that is the same."""
    plain = lively_flamingo(4, 4, 32, 2)
    assert encode_prefix(plain, mixed_batch(plain, scenes)).state.positions is None
    model = OpenFlamingo(
        copy.deepcopy(plain.model), plain.tokenizer, plain.preprocess, plain.facts, 40,
        plain.pad_token,
    )  # fmt: skip
    model.model.lang_encoder.gpt_neox.rotary_emb.rope_type = "linear"
    batch = mixed_batch(model, scenes)
    assert encode_prefix(model, batch).state.positions is not None
    check_parity(model, batch, random_variants(model.sites, len(batch), seed=5))
