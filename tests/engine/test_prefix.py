"""The prefix engine gives what one full pass per variant gives."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.memory import MemoryWarning
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.engine.support import (
    TextModel,
    double,
    drawn,
    lively_flamingo,
    mixed_batch,
    random_variants,
    traces,
)

SHAPES = [  # layers, heads, d_model, cross-attention every
    (4, 4, 32, 1),
    (4, 2, 48, 2),
    (5, 8, 32, 4),
]


@pytest.fixture(scope="module")
def model() -> OpenFlamingo:
    return lively_flamingo(4, 4, 32, 2)


@pytest.fixture(scope="module")
def batch(model: OpenFlamingo, scenes: Scenes) -> PromptBatch:
    return mixed_batch(model, scenes)


def plain_logits(model: OpenFlamingo, batch: PromptBatch, variants: list[list[Edit]]):
    """(prompts, variants, vocabulary), one full pass per variant."""
    with torch.no_grad():
        return torch.stack([full_pass(model, batch, edits).logits for edits in variants], dim=1)


def check_parity(model, batch, variants, atol: float = 1e-5, **run) -> float:
    wanted = plain_logits(model, batch, variants).double().softmax(-1)
    with torch.no_grad():
        found = encode_prefix(model, batch).scores(variants, logits=True, **run).logits
    worst = (found.double().softmax(-1) - wanted).abs().max().item()
    assert worst < atol
    return worst


# -- parity ---------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), shots=st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_random_plans(scenes: Scenes, shape: tuple[int, ...], seed: int, shots: list[int]):
    model = lively_flamingo(*shape)
    batch = mixed_batch(model, scenes, shots)
    check_parity(model, batch, random_variants(model.sites, len(batch), seed))


@pytest.mark.slow
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_random_plans_on_the_bundled_model(tiny: OpenFlamingo, scenes: Scenes, seed: int):
    batch = mixed_batch(tiny, scenes, (4, 0, 1))
    check_parity(tiny, batch, random_variants(tiny.sites, 3, seed, count=8))


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_grouped_heads_in_a_model_that_cannot_start_in_the_middle(seed: int, lengths: list[int]):
    model = text_model()
    batch = model.tokens([*lengths, 2])
    sites = {name: site for name, site in model.sites.items() if name != "embedding"}
    check_parity(model, batch, random_variants(sites, len(batch), seed))
    assert set(traces(model.model)["implementation"]) == {"sdpa"}


_text_models: list[TextModel] = []


def text_model() -> TextModel:
    if not _text_models:
        _text_models.append(TextModel())
    return _text_models[0]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "atol"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision(scenes: Scenes, dtype: torch.dtype, atol: float):
    """Held against the same full pass: roundings differ, the model does not."""
    model = lively_flamingo(4, 4, 32, 2)
    half = OpenFlamingo(
        copy.deepcopy(model.model).to(dtype), model.tokenizer, model.preprocess, model.facts, 40,
        model.pad_token,
    )  # fmt: skip
    batch = mixed_batch(half, scenes)
    variants = random_variants(half.sites, len(batch), seed=5, count=20)
    check_parity(half, batch, variants, atol)
    mean_error = (
        encode_prefix(half, batch).scores(variants).p - plain_logits(half, batch, variants).float()
        .softmax(-1).gather(2, batch.answers[:, None, None].expand(-1, 20, 1))[..., 0]
    ).abs().mean()  # fmt: skip
    assert mean_error < atol / 20


@pytest.mark.slow
def test_double_precision(scenes: Scenes):
    model = double(lively_flamingo(4, 4, 32, 2))
    batch = mixed_batch(model, scenes)
    variants = random_variants(model.sites, 4, 6, dtype=torch.float64)
    assert encode_prefix(model, batch).scores(variants).p.dtype == torch.float64
    check_parity(model, batch, variants, 1e-12)


@pytest.mark.slow
def test_prompts_of_one_token_and_without_pictures(model: OpenFlamingo, batch: PromptBatch):
    """Nothing to look back on, and nothing to look at."""
    alone = replace(batch, tokens=batch.tokens[:, -1:], mask=batch.mask[:, -1:])
    variants = random_variants(model.sites, 4, seed=8)
    check_parity(model, alone, variants)
    blind = batch.tokens.clone()
    blind[1][blind[1] == model.model.media_token_id] = 5
    check_parity(model, replace(batch, tokens=blind), variants)
    short = batch.mask.clone()
    short[2, :-1] = 0
    check_parity(model, replace(batch, mask=short), variants)


def test_a_single_stage_gives_the_same(model: OpenFlamingo, batch: PromptBatch):
    """What a model that cannot start in the middle does."""

    class Whole(OpenFlamingo):
        @contextmanager
        def continuation(self, state):
            with super().continuation(state) as steps:

                def whole(hidden):
                    for stage in steps.stages:
                        hidden = stage(hidden)
                    return hidden

                stages.append(len(steps.stages))
                yield replace(steps, stages=(whole,))

    stages: list[int] = []
    whole = Whole(model.model, model.tokenizer, model.preprocess, model.facts, 40, model.pad_token)
    check_parity(whole, batch, random_variants(model.sites, 4, seed=9))
    assert set(stages) == {4}


# -- chunks ---------------------------------------------------------------------------------------
def test_chunks_of_any_size_give_the_same(model: OpenFlamingo, batch: PromptBatch):
    variants = random_variants(model.sites, 4, seed=1, count=11)
    prefix = encode_prefix(model, batch)
    together = prefix.scores(variants, logits=True).logits
    for at_once in (1, 3, 4, 50):
        chunks = list(prefix.run(variants, logits=True, at_once=at_once))
        assert [len(chunk.variants) for chunk in chunks[:-1]] == [at_once] * (len(chunks) - 1)
        assert sorted(i for chunk in chunks for i in chunk.variants) == list(range(11))
        for chunk in chunks:
            found, wanted = chunk.scores.logits, together[:, list(chunk.variants)]
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(
                chunk.unedited.log_p[:, 0], together.log_softmax(-1)[range(4), 0, batch.answers],
                atol=1e-5, rtol=1e-5,
            )  # fmt: skip


def test_a_variant_does_not_see_another(model: OpenFlamingo, batch: PromptBatch):
    """Bit for bit the same beside a neighbour that breaks down."""
    edit = Edit("lm.attn", 1, "replace", torch.randn(1, 8), (2,))
    bad = Edit("lm.resid", 0, "add", torch.full((32,), float("nan")))
    prefix = encode_prefix(model, batch)
    calm = prefix.scores([[edit], [Edit("lm.resid", 0, "add", torch.zeros(32))]], logits=True)
    wild = prefix.scores([[edit], [bad]], logits=True)
    assert torch.equal(calm.logits[:, 0], wild.logits[:, 0])
    assert wild.logits[:, 1].isnan().all()


def test_runs_leave_the_prefix_as_it_was(model: OpenFlamingo, batch: PromptBatch):
    variants = random_variants(model.sites, 4, seed=2)
    prefix = encode_prefix(model, batch)
    first = prefix.scores(variants).p
    full_pass(model, batch, variants[1])
    assert torch.equal(first, prefix.scores(variants).p)


def test_other_passes_may_come_between_chunks(model: OpenFlamingo, batch: PromptBatch):
    variants = random_variants(model.sites, 4, seed=3)
    plain = full_pass(model, batch).logits
    for _ in encode_prefix(model, batch).run(variants, at_once=2):
        assert torch.equal(full_pass(model, batch).logits, plain)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_less_at_a_time_where_memory_runs_out(
    model: OpenFlamingo, batch: PromptBatch, error: type[Exception]
):
    def small_memory(module, inputs):
        if inputs[0].shape[1] > 4:
            raise error

    variants = random_variants(model.sites, 4, seed=4, count=16)
    prefix = encode_prefix(model, batch)
    wanted = prefix.scores(variants).p
    handle = model.layers[3].register_forward_pre_hook(small_memory)
    try:
        with pytest.warns(MemoryWarning) as said:
            found = prefix.scores(variants).p
        assert [str(one.message)[15:] for one in said] == [
            f"with {n} variants at a time; going on with {n // 2}" for n in (16, 8, 4)
        ]
    finally:
        handle.remove()
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_an_error_that_less_memory_does_not_explain_is_raised(
    model: OpenFlamingo, batch: PromptBatch
):
    def broken(module, inputs):
        raise torch.OutOfMemoryError("too big")

    prefix = encode_prefix(model, batch)
    handle = model.layers[3].register_forward_pre_hook(broken)
    try:
        with pytest.warns(MemoryWarning), pytest.raises(torch.OutOfMemoryError, match="too big"):
            prefix.scores([[Edit("lm.resid", 0, "add", drawn(32, seed=n))] for n in range(12)])
    finally:
        handle.remove()


# -- what comes back ------------------------------------------------------------------------------
def test_scores_by_hand(model: OpenFlamingo, batch: PromptBatch):
    variants = random_variants(model.sites, 4, seed=7)
    logits = plain_logits(model, batch, variants)
    found = encode_prefix(model, batch).scores(variants, top=3)
    wanted = logits.log_softmax(-1)
    torch.testing.assert_close(
        found.log_p, wanted[torch.arange(4), :, batch.answers], atol=1e-4, rtol=1e-5
    )
    assert torch.equal(found.likeliest, logits.argmax(-1))
    assert torch.equal(found.top, logits.topk(3).indices)
    torch.testing.assert_close(found.top_log_p, wanted.topk(3).values, atol=1e-4, rtol=1e-5)
    order = logits.argsort(dim=-1, descending=True, stable=True)
    for prompt in range(4):
        place = (order[prompt] == batch.answers[prompt]).int().argmax(-1)
        assert torch.equal(found.rank[prompt], place)

    targets = torch.randint(0, logits.shape[-1], (4, 5))
    several = encode_prefix(model, batch).scores(variants, targets)
    assert several.log_p.shape == several.rank.shape == (4, 12, 5)
    for prompt in range(4):
        torch.testing.assert_close(
            several.log_p[prompt], wanted[prompt][:, targets[prompt]], atol=1e-4, rtol=1e-5
        )


def test_of_equals_the_first_token_wins(model: OpenFlamingo, batch: PromptBatch):
    """As with argmax."""
    twin = copy.deepcopy(model.model)
    twin.lang_encoder.get_output_embeddings().weight.data.zero_()
    flat = OpenFlamingo(twin, model.tokenizer, model.preprocess, model.facts, 40, model.pad_token)
    scores = encode_prefix(flat, batch).scores([[]], torch.tensor([[0, 1, 7]] * 4))
    assert scores.rank.tolist() == [[[0, 1, 7]]] * 4
    assert scores.likeliest.tolist() == [[0]] * 4


def test_reads_are_those_of_the_full_pass(model: OpenFlamingo, batch: PromptBatch):
    variants = random_variants(model.sites, 4, seed=10, count=9)
    reads = [Read("lm.resid", 0), Read("lm.attn", 2), Read("xattn", 1), Read("lm.resid", 3)]
    for chunk in encode_prefix(model, batch).run(variants, reads=reads, at_once=4):
        for column, number in enumerate(chunk.variants):
            plain = full_pass(model, batch, variants[number], reads).readings
            for found, wanted in zip(chunk.readings, plain, strict=True):
                torch.testing.assert_close(found[:, column], wanted[:, 0], atol=1e-4, rtol=1e-4)


# -- errors ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (Edit("lm.resid", 0, "add", torch.ones(32), positions=(-2,)), "full pass edits"),
        (Edit("lm.resid", 0, "add", torch.ones(32), positions=None), "full pass edits"),
        (Edit("lm.resid", 0, "add", torch.ones(3, 32)), r"shape \(3, 32\), and there are 4"),
        (Edit("lm.attn", 0, "add", torch.ones(3, 1, 8), (1,)), r"shape \(3, 1, 8\)"),
        (Edit("lm.attn", 0, "add", torch.ones(3, 8), (1,)), r"shape \(3, 8\)"),
        (Edit("lm.attn", 0, "add", torch.ones(1, 8), (4,)), "no head 4"),
        (Edit("lm.mlp", 9, "add", torch.ones(32)), "no layer 9"),
        (Edit("lm.nose", 0, "add", torch.ones(32)), "no site `lm.nose`"),
    ],
)
def test_what_cannot_be_done_is_refused(
    model: OpenFlamingo, batch: PromptBatch, edit: Edit, says: str
):
    clean = traces(model.model)
    with pytest.raises(MfvError, match=says):
        encode_prefix(model, batch).scores([[], [edit]])
    assert traces(model.model) == clean


def test_an_edit_that_never_fires_is_an_error():
    """The embedding is looked up before the copies are made."""
    model = text_model()
    edit = Edit("embedding", 0, "add", torch.ones(32))
    with pytest.raises(MfvError, match=r"embedding\[0\].*never fired"):
        encode_prefix(model, model.tokens([4, 2])).scores([[edit]])
    assert traces(model.model)["hooks"] == 0


def test_nothing_stays_behind_after_an_error(model: OpenFlamingo, batch: PromptBatch):
    clean = traces(model.model)
    assert clean["hooks"] == 0 and clean["forwards"] == []
    prefix = encode_prefix(model, batch)
    assert traces(model.model) == clean
    variants = random_variants(model.sites, 4, seed=11)
    for _ in prefix.run(variants, at_once=3):
        assert traces(model.model) == clean
    handle = model.layers[2].register_forward_pre_hook(lambda module, inputs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prefix.scores(variants)
    with pytest.raises(ZeroDivisionError):
        encode_prefix(model, batch)
    handle.remove()
    assert traces(model.model) == clean
    check_parity(model, batch, variants)


# -- gradients ------------------------------------------------------------------------------------
def test_gradients_are_those_of_the_full_pass(scenes: Scenes):
    """Through the last token alone, as an edit there cannot reach earlier ones."""
    model = double(lively_flamingo(4, 4, 32, 2))
    batch = mixed_batch(model, scenes)
    vector = torch.randn(32, dtype=torch.float64, requires_grad=True)
    heads = torch.randn(4, 2, 8, dtype=torch.float64, requires_grad=True)
    gain = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    learned = (vector, heads, gain)
    twice = Edit("lm.resid", 2, "add", vector)
    variants = [
        [Edit("lm.resid", 1, "add", vector)],
        [Edit("lm.attn", 2, "replace", heads, (3, 0)), twice, twice],
        [Edit("lm.mlp", 0, "scale", gain), Edit("lm.resid", 3, "project_out", vector)],
    ]
    scores = encode_prefix(model, batch).scores(variants)
    fast = torch.autograd.grad(-scores.log_p.sum(), learned)
    plain = [
        full_pass(model, batch, edits).logits.log_softmax(-1).gather(1, batch.answers[:, None])
        for edits in variants
    ]
    slow = torch.autograd.grad(-torch.stack(plain).sum(), learned)
    for found, wanted in zip(fast, slow, strict=True):
        assert (found - wanted).norm() < 1e-10 * wanted.norm()


def test_gradients_across_chunks_and_in_single_precision(model: OpenFlamingo, batch: PromptBatch):
    vector = torch.randn(32, requires_grad=True)
    variants = [[Edit("lm.resid", layer, "add", vector)] for layer in range(4)]
    prefix = encode_prefix(model, batch)
    whole = torch.autograd.grad(prefix.scores(variants).p.sum(), vector)[0]
    parts = [
        torch.autograd.grad(chunk.scores.p.sum(), vector)[0]
        for chunk in prefix.run(variants, at_once=1)
    ]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        assert not prefix.scores(variants).p.requires_grad
