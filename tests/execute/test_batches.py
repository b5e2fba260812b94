"""How prompts are cut into batches: as memory suggests, and none before it is needed."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch

from mfv_dsl import models
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine import rows as engine_rows
from mfv_dsl.engine.rows import in_parts, prompt_bytes
from mfv_dsl.execute import session
from mfv_dsl.execute.operations.heads import _shared_out
from mfv_dsl.execute.session import batched
from mfv_dsl.methods.evaluation import measure
from mfv_dsl.methods.residual_stream import residual_stream
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.plan.lengths import prompt_tokens

FACTS = ModelFacts(36, 32, 128, 2560, "print", kv_width=1024)


@pytest.fixture
def scenes() -> Scenes:
    return Scenes(relations=("left",), count=10)


def room_for(bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(device: torch.device, row_bytes: int) -> int:
        return max(1, bytes_ // row_bytes)

    monkeypatch.setattr(session, "rows_at_once", rows)


@pytest.mark.parametrize("name", ["llava", None])
def test_long_prompts_are_run_in_smaller_batches(
    name: str | None, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
):
    """Whether pictures are tokens or not."""
    model = models.load("tiny") if name is None else models.load("tiny", name=name)
    prompts = draw_prompts(scenes, "left", "test", 10, 2)
    (whole,) = batched(model, scenes, prompts)
    each = prompt_bytes(model.facts, prompt_tokens(model.facts, 2), whole.dtype.itemsize)
    room_for(4 * each, monkeypatch)
    parts = list(batched(model, scenes, prompts))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([part.tokens for part in parts]), whole.tokens)
    logits = torch.cat([model.forward(part) for part in parts])
    torch.testing.assert_close(logits, model.forward(whole), atol=1e-4, rtol=1e-4)
    room_for(1, monkeypatch)
    assert len(batched(model, scenes, prompts)) == 10
    assert len(batched(model, scenes, prompts, 10)) == 1  # as many as was said


def test_a_batch_is_never_larger_than_the_plan_says(
    scenes: Scenes, monkeypatch: pytest.MonkeyPatch
):
    room_for(1 << 60, monkeypatch)
    prompts = draw_prompts(scenes, "left", "test", 10, 0) * 13
    assert len(batched(models.load("tiny"), scenes, prompts)) == 3


def test_prompts_that_are_longer_than_was_thought_are_run_in_smaller_parts(
    scenes: Scenes, monkeypatch: pytest.MonkeyPatch
):
    model = models.load("tiny")
    batch = model.batch(draw_prompts(scenes, "left", "test", 10, 2), scenes)
    each = prompt_bytes(model.facts, batch.tokens.shape[1], batch.dtype.itemsize)
    monkeypatch.setattr(engine_rows, "rows_at_once", lambda _, bytes_: 4 * each // bytes_)
    sizes = [len(part) for part, _ in in_parts(model, [batch, batch[:3]], len)]
    assert sizes == [4, 4, 2, 3]
    found = measure(model, [batch])
    monkeypatch.undo()
    np.testing.assert_allclose(found.p_answer, measure(model, [batch]).p_answer, atol=1e-5)


def test_pictures_are_encoded_when_their_batch_is_taken(
    scenes: Scenes, monkeypatch: pytest.MonkeyPatch
):
    """So that no more batches are held than one is at work on."""
    model = models.load("tiny")
    prompts = draw_prompts(scenes, "left", "test", 10, 1)
    alive: list[weakref.ref[object]] = []
    most = 0

    class Watched:
        facts, device = model.facts, model.device

        def batch(self, part: list[Prompt], dataset: Scenes) -> PromptBatch:
            nonlocal most
            made = model.batch(part, dataset)
            alive.append(weakref.ref(made.media))
            most = max(most, sum(ref() is not None for ref in alive))
            return made

    room_for(1, monkeypatch)
    batches = batched(Watched(), scenes, prompts)  # type: ignore[arg-type]
    assert not alive
    mean = residual_stream(model, batches).mean
    assert len(alive) == 10 and most <= 2  # one is made while the last is in its loop's name
    monkeypatch.undo()
    whole = residual_stream(model, batched(model, scenes, prompts)).mean
    torch.testing.assert_close(mean, whole, atol=1e-4, rtol=1e-4)


def test_bytes_of_a_prompt():
    """Of Qwen3-VL-4B in bf16: keys and values of a token are 144 KiB, and there are two of each."""
    kv = 2 * 2 * 36 * 1024
    assert prompt_bytes(FACTS, 1, 2) == 2 * kv + 2 * 24 * 2560 + 4
    assert prompt_bytes(FACTS, 10_000, 2) > 10_000 * prompt_bytes(FACTS, 1, 2)


@pytest.mark.parametrize("batches", [1, 2, 3, 7])
def test_progress_of_parts_adds_up_to_that_of_one(batches: int):
    told: list[int] = []
    report: Callable[[int], None] = _shared_out(told.append, batches)
    for _ in range(batches):
        for units in (3, 5, 2):
            report(units)
    assert sum(told) == 10
