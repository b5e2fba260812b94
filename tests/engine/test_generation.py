"""Generation under edits, held against forwards over the whole text."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.engine.support import lively_flamingo, mixed_batch, traces


@pytest.fixture(scope="module")
def model() -> OpenFlamingo:
    return lively_flamingo(4, 4, 32, 2)


@pytest.fixture(scope="module")
def batch(model: OpenFlamingo, scenes: Scenes) -> PromptBatch:
    return mixed_batch(model, scenes)


def longer(batch: PromptBatch, row: int, tokens: tuple[int, ...]) -> PromptBatch:
    """Prompt ``row`` alone, with ``tokens`` behind it."""
    text = torch.cat([batch.tokens[row], torch.tensor(tokens, dtype=torch.long)])[None]
    mask = torch.cat([batch.mask[row], torch.ones(len(tokens), dtype=torch.long)])[None]
    return replace(
        batch, prompts=batch.prompts[row : row + 1], tokens=text, mask=mask,
        media=batch.media[row : row + 1], answers=batch.answers[row : row + 1],
    )  # fmt: skip


def next_log_p(
    model: OpenFlamingo, batch: PromptBatch, row: int, said: tuple[int, ...], edits: list[Edit]
) -> torch.Tensor:
    """By a full pass over the whole text, with ``edits`` where they were made."""
    logits = full_pass(model, longer(batch, row, said), edits).logits[0]
    logits[list(model.banned_tokens)] = -torch.inf
    return logits.log_softmax(-1)


def by_hand(model, batch, row: int, most: int, edits_after) -> tuple[tuple[int, ...], float]:
    """Greedily; ``edits_after(n)`` are the edits of the text with n tokens behind the prompt."""
    said: tuple[int, ...] = ()
    total = 0.0
    for count in range(most):
        log_p = next_log_p(model, batch, row, said, edits_after(count))
        token = int(log_p.argmax())
        total += float(log_p[token])
        if token in model.end_tokens:
            break
        said += (token,)
    return said, total


def check(model, batch, edits, edits_after, **how) -> None:
    for row, found in enumerate(generate(model, batch, 5, edits, **how)):
        said, total = by_hand(model, batch, row, 5, lambda n, row=row: edits_after(row, n))
        assert found.tokens == said
        assert found.log_p == pytest.approx(total, abs=1e-3)


def test_greedy_is_open_flamingos_own_forward_in_a_loop(model: OpenFlamingo, scenes: Scenes):
    prompt = draw_prompts(scenes, "left", "test", 1, 2)[0]
    batch = model.batch([prompt], scenes)
    pixels = model.preprocess(scenes.pictures(prompt.images, 40))[None, :, None]
    tokens = batch.tokens
    with torch.no_grad():
        for _ in range(6):
            mask = torch.ones_like(tokens)
            logits = model.model(vision_x=pixels, lang_x=tokens, attention_mask=mask).logits
            logits[..., model.model.media_token_id] = -torch.inf
            tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
    said = tokens[0, batch.tokens.shape[1] :].tolist()
    ends = [i for i, token in enumerate(said) if token in model.end_tokens]
    (found,) = generate(model, batch, 6)
    assert list(found.tokens) == said[: ends[0] if ends else None]


def test_greedy_with_prompts_of_different_lengths(model: OpenFlamingo, batch: PromptBatch):
    check(model, batch, [], lambda row, n: [])


def test_the_bundled_model_says_an_answer(tiny: OpenFlamingo, scenes: Scenes):
    batch = mixed_batch(tiny, scenes, (2, 1))
    first = full_pass(tiny, batch).logits.argmax(-1).tolist()
    for found, token in zip(generate(tiny, batch, 8), first, strict=True):
        assert found.tokens[0] == token and len(found.tokens) <= 8
        assert not set(found.tokens) & (tiny.end_tokens | tiny.banned_tokens)
        assert tiny.text(found.tokens).startswith(tiny.text([token]))


def test_edits_in_the_prompt_alone(model: OpenFlamingo, batch: PromptBatch):
    """They stay where they were made while the text grows."""
    values = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    edits = [
        Edit("lm.resid", 1, "add", 2 * values),
        Edit("lm.mlp", 0, "scale", torch.tensor(0.0), positions=(-3, -2)),
    ]

    def after(row: int, n: int) -> list[Edit]:
        return [
            Edit("lm.resid", 1, "add", 2 * values[row], positions=(-1 - n,)),
            Edit("lm.mlp", 0, "scale", torch.tensor(0.0), positions=(-3 - n, -2 - n)),
        ]

    check(model, batch, edits, after)


@pytest.mark.parametrize("positions", [(-1,), None])
def test_edits_at_every_token(
    model: OpenFlamingo, batch: PromptBatch, positions: tuple[int, ...] | None
):
    values = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(2))
    edits = [Edit("lm.attn", 2, "add", values, (1, 3), positions)]

    def after(row: int, n: int) -> list[Edit]:
        there = None if positions is None else tuple(range(-1 - n, 0))
        return [Edit("lm.attn", 2, "add", values[row], (1, 3), there)]

    check(model, batch, edits, after, everywhere=True)


@pytest.mark.slow
def test_enough_beams_find_the_best_of_all(model: OpenFlamingo, batch: PromptBatch):
    """As many beams as tokens: nothing is lost, so the result is the best of every continuation."""
    values = torch.randn(4, 32, generator=torch.Generator().manual_seed(3))
    edits = [Edit("lm.resid", 2, "add", values)]
    vocabulary = model.model.lang_encoder.get_output_embeddings().out_features
    found = generate(model, batch, 2, edits, everywhere=True, beams=vocabulary)
    for row in range(4):
        first = next_log_p(model, batch, row, (), [Edit("lm.resid", 2, "add", values[row])])
        best: tuple[float, tuple[int, ...]] = (-torch.inf, ())
        both = [Edit("lm.resid", 2, "add", values[row], positions=(-2, -1))]
        for token in range(vocabulary):
            if token in model.end_tokens:
                best = max(best, (float(first[token]), ()))
            elif token not in model.banned_tokens:
                second = next_log_p(model, batch, row, (token,), both)
                last = int(second.argmax())
                said = (token,) if last in model.end_tokens else (token, last)
                best = max(best, (float(first[token] + second[last]), said))
        assert found[row].tokens == best[1]
        assert found[row].log_p == pytest.approx(best[0], abs=1e-3)


def test_more_beams_are_no_worse_and_their_scores_are_true(model: OpenFlamingo, batch: PromptBatch):
    one, several = generate(model, batch, 4), generate(model, batch, 4, beams=3)
    for row, (greedy, beam) in enumerate(zip(one, several, strict=True)):
        assert beam.log_p >= greedy.log_p - 1e-4
        total, said = 0.0, ()
        ended = () if len(beam.tokens) == 4 else tuple(model.end_tokens)
        for token in itertools.chain(beam.tokens, ended):
            total += float(next_log_p(model, batch, row, said, [])[token])
            said += (token,)
        assert beam.log_p == pytest.approx(total, abs=1e-3)


def test_a_picture_is_never_said(model: OpenFlamingo, batch: PromptBatch):
    head = model.model.lang_encoder.get_output_embeddings()
    image = model.model.media_token_id
    handle = head.register_forward_hook(
        lambda module, inputs, logits: logits.index_fill(-1, torch.tensor([image]), 100.0)
    )
    try:
        for beams in (1, 3):
            for found in generate(model, batch, 3, beams=beams):
                assert image not in found.tokens
    finally:
        handle.remove()


def test_nothing_stays_behind(model: OpenFlamingo, batch: PromptBatch):
    clean = traces(model.model)
    language = model.model.lang_encoder
    generate(model, batch, 3, [Edit("lm.resid", 0, "add", torch.ones(32))], everywhere=True)
    assert traces(model.model) == clean and not language._use_cached_vision_x
    with pytest.raises(MfvError, match="no layer 7"):
        generate(model, batch, 3, [Edit("lm.resid", 7, "add", torch.ones(32))])
    with pytest.raises(RuntimeError):
        generate(model, batch, 3, [Edit("lm.resid", 0, "add", torch.ones(7, 32))])
    assert traces(model.model) == clean and not language._use_cached_vision_x
    with pytest.raises(MfvError, match="generated tokens do not have"):
        edit = Edit("lm.resid", 0, "add", torch.ones(32), positions=(-2,))
        generate(model, batch, 3, [edit], everywhere=True)
