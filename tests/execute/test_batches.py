"""How prompts are cut into batches: as memory suggests, and none before it is needed."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from benchmarks.pretended_gpu import PretendedGpu
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
from mfv_dsl.models.base import Backend, PromptBatch
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


@pytest.mark.slow
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


class Drawn:
    """The scenes, and which pictures were drawn, by which threads; ``broken`` cannot be."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes, self.broken = scenes, ""
        self.images: list[str] = []
        self.threads: set[str] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._scenes, name)

    def pictures(self, images: list[str], size: int) -> np.ndarray:
        self.threads.add(threading.current_thread().name.partition("_")[0])
        if self.broken in images:
            raise ValueError(f"no picture {self.broken}")
        self.images += images
        return self._scenes.pictures(images, size)


@pytest.fixture
def there() -> Iterator[Backend]:
    """The bundled model, on a device of its own."""
    with PretendedGpu():
        yield models.load_anew("tiny", device="cuda:0")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_pictures_of_the_next_batch_are_drawn_while_a_device_works(there: Backend, scenes: Scenes):
    prompts = draw_prompts(scenes, "left", "test", 9, 1)
    own = [{image for prompt in prompts[i : i + 3] for image in prompt.images} for i in (0, 3, 6)]
    drawn = Drawn(scenes)
    batches = batched(there, drawn, prompts, 3)  # type: ignore[arg-type]
    parts = iter(batches)
    found = [next(parts).media]
    wait_for(lambda: set(drawn.images) == own[0] | own[1])
    assert "mfv-expected" in drawn.threads
    found += [part.media for part in parts]
    assert len(drawn.images) == len(set(drawn.images)) == len(set().union(*own))
    again = models.load("tiny")
    for number, media in enumerate(found):
        usual = again.batch(prompts[3 * number : 3 * number + 3], scenes).media
        assert torch.equal(media.cpu(), usual)
    drawn.threads.clear()
    list(batched(again, drawn, prompts, 3))  # type: ignore[arg-type]
    assert "mfv-expected" not in drawn.threads  # a processor has its hands full


@pytest.mark.slow
def test_what_is_drawn_ahead_fails_where_it_is_asked_for_or_is_given_up(
    there: Backend, scenes: Scenes
):
    prompts = draw_prompts(scenes, "left", "test", 9, 0)
    drawn = Drawn(scenes)
    drawn.broken = prompts[4].images[0]
    assert drawn.broken not in {image for p in prompts[:3] for image in p.images}
    parts = iter(batched(there, drawn, prompts, 3))  # type: ignore[arg-type]
    next(parts)
    with pytest.raises(ValueError, match="no picture"):
        next(parts)
    drawn.broken = ""
    parts = iter(batched(there, drawn, prompts, 3))  # type: ignore[arg-type]
    next(parts)
    assert there.features._expected
    parts.close()  # as where whoever takes them is interrupted
    assert not there.features._expected
