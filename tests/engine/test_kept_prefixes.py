"""Prefixes that are kept: the same results to the bit, within a bound, given back where needed."""

from __future__ import annotations

import pytest
import torch

from mfv_dsl.base.memory import SPARE, AtOnce
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.kept_prefixes import KeptPrefixes
from mfv_dsl.methods.answers import measure_answers, object_names
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.engine.support import lively_flamingo


@pytest.fixture(scope="module")
def model() -> OpenFlamingo:
    return lively_flamingo(4, 4, 32, 2)


def batches(model: OpenFlamingo, scenes: Scenes, n: int = 3) -> list[PromptBatch]:
    prompts = draw_prompts(scenes, "left", "test", 2 * n, 1, 0)
    return [model.batch(prompts[start : start + 2], scenes) for start in range(0, 2 * n, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["first_token", "full", "generate"])
def test_what_is_kept_is_not_run_again_and_gives_the_same(
    model: OpenFlamingo, scenes: Scenes, how: str, monkeypatch: pytest.MonkeyPatch
):
    names = object_names(scenes, "test")[:12]
    names = tuple(sorted({*names, *(p.query.answer for b in batches(model, scenes)
                                    for p in b.prompts)}))  # fmt: skip
    edits = [[Edit("lm.resid", 2, "add", torch.full((model.facts.d_model,), 0.3))]]
    runs = []
    usual = model.prefix
    monkeypatch.setattr(model, "prefix", lambda batch: runs.append(len(batch)) or usual(batch))
    kept = KeptPrefixes()
    for variants in ([[]], edits):
        alone = measure_answers(model, batches(model, scenes), variants, how, names)
        runs.clear()
        shared = measure_answers(model, batches(model, scenes), variants, how, names, kept)
        assert runs == ([2, 2, 2] if variants == [[]] else [])
        assert shared[0].names == alone[0].names
        assert (shared[0].outcomes.p_answer == alone[0].outcomes.p_answer).all()


def test_the_longest_not_asked_for_goes_first(
    model: OpenFlamingo, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
):
    one, two, three = batches(model, scenes)
    kept = KeptPrefixes()
    size = kept(model, one).nbytes
    monkeypatch.setattr(kept, "_limit", 2 * size)
    first, second = kept(model, one), kept(model, two)
    assert kept(model, one) is first
    kept(model, three)
    assert len(kept) == 2
    assert kept.nbytes <= 2 * size
    assert kept(model, one) is first
    assert kept(model, two) is not second


def test_memory_is_given_back_before_work_is_cut(model: OpenFlamingo, scenes: Scenes):
    kept = KeptPrefixes()
    kept(model, batches(model, scenes)[0])
    assert kept in SPARE

    def run(numbers: list[int]) -> int:
        if len(kept):
            raise torch.OutOfMemoryError("too big")
        return sum(numbers)

    assert list(AtOnce(torch.device("cpu"), "numbers").of([1, 2], run)) == [([1, 2], 3)]
    assert len(kept) == 0


def test_texts_of_a_users_own_are_not_kept(model: OpenFlamingo):
    kept = KeptPrefixes()
    batch = model.texts(["Q:red circle. A:", "Q:blue ring. A:"], [[], []], ["a", "b"])
    kept(model, batch)
    assert len(kept) == 0
