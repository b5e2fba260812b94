"""Vectors trained in the same steps: each as if it were alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.memory import MemoryWarning
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.courses import Epoch, Settings
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.tuning import Task, Tuned, tune, tune_together
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.models.base import Continuation
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.tiny.constructor import load
from tests.engine.support import TextModel, lively_flamingo, lively_mpt, mixed_batch
from tests.execute.test_store import same
from tests.methods.support import batches, zeros

CLOSE = 1e-6  # of a vector's length
RELATIONS = ("left", "above", "right", "below")


def raw(model: Any) -> Vector:
    """A vector with per-head parts."""
    facts = model.facts
    generator = torch.Generator().manual_seed(3)
    mean = torch.randn(facts.n_layers, facts.n_heads, facts.head_dim, generator=generator)
    return function_vector(model, mean, ((0, 1), (1, 0), (1, 3)))


def task_of(
    model: Any, data: Scenes, relation: str, start: Vector | str, settings: Settings,
    n: int = 24, size: int = 8, shots: int = 0,
) -> Task:  # fmt: skip
    """A small task on prompts of a relation."""
    others = batches(model, data, "left" if relation != "left" else "below", "train", n, size, 2)
    return Task(
        batches(model, data, relation, "train", n, size, shots),
        batches(model, data, relation, "validation", 20, 15, shots),
        start, settings, others if settings.kl else (),
    )  # fmt: skip


def vectors_of(results: Sequence[Tuned | mfv.MfvError]) -> list[Tuned]:
    assert all(isinstance(result, Tuned) for result in results), results
    return [result for result in results if isinstance(result, Tuned)]


def distance(one: Vector, two: Vector) -> float:
    """How far apart two vectors are, as a share of their length."""
    return float((one.residual - two.residual).norm() / two.residual.norm())


Parts = dict[str, Any]


def keeper(parts: Parts) -> Callable[[str, Callable[[], Any]], Any]:
    """Keeps parts of a training in ``parts``."""
    return lambda name, make: parts[name] if name in parts else parts.setdefault(name, make())


def keeping(tasks: Sequence[Task]) -> tuple[list[Task], list[Parts]]:
    """The tasks, each keeping its parts."""
    parts: list[Parts] = [{} for _ in tasks]
    kept = [replace(task, keep=keeper(mine)) for task, mine in zip(tasks, parts, strict=True)]
    return kept, parts


def check_as_alone(model: Any, tasks: Sequence[Task]) -> None:
    """Hold what is learned, epoch by epoch, and the choice of each of ``tasks`` together against
    those of each alone."""
    (here, together), (there, alone) = keeping(tasks), keeping(tasks)
    vectors = vectors_of(tune_together(model, here))
    for vector, task, one, two in zip(vectors, there, together, alone, strict=True):
        (wanted,) = vectors_of(tune_together(model, [task]))
        assert vector.training.chosen == wanted.training.chosen
        assert one.keys() == two.keys() >= {f"epoch/{task.settings.epochs}"}
        for number in range(task.settings.epochs + 1):
            found, needed = one[f"epoch/{number}"], two[f"epoch/{number}"]
            assert not number or needed.value.any()
            apart = (found.value - needed.value).norm()
            assert apart <= CLOSE * needed.value.norm()
            torch.testing.assert_close(
                numbers(found.epoch), numbers(needed.epoch), rtol=1e-4, atol=1e-6
            )


def numbers(epoch: Epoch) -> torch.Tensor:
    """All that is measured of an epoch, NaN where it is not."""
    values = (epoch.loss, epoch.off_task_kl, epoch.accuracy, epoch.nll, epoch.norm)
    return torch.tensor([float("nan") if value is None else value for value in values]).nan_to_num(
        -1
    )


@pytest.fixture(scope="module")
def llava() -> Any:
    return load("llava")


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 8])
def test_relations_of_the_bundled_models(size: int, tiny: OpenFlamingo, scenes: Scenes, llava: Any):
    for model, layer in ((tiny, 4), (llava, 2)):
        settings = Settings(layer, epochs=2, lr=0.3)
        n = 8 if size == 1 else 24
        check_as_alone(model, [
            task_of(model, scenes, relation, zeros(model), settings, n, size)
            for relation in RELATIONS
        ])  # fmt: skip


CASES: dict[str, tuple[Settings, ...]] = {
    "what is learned": tuple(
        Settings(1, 2, 0.2, variable=variable, sparsity=0.01 * (variable == "head_mask"))
        for variable in ("vector", "scale", "head_scales", "head_mask")
    ),
    "what is weighed": (
        Settings(1, 2, 0.2, kl=0.5),
        Settings(1, 2, 0.2),
        Settings(1, 2, 0.2, weight_decay=0.1),
        Settings(1, 2, 0.5, max_norm=1.0),
        Settings(1, 2, 0.1, kl=2.0),
    ),
    "rates, epochs and seeds": (
        Settings(1, 2, 0.2),
        Settings(1, 3, 0.05, seed=5),
        Settings(1, 1, 0.4, seed=6),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_settings_are_each_ones_own(case: str, scenes: Scenes):
    model = lively_flamingo(3, 4, 32, 2)
    check_as_alone(model, [
        task_of(model, scenes, RELATIONS[i % 4], raw(model), settings)
        for i, settings in enumerate(CASES[case])
    ])  # fmt: skip


@pytest.mark.slow
def test_starts_of_one_relation_and_numbers_of_prompts(scenes: Scenes):
    model = lively_flamingo(3, 4, 32, 2)
    settings = Settings(1, epochs=2, lr=0.2)
    check_as_alone(model, [
        task_of(model, scenes, "left", raw(model), settings),
        task_of(model, scenes, "left", "random", settings),
        task_of(model, scenes, "left", "normal", replace(settings, seed=8)),
        task_of(model, scenes, "above", zeros(model), settings, n=13, size=5, shots=1),
        task_of(model, scenes, "right", zeros(model), settings, n=3, size=8, shots=2),
    ])  # fmt: skip


def test_a_model_that_cannot_start_in_the_middle():
    model = TextModel()

    def task(seed: int) -> Task:
        made = [replace(model.tokens((3, 1, 5)), answers=torch.tensor([seed, 2, 3]))]
        return Task(made, made, zeros(model), Settings(0, epochs=2, lr=0.2, seed=seed))

    check_as_alone(model, [task(1), task(2)])


@pytest.mark.slow
def test_one_that_fails_costs_that_one(scenes: Scenes):
    model = lively_flamingo(3, 4, 32, 2)
    fine = Settings(1, epochs=3, lr=0.2)
    tasks = [
        task_of(model, scenes, "left", zeros(model), fine),
        task_of(model, scenes, "above", zeros(model), replace(fine, lr=1e30)),
        task_of(model, scenes, "right", zeros(model), replace(fine, variable="scale")),
        task_of(model, scenes, "below", zeros(model), replace(fine, variable="head_mask")),
        task_of(model, scenes, "right", raw(model), fine),
    ]
    first, wild, nothing, partless, last = tune_together(model, tasks)
    for error, code in ((wild, "MFV5314"), (nothing, "MFV5313"), (partless, "MFV5305")):
        assert isinstance(error, mfv.MfvError) and error.code == code
    for vector, task in ((first, tasks[0]), (last, tasks[-1])):
        assert isinstance(vector, Tuned)
        alone = tune(model, task.batches, task.validation, task.start, task.settings)
        assert distance(vector, alone) < CLOSE


@pytest.mark.slow
def test_all_take_one_pass_of_the_model(scenes: Scenes):
    """The last layer runs as often for four relations as for one."""
    model = lively_flamingo(3, 4, 32, 2)
    calls: Counter[int] = Counter()
    rows: list[int] = []

    def counted(_: Any, arguments: Any) -> None:
        if arguments[0].shape[1] == 1:  # last tokens
            calls[len(calls_of)] += 1
            rows.append(len(arguments[0]))

    calls_of: list[int] = []
    handle = model.layers[2].register_forward_pre_hook(counted)
    settings = Settings(1, epochs=2, lr=0.2)
    tasks = [task_of(model, scenes, name, zeros(model), settings) for name in RELATIONS]
    try:
        for number in (1, 4):
            calls_of.append(number)
            tune_together(model, tasks[:number])
    finally:
        handle.remove()
    assert calls[1] == calls[2] == 2 * 3 + 3 * 2  # steps, and batches of validation
    assert max(rows) == 4 * 15


@pytest.mark.slow
def test_memory_that_runs_out_makes_steps_smaller(scenes: Scenes, monkeypatch: pytest.MonkeyPatch):
    model = lively_flamingo(3, 4, 32, 2)
    settings = Settings(1, epochs=1, lr=0.2)
    tasks = [task_of(model, scenes, name, zeros(model), settings) for name in RELATIONS]
    wanted = vectors_of(tune_together(model, tasks))
    usual = model.continuation

    @contextmanager
    def narrow(state: Any) -> Iterator[Continuation]:
        if len(state.start) > 16:
            raise torch.OutOfMemoryError
        with usual(state) as continuation:
            yield continuation

    monkeypatch.setattr(model, "continuation", narrow)
    with pytest.warns(MemoryWarning, match="vectors in training at a time; going on with"):
        found = vectors_of(tune_together(model, tasks))
    assert all(distance(*pair) < CLOSE for pair in zip(found, wanted, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("lost", [(), (1,), (0, 2)])
def test_what_was_kept_is_gone_on_from(lost: tuple[int, ...], scenes: Scenes):
    """Epochs of some are lost, as where a run was stopped while it kept them: the same bits."""
    model = lively_flamingo(3, 4, 32, 2)
    settings = Settings(1, epochs=3, lr=0.2)
    tasks, parts = keeping(
        [task_of(model, scenes, name, zeros(model), settings) for name in RELATIONS[:3]]
    )
    steps: list[int] = []
    wanted = vectors_of(tune_together(model, tasks, progress=steps.append))
    assert sum(steps) == 3 * 3 * 3
    for place, mine in enumerate(parts):
        del mine["epoch/3"]
        if place in lost:
            del mine["epoch/2"]
    steps.clear()
    found = vectors_of(tune_together(model, tasks, progress=steps.append))
    assert all(same(*pair) for pair in zip(found, wanted, strict=True))
    assert sum(steps) == 3 * 3 * 3


@pytest.mark.slow
@pytest.mark.parametrize("make", [lively_flamingo, lively_mpt])
@pytest.mark.parametrize("shots", [((0, 2), (3,), (1, 0, 1)), ((1,), (1,))])
def test_an_injection_into_several_batches(
    make: Callable[..., OpenFlamingo], shots: Sequence[tuple[int, ...]], scenes: Scenes
):
    """Batches of other lengths and numbers of prompts, joined; with gradients."""
    model = make(4, 4, 32, 2)
    prefixes = [encode_prefix(model, mixed_batch(model, scenes, numbers)) for numbers in shots]
    generator = torch.Generator().manual_seed(0)
    for layer in range(4):
        vectors = [torch.randn(32, generator=generator, requires_grad=True) for _ in prefixes]
        edits = [[Edit("lm.resid", layer, "add", vector)] for vector in vectors]
        together = Injection(prefixes, keep=True)
        log_p, scores = together.log_p(edits), together.scores(edits, logits=True)
        pairs = [(Injection([prefix]), [own]) for prefix, own in zip(prefixes, edits, strict=True)]
        wanted = torch.cat([one.log_p(own) for one, own in pairs])
        logits = torch.cat([one.logits(own) for one, own in pairs])
        torch.testing.assert_close(log_p, wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(scores.log_p[:, 0], wanted, atol=1e-5, rtol=1e-5)
        assert scores.logits is not None
        torch.testing.assert_close(scores.logits[:, 0], logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.logits(edits), logits, atol=1e-5, rtol=1e-5)
        found, needed = (torch.autograd.grad(x.sum(), vectors) for x in (log_p, wanted))
        for one, two in zip(found, needed, strict=True):
            assert two.norm() > 1e-4
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
