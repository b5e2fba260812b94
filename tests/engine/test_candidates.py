"""Answers behind a shared prefix, held against passes that run each prompt anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.memory import MemoryWarning
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine import tree
from mfv_dsl.engine.candidates import likeliest_sequences
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.greedy import continue_greedily
from mfv_dsl.engine.prefix import Prefix, encode_prefix
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.engine.trace import tracing
from mfv_dsl.methods.answers import object_names
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.engine.support import (
    TextModel,
    double,
    lively_flamingo,
    lively_mpt,
    mixed_batch,
    random_variants,
    traces,
)

#: Some begin others, and they end at different lengths.
SEQUENCES = [
    (7,), (7, 9), (7, 9, 11), (8, 9, 30), (8, 9, 31), (8, 10), (20, 7), (12,), (8, 9, 30, 4),
    (20, 9, 9, 9, 9),
]  # fmt: skip
MODELS = {
    "neox": lambda: lively_flamingo(4, 4, 32, 2),
    "mpt": lambda: lively_mpt(4, 4, 32, 2),
    "mpt with norms": lambda: lively_mpt(4, 4, 32, 2, True),
    "mpt with clipping": lambda: lively_mpt(4, 4, 32, 2, False, 3.0),
}


@pytest.fixture(scope="module")
def model() -> OpenFlamingo:
    return lively_flamingo(4, 4, 32, 2)


def compare(prefix: Prefix, variants: list[list[Edit]], sequences=SEQUENCES) -> float:
    """Check the likeliest sequences; give the largest difference of a target's log-probability."""
    model, batch = prefix.backend, prefix.batch
    largest, rows = 0.0, np.arange(len(batch))
    for shift in (0, 4):
        targets = (rows + shift) % len(sequences)
        found = likeliest_sequences(prefix, sequences, targets, variants)
        assert found.finite.all()
        for number, edits in enumerate(variants):
            log_p = sequence_log_p(model, batch, sequences, edits).numpy()
            assert found.best[:, number].tolist() == log_p.argmax(1).tolist()
            difference = np.abs(log_p[rows, targets] - found.target_log_p[:, number])
            largest = max(largest, float(difference.max()))
    return largest


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_likeliest_of_many_is_that_of_full_passes(name: str, scenes: Scenes):
    model = MODELS[name]()
    batch = mixed_batch(model, scenes)
    variants = random_variants(model.sites, 4, seed=1, count=9)
    before = traces(model.model)
    assert compare(encode_prefix(model, batch), variants) < 1e-5
    assert traces(model.model) == before


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("neox", 1e-9), ("mpt", 1e-6)])
def test_and_in_double_precision_to_its_rounding(name: str, most: float, scenes: Scenes):
    """transformers' own MPT takes the softmax of a token behind a cache in float32."""
    model = double(MODELS[name]())
    batch = mixed_batch(model, scenes, (2, 2, 2, 2))
    variants = random_variants(model.sites, 4, seed=2, count=7, dtype=torch.float64)
    assert compare(encode_prefix(model, batch), variants) < most


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_rows_of_a_level_in_parts_give_the_same(
    at_once: int, model: OpenFlamingo, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tree, "rows_at_once", lambda *_: 4 * at_once)
    variants = random_variants(model.sites, 4, seed=3, count=5)
    assert compare(encode_prefix(model, mixed_batch(model, scenes)), variants) < 1e-5


@pytest.mark.slow
def test_a_prefix_that_was_used_otherwise_serves_too(model: OpenFlamingo, scenes: Scenes):
    """What the unedited last token left below the edits is there, whoever ran it."""
    prefix = encode_prefix(model, mixed_batch(model, scenes))
    with torch.no_grad():
        prefix.before(4)
        prefix.scores([[], [Edit("lm.resid", 1, "add", torch.ones(32))]])
    variants = [[Edit("lm.resid", 3, "add", 2 * torch.ones(32))], []]
    assert compare(prefix, variants) < 1e-5


@pytest.mark.slow
def test_few_rows_are_run_where_the_model_is_sure(
    tiny: OpenFlamingo, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
):
    """The bundled model knows its answers: of twenty beginnings a few go on."""
    names = object_names(scenes, "test")
    first = tiny.first_tokens(names)
    sequences = [(a, b) for a in first for b in first]  # it writes one name after another
    batch = mixed_batch(tiny, scenes, (2, 2, 2, 2))
    targets = np.array([names.index(p.query.answer) * len(names) for p in batch.prompts])
    widths: list[int] = []
    run = tree.Tree._run

    def counted(self, level, tokens, behind):
        widths.append(tokens.shape[1])
        return run(self, level, tokens, behind)

    monkeypatch.setattr(tree.Tree, "_run", counted)
    likeliest_sequences(encode_prefix(tiny, batch), sequences, targets, [[]])
    assert sum(widths) < len(names) // 2
    monkeypatch.undo()
    assert compare(encode_prefix(tiny, batch), [[]], sequences) < 1e-5


@pytest.mark.slow
def test_grouped_heads_and_a_model_of_one_stage():
    model = TextModel()
    batch = model.tokens([5, 3, 2])
    variants = [
        [],
        *([Edit("lm.attn", layer, "replace", torch.randn(1, 12), (layer,))] for layer in range(3)),
    ]
    sequences = [(5, 6), (5, 7), (5, 7, 8), (9, 2, 4), (9, 3)]
    found = likeliest_sequences(encode_prefix(model, batch), sequences, np.arange(3), variants)
    for number, edits in enumerate(variants):
        for row in range(3):
            scores = [plain(model, batch, row, sequence, edits) for sequence in sequences]
            assert found.best[row, number] == int(np.argmax(scores))
            assert found.target_log_p[row, number] == pytest.approx(scores[row], abs=1e-5)


def plain(model: TextModel, batch, row: int, sequence: tuple[int, ...], edits) -> float:
    """One full pass for each token, the edits where the prompt ends."""
    total = 0.0
    for length, token in enumerate(sequence):
        said = torch.tensor(sequence[:length], dtype=torch.long)
        text = replace(
            batch,
            prompts=(None,),
            tokens=torch.cat([batch.tokens[row], said])[None],
            mask=torch.cat([batch.mask[row], torch.ones_like(said)])[None],
            media=batch.media[:1],
        )
        here = [replace(edit, positions=(-1 - length,)) for edit in edits]
        total += float(full_pass(model, text, here).logits[0].log_softmax(-1)[token])
    return total


# -- generation -----------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_greedy_generations_are_those_of_passes_of_their_own(name: str, scenes: Scenes):
    model = MODELS[name]()
    batch = mixed_batch(model, scenes)
    variants = random_variants(model.sites, 4, seed=5, count=8)
    found = continue_greedily(encode_prefix(model, batch), variants, 6)
    lengths = set()
    for number, edits in enumerate(variants):
        wanted = [generation.tokens for generation in generate(model, batch, 6, edits)]
        assert found.tokens[number] == wanted
        lengths |= set(map(len, wanted))
    first = encode_prefix(model, batch).scores(variants)
    torch.testing.assert_close(found.first.log_p, first.log_p, atol=1e-5, rtol=1e-5)
    assert found.finite.all() and len(lengths) >= 1


@pytest.mark.slow
def test_branches_end_one_by_one_and_pictures_are_not_said(scenes: Scenes):
    """Ends and pictures are made likely, so that branches end at different lengths."""
    model = double(lively_flamingo(4, 4, 32, 2))
    head = model.model.lang_encoder.get_output_embeddings().weight
    (end,), (picture,) = model.end_tokens, model.banned_tokens
    head.data[end] = 3 * head.data[25]
    head.data[picture] = 4 * head.data[21]
    batch = mixed_batch(model, scenes)
    variants = random_variants(model.sites, 4, seed=6, count=9, dtype=torch.float64)
    found = continue_greedily(encode_prefix(model, batch), variants, 8)
    lengths = set()
    for number, edits in enumerate(variants):
        wanted = [generation.tokens for generation in generate(model, batch, 8, edits)]
        assert found.tokens[number] == wanted
        lengths |= set(map(len, wanted))
    assert len(lengths) > 2
    assert (found.first.likeliest == picture).any()


# -- what goes wrong ------------------------------------------------------------------------------
def test_fewer_variants_where_memory_runs_out_behind_them(model: OpenFlamingo, scenes: Scenes):
    batch = mixed_batch(model, scenes)
    prefix = encode_prefix(model, batch)
    variants = random_variants(model.sites, 4, seed=7, count=8)
    wanted = likeliest_sequences(prefix, SEQUENCES, np.zeros(4, int), variants)

    def small_memory(module, inputs):
        if inputs[0].shape[1] > 9:
            raise torch.OutOfMemoryError

    handle = model.layers[2].register_forward_pre_hook(small_memory)
    try:
        with pytest.warns(MemoryWarning):
            found = likeliest_sequences(prefix, SEQUENCES, np.zeros(4, int), variants)
    finally:
        handle.remove()
    assert found.best.tolist() == wanted.best.tolist()
    np.testing.assert_allclose(found.target_log_p, wanted.target_log_p, atol=1e-5)


def test_variants_without_numbers_are_told(model: OpenFlamingo, scenes: Scenes):
    bad = Edit("lm.resid", 0, "add", torch.full((32,), float("nan")))
    prefix = encode_prefix(model, mixed_batch(model, scenes))
    found = likeliest_sequences(prefix, SEQUENCES, np.zeros(4, int), [[], [bad]])
    assert found.finite.all(0).tolist() == [True, False]
    generated = continue_greedily(prefix, [[bad], []], 3)
    assert generated.finite.all(0).tolist() == [False, True]


def test_a_text_that_grows_too_long_is_refused(scenes: Scenes, monkeypatch: pytest.MonkeyPatch):
    model = double(lively_flamingo(4, 4, 32, 2))
    batch = mixed_batch(model, scenes)
    model.max_positions = batch.tokens.shape[1] + 1
    prefix = encode_prefix(model, batch)
    likeliest_sequences(prefix, [(7, 9), (8, 9)], np.zeros(4, int), [[]])
    with pytest.raises(MfvError) as caught:
        likeliest_sequences(prefix, [(7, 9, 4), (8, 9, 4)], np.zeros(4, int), [[]])
    assert caught.value.code == "MFV7244"


def test_edits_are_noted_and_those_that_do_not_fit_refused(model: OpenFlamingo, scenes: Scenes):
    prefix = encode_prefix(model, mixed_batch(model, scenes))
    edit = Edit("lm.resid", 3, "add", torch.zeros(32))
    with tracing(1) as touches:
        likeliest_sequences(prefix, SEQUENCES, np.zeros(4, int), [[edit]])
    assert [str(touch).split(",")[0] for touch in touches] == ["add at lm.resid[3]"]
    with pytest.raises(MfvError, match="no layer 9"):
        continue_greedily(prefix, [[Edit("lm.resid", 9, "add", torch.zeros(32))]], 2)
