"""Whole continuations, held against full passes over the whole text."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.engine.trace import tracing
from tests.engine.support import lively_flamingo, mixed_batch, traces

SEQUENCES = [(7,), (7, 9), (7, 9, 11), (8, 9, 30), (8, 9, 31), (20, 7), (12,)]


def plain(model, batch, row: int, sequence: tuple[int, ...], value: torch.Tensor) -> float:
    """One full pass for each token, the edit where the prompt ends."""
    total = 0.0
    for length in range(len(sequence)):
        said = torch.tensor(sequence[:length], dtype=torch.long)
        text = replace(
            batch,
            prompts=batch.prompts[row : row + 1],
            tokens=torch.cat([batch.tokens[row], said])[None],
            mask=torch.cat([batch.mask[row], torch.ones_like(said)])[None],
            media=batch.media[row : row + 1],
        )
        edit = Edit("lm.resid", 1, "add", value, positions=(-1 - length,))
        logits = full_pass(model, text, [edit]).logits[0]
        total += float(logits.log_softmax(-1)[sequence[length]])
    return total


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [None, 1, 3, 5])
def test_sums_of_full_passes_whatever_is_run_together(scenes: Scenes, at_once: int | None):
    model = lively_flamingo(4, 4, 32, 2)
    batch = mixed_batch(model, scenes)
    values = 2 * torch.randn(4, 32, generator=torch.Generator().manual_seed(5))
    edits = [Edit("lm.resid", 1, "add", values)]
    before = traces(model.model)
    found = sequence_log_p(model, batch, SEQUENCES, edits, at_once)
    assert traces(model.model) == before
    for row in range(4):
        for place, sequence in enumerate(SEQUENCES):
            wanted = plain(model, batch, row, sequence, values[row])
            assert float(found[row, place]) == pytest.approx(wanted, abs=1e-4)
    unedited = sequence_log_p(model, batch, SEQUENCES, (), at_once)
    assert (found - unedited).abs().max() > 0.1


def test_tokens_of_one_place_are_a_distribution(scenes: Scenes):
    model = lively_flamingo(4, 4, 32, 2)
    batch = mixed_batch(model, scenes)
    vocabulary = model.model.lang_encoder.get_output_embeddings().out_features
    every = sequence_log_p(model, batch, [(7, token) for token in range(vocabulary)])
    first = sequence_log_p(model, batch, [(7,)])
    torch.testing.assert_close(every.exp().sum(1), first.exp()[:, 0], atol=1e-6, rtol=1e-5)


def test_an_edit_that_does_not_fit_is_refused_and_touches_are_noted(scenes: Scenes):
    model = lively_flamingo(4, 4, 32, 2)
    batch = mixed_batch(model, scenes)
    with pytest.raises(MfvError, match="no layer 9"):
        sequence_log_p(model, batch, SEQUENCES, [Edit("lm.resid", 9, "add", torch.zeros(32))])
    with tracing(1) as touches:
        sequence_log_p(model, batch, SEQUENCES, [Edit("lm.resid", 3, "add", torch.zeros(32))])
    assert [str(touch).split(",")[0] for touch in touches] == ["add at lm.resid[3]"]
