"""Training vectors: the same as the plain way, reproducible, and of use."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import mfv_dsl as mfv
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine import prefix_cache
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.engine.trace import tracing
from mfv_dsl.execute.store import Store
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods import tuning
from mfv_dsl.methods.courses import Checkpoint, Course, Epoch, Settings, Work
from mfv_dsl.methods.destinations import Destination
from mfv_dsl.methods.training import Trainer
from mfv_dsl.methods.tuning import Training, Tuned, tune
from mfv_dsl.methods.tuning_variables import VARIABLES, HeadMaskVariable, HeadScalesVariable
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.report.tables import tuning_table
from tests.engine.support import TextModel, lively_flamingo, mixed_batch
from tests.execute.test_store import same
from tests.methods.support import batches, zeros

LAYER, RATE = 1, 0.6
HERE = Destination((("lm.resid", LAYER),))


@pytest.fixture(scope="module")
def train(tiny: OpenFlamingo, scenes: Scenes) -> list[PromptBatch]:
    return batches(tiny, scenes, "left", "train", 60, 12)


@pytest.fixture(scope="module")
def validation(tiny: OpenFlamingo, scenes: Scenes) -> list[PromptBatch]:
    return batches(tiny, scenes, "left", "validation", 50, 30)


@pytest.fixture(scope="module")
def raw() -> Vector:
    """A function vector with parts, of few prompts."""
    heads = "top(8, trials=8, on=[left])"
    return mfv.compile("fv(left)").vector(dataset="scenes(count=20)", heads=heads, trials=10)


# -- one step -------------------------------------------------------------------------------------
def plain_gradient(
    model: OpenFlamingo, batch: PromptBatch, data: Scenes, layer: int, vector: torch.Tensor
) -> torch.Tensor:
    """One prompt at a time through the whole Flamingo, images and all, the vector added by a hook:
    the gradient of the mean loss."""
    total = torch.zeros_like(vector)
    for prompt in batch.prompts:
        one = model.batch([prompt], data)
        pixels = model.preprocess(data.pictures(prompt.images, model.image_size))
        leaf = vector.clone().requires_grad_()
        with Hooks(model.model, model.sites, [Edit("lm.resid", layer, "add", leaf)]):
            said = model.model(
                vision_x=pixels[None, :, None], lang_x=one.tokens, attention_mask=one.mask
            )
        loss = cross_entropy(said.logits[:, -1], one.answers) / len(batch)
        total += torch.autograd.grad(loss, leaf)[0]
    return total


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_the_gradient_is_the_plain_ways(scenes: Scenes, layer: int):
    model = lively_flamingo(4, 4, 32, 2)
    batch = mixed_batch(model, scenes, (0, 1, 2, 0, 0))
    vector = torch.randn(32, generator=torch.Generator().manual_seed(layer))
    leaf = vector.clone().requires_grad_()
    injection = Injection([encode_prefix(model, batch)])
    (found,) = torch.autograd.grad(
        -injection.log_p([[Edit("lm.resid", layer, "add", leaf)]]).mean(), leaf
    )
    wanted = plain_gradient(model, batch, scenes, layer, vector)
    assert wanted.norm() > 1e-3
    assert (found - wanted).norm() < 1e-5 * wanted.norm()


@pytest.mark.parametrize("lead", [(), (3,)], ids=["one vector", "a vector per prompt"])
def test_an_injection_is_the_edit_of_the_prefix_engine(scenes: Scenes, lead: tuple[int, ...]):
    generator = torch.Generator().manual_seed(0)
    flamingo, text = lively_flamingo(4, 4, 32, 2), TextModel()
    cases: list[tuple[Any, PromptBatch]] = [
        (flamingo, mixed_batch(flamingo, scenes, (2, 0, 1))),
        (text, text.tokens((3, 1, 5))),  # cannot start in the middle
    ]
    for model, batch in cases:
        prefix = encode_prefix(model, batch)
        injection = Injection([prefix])
        for layer in range(model.facts.n_layers):
            added = torch.randn(*lead, 32, generator=generator)
            with tracing() as touches, torch.no_grad():
                found = injection.scores([[Edit("lm.resid", layer, "add", added)]], logits=True)
                wanted = prefix.scores([[Edit("lm.resid", layer, "add", added)]], logits=True)
            assert found.logits is not None and wanted.logits is not None
            torch.testing.assert_close(found.logits, wanted.logits, atol=1e-5, rtol=1e-4)
            assert torch.equal(found.likeliest, wanted.likeliest)
            assert len(touches) == 6  # three prompts each time
    with pytest.raises(mfv.MfvError, match="no layer 9"):
        injection.scores([[Edit("lm.resid", 9, "add", torch.zeros(32))]])


@pytest.mark.slow
def test_prefixes_that_do_not_fit_are_run_again_with_the_same_result(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    runs = 0
    usual = tiny.prefix

    def counted(batch: PromptBatch) -> Any:
        nonlocal runs
        runs += 1
        return usual(batch)

    monkeypatch.setattr(tiny, "prefix", counted)
    settings = Settings(LAYER, epochs=2, lr=RATE)
    made, counts = [], []
    size = encode_prefix(tiny, train[0]).nbytes
    for memory in (None, 2 * size, 0):
        runs = 0
        if memory is not None:  # a quarter of what is free
            monkeypatch.setattr(prefix_cache, "free_bytes", lambda device, m=memory: 4 * m)
        made.append(tune(tiny, train, validation, zeros(tiny), settings))
        counts.append(runs)
    # five batches in two epochs, two for validation three times; of those one fits in the second
    assert counts == [7, 2 * 5 + 3 + 1, 2 * 5 + 3 * 2]
    assert same(made[0], made[1]) and same(made[0], made[2])


# -- training -------------------------------------------------------------------------------------
@pytest.mark.slow
def test_from_nothing_to_the_task(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch]
):
    steps: list[int] = []
    made = tune(
        tiny, train, validation, zeros(tiny), Settings(LAYER, epochs=4, lr=RATE),
        progress=steps.append,
    )  # fmt: skip
    first, best = made.training.epochs[0], made.training.epochs[made.training.chosen]
    assert (first.accuracy, first.loss, first.norm) == (pytest.approx(0.25, abs=0.15), None, 0)
    assert best.accuracy >= 0.9
    assert best.nll < first.nll / 3
    assert sum(steps) == 4 * len(train)
    assert not made.has_parts
    assert made.norm() == best.norm
    assert made.training.n == 50
    losses = [epoch.loss for epoch in made.training.epochs[1:]]
    assert losses == sorted(losses, reverse=True)
    for parameter in tiny.model.parameters():
        assert parameter.grad is None and not parameter.requires_grad


@pytest.mark.slow
def test_a_random_start(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch]
):
    settings = Settings(LAYER, epochs=1, lr=1e-9)
    made = tune(tiny, train, validation, "random", settings)
    with torch.no_grad():
        read = [Read("lm.resid", LAYER)]
        streams = [full_pass(tiny, batch, reads=read).readings[0][:, 0] for batch in train]
    lengths = torch.cat(streams).norm(dim=-1)
    assert made.training.epochs[0].norm == pytest.approx(
        tuning.RANDOM_SHARE * float(lengths.mean()), rel=1e-4
    )
    other = tune(tiny, train, validation, "random", replace(settings, seed=5))
    assert not torch.allclose(made.residual, other.residual)
    better = tune(tiny, train, validation, "random", Settings(LAYER, epochs=3, lr=RATE))
    assert better.training.epochs[-1].accuracy > better.training.epochs[0].accuracy + 0.3


@pytest.mark.slow
def test_a_normal_start(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch]
):
    """Every number is drawn from the standard normal distribution, by the seed."""
    made = tune(tiny, train[:1], validation[:1], "normal", Settings(LAYER, epochs=1, lr=1e-9))
    numbers = made.residual
    assert abs(float(numbers.mean())) < 0.3 and abs(float(numbers.std()) - 1) < 0.2
    again = tuning.normal_start(tiny, HERE.places, 1234).residual
    torch.testing.assert_close(numbers, again, atol=1e-6, rtol=0)
    assert not torch.equal(again, tuning.normal_start(tiny, HERE.places, 5).residual)


def curve(*losses: float) -> Training:
    epochs = [Epoch(None, None, 0, 0, 0), *(Epoch(loss, None, 0, 0, 0) for loss in losses)]
    return Training(tuple(epochs), 0, 10)


@pytest.mark.parametrize(
    ("losses", "fall"),
    [
        # trainings of above_right on the bundled model: 91 %, 94.5 % and 99.5 % correct after
        ((0.367, 0.342, 0.323, 0.304, 0.289, 0.279, 0.272, 0.267, 0.265, 0.265), 0.024),
        ((0.343, 0.275, 0.228, 0.190, 0.167, 0.150, 0.140, 0.134, 0.131, 0.130), 0.037),
        ((0.283, 0.125, 0.069, 0.038, 0.030, 0.026, 0.025, 0.024, 0.023, 0.023), None),
        ((0.286, 0.147, 0.085, 0.057, 0.046, 0.040, 0.038, 0.036, 0.035, 0.035), None),
        ((1.0, 0.8, 0.6, 0.5), 0.3),
        ((1.0, 0.8, 0.6), None),  # too few epochs to tell
        ((1.0, 0.7, 0.8, 0.6), None),  # it rises about as much as it falls
        ((0.008, 0.006, 0.004, 0.001), None),  # nothing left to gain
        ((1.0, 1.0, 1.1, 1.2), None),
    ],
)  # fmt: skip
def test_a_loss_that_still_falls_is_told_from_one_that_is_done(
    losses: tuple[float, ...], fall: float | None
):
    found = curve(*losses).still_falling
    assert found == (None if fall is None else pytest.approx(fall))


@pytest.mark.slow
def test_a_run_says_which_vectors_are_not_trained_to_the_end(tmp_path: Path):
    text = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, above], count=20)
defaults { layer = 1, epochs = 4, batch = 20 }
tune slow { start = zeros(), items = all, lr = 1e-1, select_items = 5, on = [left] }
tune quick { start = zeros(), items = all, lr = 5, select_items = 5, epochs = 16, on = [left] }
eval a { add = slow(left), items = 5, on = [left] }
eval b { add = quick(left), items = 5, on = [left] }
"""
    ran = mfv.Recipe(text).run(tmp_path, fresh=True)
    (note,) = (note for note in ran.notes if "not trained to the end" in note)
    assert note.startswith("slow is not trained to the end") and "(left)" in note
    (item,) = (item for item in ran.results.notes if item["text"] == note)
    assert item["tune"] == "slow"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch]
):
    settings = Settings(LAYER, epochs=2, lr=RATE)
    one, two = (tune(tiny, train, validation, zeros(tiny), settings) for _ in range(2))
    assert same(one, two)
    other = tune(tiny, train, validation, zeros(tiny), replace(settings, seed=1))
    assert not torch.equal(one.residual, other.residual)  # other mini-batches first


@pytest.mark.slow
def test_every_epoch_takes_the_mini_batches_in_an_order_of_its_own(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    course = course_of(tiny, train, validation, Settings(LAYER, epochs=3, lr=RATE))
    trainer, taken = trainer_of(tiny), list[int]()
    usual = trainer.losses.of

    def listening(works: Any) -> Any:
        taken.extend(work.number for work in works)
        return usual(works)

    monkeypatch.setattr(trainer.losses, "of", listening)
    checkpoints = trainer.starts([course])
    for number in (1, 2, 3):
        checkpoints = trainer.epoch([course], number, checkpoints)
    orders = [tuple(taken[start : start + 5]) for start in (0, 5, 10)]
    assert [sorted(order) for order in orders] == [list(range(5))] * 3
    assert len(set(orders)) == 3


@pytest.mark.slow
def test_a_bound_and_a_decay_keep_the_vector_short(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch], raw: Vector
):
    run = partial(tune, tiny, train, validation)
    free = run(raw, Settings(LAYER, epochs=2, lr=RATE))
    for variable in ("vector", "scale", "head_scales"):
        settings = Settings(LAYER, epochs=2, lr=RATE, max_norm=20.0, variable=variable)
        bound = run(raw, settings).training
        assert max(epoch.norm for epoch in bound.epochs) < 20.0 + 1e-4
        assert bound.epochs[-1].norm > 18
    assert raw.norm() > 25 and free.norm() > 25
    decayed = run(raw, Settings(LAYER, epochs=2, lr=RATE, weight_decay=0.05))
    assert decayed.training.epochs[-1].norm < 0.8 * free.training.epochs[-1].norm
    # the penalty is half the squared length: its gradient is the vector
    value = torch.randn(128, requires_grad=True)
    gradients = []
    for decay in (0.0, 0.5):
        course = course_of(tiny, train, validation, Settings(LAYER, weight_decay=decay))
        ((loss, _),) = trainer_of(tiny).losses.of([Work(course, 0, value)])
        gradients += torch.autograd.grad(loss, value)
    torch.testing.assert_close(gradients[1] - gradients[0], 0.5 * value.detach())


def trainer_of(model: OpenFlamingo) -> Trainer:
    return Trainer(model, PrefixCache(model), lambda _: None)


def course_of(
    model: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch], settings: Settings
) -> Course:
    variable = VARIABLES[settings.variable](zeros(model), model.device, HERE)
    return Course(train, validation, (), settings, variable)


@pytest.mark.slow
def test_a_scale(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch], raw: Vector
):
    small = 0.2 * raw
    made = tune(tiny, train, validation, small, Settings(LAYER, 3, RATE, variable="scale"))
    factor = made.norm() / small.norm()
    assert factor > 1.5
    torch.testing.assert_close(made.residual, factor * small.residual, rtol=1e-4, atol=1e-5)
    assert made.heads == small.heads
    assert made.head_means is not None and small.head_means is not None
    torch.testing.assert_close(made.head_means, factor * small.head_means, rtol=1e-4, atol=1e-5)
    assert made.training.epochs[-1].nll < made.training.epochs[0].nll
    with pytest.raises(mfv.MfvError, match="MFV5313"):
        tune(tiny, train, validation, zeros(tiny), Settings(LAYER, variable="scale"))


@pytest.mark.slow
def test_a_factor_per_head(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch], raw: Vector
):
    settings = Settings(LAYER, 4, 0.2, variable="head_scales")
    made = tune(tiny, train, validation, raw, settings)
    assert made.heads == raw.heads
    assert made.head_projected is not None and raw.head_projected is not None
    torch.testing.assert_close(made.residual, made.head_projected.sum(0))
    factors = (made.head_projected * raw.head_projected).sum(-1) / raw.head_projected.square().sum(
        -1
    )
    torch.testing.assert_close(made.head_projected, factors[:, None] * raw.head_projected)
    assert factors.max() - factors.min() > 0.1
    assert made.training.epochs[made.training.chosen].nll < made.training.epochs[0].nll
    with pytest.raises(mfv.MfvError, match="MFV5305"):
        tune(tiny, train, validation, zeros(tiny), settings)


@pytest.mark.slow
def test_a_mask_keeps_the_heads_that_matter(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch], raw: Vector
):
    settings = Settings(LAYER, 4, 0.3, variable="head_mask", sparsity=0.05)
    made = tune(tiny, train, validation, raw, settings)
    assert made.heads is not None and raw.heads is not None and raw.head_projected is not None
    assert 0 < len(made.heads) < len(raw.heads)
    assert (2, 6) in made.heads  # by far the largest effect
    rows = [raw.heads.index(head) for head in made.heads]
    torch.testing.assert_close(made.residual, raw.head_projected[rows].sum(0))
    first, best = made.training.epochs[0], made.training.epochs[made.training.chosen]
    assert first.norm == pytest.approx(raw.norm()) and best.accuracy >= first.accuracy
    dense = tune(tiny, train, validation, raw, replace(settings, sparsity=0.0))
    assert dense.heads is not None and len(dense.heads) > len(made.heads)


def kept(parts: dict[str, Any], name: str, make: Callable[[], Any]) -> Any:
    if name not in parts:
        parts[name] = make()
    return parts[name]


@pytest.mark.slow
def test_a_mask_that_keeps_nothing_is_an_error(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch], raw: Vector
):
    settings = Settings(LAYER, 3, 5.0, variable="head_mask", sparsity=1000.0)
    with pytest.raises(mfv.MfvError, match="MFV5315"):
        tune(tiny, train, validation, -20 * raw, settings)  # worse than nothing


def test_what_is_learned_and_what_comes_of_it_agree(tiny: OpenFlamingo, raw: Vector):
    """At the start every variable yields the start; a value's vector is its finished one."""
    for name, kind in VARIABLES.items():
        if name in ("place_scales", "patch_mask"):  # of vectors of several places, and of chances
            continue
        variable = kind(raw, tiny.device, HERE)
        torch.testing.assert_close(variable.result(variable.first()).residual, raw.residual)
        if name != "head_mask":
            value = torch.randn_like(variable.first())
            torch.testing.assert_close(variable.result(value).residual, variable.vector(value))
    soft = HeadMaskVariable(raw, tiny.device, HERE).vector(torch.full((8,), 30.0))
    torch.testing.assert_close(
        soft, HeadScalesVariable(raw, tiny.device, HERE).vector(torch.ones(8))
    )


@pytest.mark.slow
def test_kl_leaves_other_tasks_alone(
    tiny: OpenFlamingo, scenes: Scenes, train: list[PromptBatch], validation: list[PromptBatch]
):
    off_task = batches(tiny, scenes, "right", "train", 60, 12, shots=2)
    elsewhere = batches(tiny, scenes, "right", "test", 30, 30, shots=2)
    costs, accuracies = [], []
    for kl in (0.0, 2.0):
        settings = Settings(LAYER, epochs=3, lr=1.0, kl=kl)
        made = tune(tiny, train, validation, zeros(tiny), settings, off_task)
        prefix = encode_prefix(tiny, elsewhere[0])
        added = [Edit("lm.resid", LAYER, "add", made.residual)]
        with torch.no_grad():
            before = prefix.scores([()], logits=True).logits[:, 0].log_softmax(-1)
            after = Injection([prefix]).logits([added]).log_softmax(-1)
            costs.append(float((before.exp() * (before - after)).sum(-1).mean()))
            (weighed,) = trainer_of(tiny).losses.off_task_kl(elsewhere, [added])
        assert float(weighed) == pytest.approx(costs[-1], rel=1e-4)
        accuracies.append(made.training.epochs[-1].accuracy)
        seen = [epoch.off_task_kl for epoch in made.training.epochs[1:]]
        assert all(cost is None for cost in seen) if kl == 0 else min(seen) >= -1e-6
    assert costs[0] > 0.5
    assert costs[1] < costs[0] / 4
    assert accuracies[1] > 0.9


# -- choosing and going on ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        ([(0.2, 1.0), (0.9, 0.5), (0.8, 0.1)], 1),  # accuracy first
        ([(0.2, 1.0), (0.9, 0.5), (0.9, 0.4)], 2),  # of equals the lower NLL
        ([(0.2, 1.0), (0.9, 0.5), (0.9, 0.5)], 1),  # then the earlier
        ([(0.9, 0.5), (0.9, 0.5), (0.1, 0.5)], 0),  # the start is a candidate
    ],
)
def test_the_epoch_is_chosen_on_validation(
    tiny: OpenFlamingo, train: list[PromptBatch], validation: list[PromptBatch],
    measured: list[tuple[float, float]], chosen: int,
):  # fmt: skip
    parts = {
        f"epoch/{i}": Checkpoint(
            Epoch(0.1 * i, None, accuracy, nll, 0.0), torch.full((128,), float(i)),
            torch.zeros(128), torch.zeros(128),
        )
        for i, (accuracy, nll) in enumerate(measured)
    }  # fmt: skip
    settings = Settings(LAYER, epochs=2)
    made = tune(tiny, train, validation, zeros(tiny), settings, keep=partial(kept, parts))
    assert made.training.chosen == chosen
    assert torch.equal(made.residual, torch.full((128,), float(chosen)))


RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above], count=40)
defaults { heads = {L2H6, L3H6}, trials = 10, items = 20, layer = 1, lr = 0.6, epochs = 5 }
tune tuned { start = fv(each), items = 40, batch = 16, select_items = 20, on = [left, right] }
tune more  { start = tuned(each) - 0.5 * tuned(right), items = 16, select_items = 20,
             variable = scale, epochs = 1, on = [left] }
tune blind { start = random, items = 32, select_items = 20, kl = 0.2, epochs = 2, on = [left] }
eval trained { add = tuned(each), on = [left, right] }
eval mixed   { add = 0.5 * (tuned(left) + blind(left)) - more(left), on = [left] }
save "OUT" { vectors = [tuned(each), more(left), mean(blind(left), fv(left))], on = [left] }
"""


class Interrupting:
    """A listener that stops the run after so many steps of the first tune."""

    def __init__(self, after: int) -> None:
        self.left, self.told = after, [0]

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        if label != "tuned(left), tuned(right)":
            return lambda _: None

        def done(units: int) -> None:
            self.told[0] += units
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt

        return done


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.slow
def test_an_interrupted_training_goes_on(
    lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = mfv.Recipe(RECIPE)
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "whole"))
    whole = recipe.run(tmp_path / "a", only=["trained"])
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "cut"))
    made: list[int] = []
    usual = Trainer.epoch

    def counted(trainer: Any, courses: Any, number: int, before: Any) -> Any:
        checkpoints = usual(trainer, courses, number, before)
        made.append(number)
        return checkpoints

    monkeypatch.setattr(Trainer, "epoch", counted)
    with pytest.raises(KeyboardInterrupt):  # three steps an epoch: in the fourth
        recipe.run(tmp_path / "b", Interrupting(10), only=["trained"])
    assert made == [1, 2, 3]
    store = Store(tmp_path / "cut")
    assert len(list(store.root.glob("parts/*/*"))) == 2 * 4  # the start and three epochs of both
    if lost:  # it was stopped between the two
        parts = sorted(store.root.glob("parts/*/*"), key=lambda path: path.stat().st_mtime_ns)
        parts[-1].unlink()
    listener = Interrupting(10**6)
    resumed = recipe.run(tmp_path / "b", listener, only=["trained"])
    assert made == [1, 2, 3, *([3] if lost else []), 4, 5]
    assert listener.told == [2 * 15]
    assert not list(store.root.glob("parts/*"))
    assert resumed.rows == whole.rows and resumed.tunes == whole.tunes
    for key, value in whole.values.items():
        assert same(value, resumed.values[key])
    for name in ("tune/tuned/left.json", "tune/tuned/right.json", "results.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_trained_vector_is_kept(tmp_path: Path):
    space = Space("f", 4)
    epochs = (Epoch(None, None, 0.5, 1.5, 0.0), Epoch(1.25, 0.125, 0.75, 0.5, 2.0))
    vector = Tuned(torch.randn(4), space, "tuned(left)", training=Training(epochs, 1, 20))
    checkpoint = Checkpoint(epochs[1], torch.randn(4), torch.randn(4), torch.rand(4))
    store = Store(tmp_path)
    for value in (vector, checkpoint):
        store.put("ab" * 32, value, "a label", "tune")
        assert same(store.get("ab" * 32), value)
    assert type(2 * vector) is Vector


# -- from a recipe --------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_recipe_trains_tests_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    splits: set[str] = set()
    usual = Scenes.items

    def noted(data: Scenes, relation: str, split: str) -> Any:
        splits.add(split)
        return usual(data, relation, split)

    monkeypatch.setattr(Scenes, "items", noted)
    recipe = mfv.Recipe(RECIPE.replace("OUT", str(tmp_path / "library")))
    only = recipe.run(tmp_path / "only", only=["tuned", "blind"])
    assert splits == {"extract", "train", "validation"}  # never test
    assert [(row.tune, row.relation) for row in only.tunes] == [
        ("tuned", "left"), ("tuned", "right"), ("blind", "left"),
    ]  # fmt: skip
    result = recipe.run(tmp_path / "out")
    assert result.cached == len(only.values)
    trained = [r for r in result.rows if r.eval == "trained" and r.relation is not None]
    assert [row.accuracy >= 0.8 for row in trained] == [True, True]

    said = json.loads((tmp_path / "out/results.json").read_text())
    assert said["tunes"] == json.loads(json.dumps(result.to_json()["tunes"]))
    row = said["tunes"][0]
    curves = json.loads((tmp_path / "out/tune/tuned/left.json").read_text())
    assert [epoch["epoch"] for epoch in curves["epochs"]] == [0, 1, 2, 3, 4, 5]
    best = curves["epochs"][row["chosen"]]
    assert (row["accuracy"], row["nll"], row["n"]) == (best["accuracy"], best["nll"], 20)
    assert row["ci_low"] < row["accuracy"] <= row["ci_high"]
    assert curves["start"] == "fv(left)" and curves["settings"]["lr"] == 0.6
    assert tuning_table(result.tunes).row_count == 4

    stored = {path.stem: load_vector(path) for path in (tmp_path / "library").glob("*.safetensors")}
    assert {name: one.metadata["kind"] for name, one in stored.items()} == {
        "tuned_left": "tuned", "more_left": "tuned", "mean_blind_left_fv_left": "composed",
    }  # fmt: skip
    one = stored["tuned_left"].metadata
    assert one["layer"] == 1 and one["relation"] == "left" and one["dataset"]["id"] == "scenes"
    assert one["tuning"]["validation"]["accuracy"] == row["accuracy"]
    assert stored["tuned_left"].vector.expression == "tuned(left)"
    assert stored["more_left"].metadata["tuning"]["variable"] == "scale"


def test_only_what_is_needed_is_trained():
    recipe = mfv.Recipe(RECIPE)
    everything = recipe.plan()
    assert [(row.tune, row.relation) for row in everything.tunes] == [
        ("tuned", "left"), ("tuned", "right"), ("more", "left"), ("blind", "left"),
    ]  # fmt: skip
    assert [row.relation for row in recipe.plan(["trained"]).tunes] == ["left", "right"]
    assert [row.tune for row in recipe.plan(["blind"]).tunes] == ["blind"]
    assert everything.to_json()["tunes"][0]["relation"] == "left"


def test_what_matters_to_a_training_is_in_its_key():
    def keys(text: str) -> list[str]:
        return [row.step for row in mfv.Recipe(text).plan(["tuned"]).tunes]

    one = keys(RECIPE)
    same_keys = RECIPE.replace("on = [left, right] }\ntune more", "on = [left, right, above] }\n"
                               "tune more")  # fmt: skip
    assert keys(same_keys)[:2] == one
    assert keys(RECIPE.replace("{ start = fv(each),", "{ start = fv(each), kl = 0,")) == one
    for change in (
        "epochs = 4", "lr = 0.2", "batch = 8", "items = 20", "shots = 1", "max_norm = 3",
        "weight_decay = 0.1", "kl = 0.1", "variable = head_mask", "select_items = 10",
        "select_on = extract", "layer = 2", "seed = 3",
    ):  # fmt: skip
        option = f"tuned.{change.replace(' ', '')}"
        changed = [
            row.step for row in mfv.Recipe(RECIPE, overrides=(option,)).plan(["tuned"]).tunes
        ]
        assert not set(changed) & set(one), change


def test_a_zero_start_cannot_be_scaled_and_says_so_before_the_run():
    text = RECIPE.replace("start = tuned(each) - 0.5 * tuned(right)", "start = zeros()")
    with pytest.raises(mfv.MfvError, match="MFV5313"):
        mfv.Recipe(text).plan()
