"""What siblings of function vectors learn, against their definitions in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.methods.courses import Course, Settings, Work
from mfv_dsl.methods.destinations import destination_of
from mfv_dsl.methods.evaluation import measure, patching
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.losses import Losses
from mfv_dsl.methods.tuning import Task, Tuned, tune, tune_together
from mfv_dsl.methods.tuning_variables import VARIABLES
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.tiny.constructor import load
from tests.methods.support import batches, zeros

MODELS = pytest.mark.parametrize(
    "name", ["flamingo", pytest.param("llava", marks=pytest.mark.slow)]
)
Place = tuple[str, int]
#: What a place's output (prompts, length, width) becomes.
Change = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def hooked(model: Any, changes: Mapping[Place, Change]) -> Iterator[None]:
    """Hooks of PyTorch on what the modules of the places put out."""
    handles = []
    for (site, layer), change in changes.items():
        module = model.model.get_submodule(model.sites[site].module_path(layer))

        def after(_: Any, __: Any, output: Any, change: Change = change) -> Any:
            if isinstance(output, tuple):
                return (change(output[0]), *output[1:])
            return change(output)

        handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def adding(parts: torch.Tensor, places: Sequence[Place], everywhere: bool) -> dict[Place, Change]:
    def change(part: torch.Tensor) -> Change:
        def added(states: torch.Tensor) -> torch.Tensor:
            if everywhere:
                return states + part
            last = states[:, -1:] + part
            return torch.cat([states[:, :-1], last], dim=1)

        return added

    return {place: change(part) for place, part in zip(places, parts, strict=True)}


def plainly_trained(
    value: torch.Tensor, loss_of: Callable[[torch.Tensor, int], torch.Tensor],
    orders: Sequence[Sequence[int]], lr: float,
) -> torch.Tensor:  # fmt: skip
    """Adam with a rate that falls along a cosine over all steps."""
    value = value.clone().requires_grad_()
    adam = torch.optim.Adam([value], lr=lr)
    steps = [number for order in orders for number in order]
    for step, number in enumerate(steps):
        adam.param_groups[0]["lr"] = lr / 2 * (1 + math.cos(math.pi * step / len(steps)))
        adam.zero_grad()
        loss_of(value, number).backward()
        adam.step()
    return value.detach()


def nll(model: Any, batch: PromptBatch) -> torch.Tensor:
    return cross_entropy(model.forward(batch).float(), batch.answers)


CASES = {
    # a shift behind every layer, from a teacher with four demonstrations
    "live": (("lm.resid",), "all", "vector", "teacher", "last"),
    # a factor for what demonstrations left in attention and MLP of each layer
    "i2cl": (("lm.attn.out", "lm.mlp"), "all", "place_scales", "nll", "last"),
    # M2IV's places: a vector for attention and MLP of each layer
    "m2iv": (("lm.attn.out", "lm.mlp"), "{0, 1}", "vector", "teacher", "last"),
    # written to every token: full passes
    "all tokens": (("lm.resid",), 1, "vector", "nll", "all"),
}


@pytest.mark.slow
@MODELS
@pytest.mark.parametrize("case", CASES)
def test_a_few_steps_are_those_of_the_definition(case: str, name: str, scenes: Scenes):
    sites, layer, variable, loss, position = CASES[case]
    model = load(name)
    given = batches(model, scenes, "left", "train", 4, 2)
    taught = batches(model, scenes, "left", "train", 4, 2, shots=2)
    for one, other in zip(given, taught, strict=True):  # the same queries
        assert [p.query for p in one.prompts] == [p.query for p in other.prompts]
    layers = range(model.facts.n_layers) if layer == "all" else (0, 1) if layer != 1 else (1,)
    places = sorted(((site, n) for n in layers for site in sites), key=lambda p: (p[1], p[0]))
    facts, n = model.facts, len(places)
    space = Space(facts.fingerprint, facts.d_model, places=tuple(places) if n > 1 else ())
    generator = torch.Generator().manual_seed(3)
    start = Vector(0.3 * torch.randn(n * facts.d_model, generator=generator), space, "start")
    settings = Settings(
        layer, epochs=2, lr=0.05, variable=variable, sites=sites, loss=loss,
        nll_weight=0.5 if loss == "teacher" else 0.0,
        positions=None if position == "all" else (-1,),
    )  # fmt: skip
    kept: dict[str, Any] = {}

    def keep(part: str, make: Callable[[], Any]) -> Any:
        kept[part] = make()
        return kept[part]

    tune(model, given, given[:1], start, settings, teacher=taught, keep=keep)
    course = Course(given, given, (), settings, VARIABLES["vector"](
        zeros(model), model.device, destination_of(model.sites, zeros(model), 0, ("lm.resid",))
    ))  # fmt: skip
    orders = [course.order(1), course.order(2)]
    rows = start.residual.view(n, -1)
    first = torch.ones(n) if variable == "place_scales" else start.residual

    def loss_of(value: torch.Tensor, number: int) -> torch.Tensor:
        parts = value[:, None] * rows if variable == "place_scales" else value.view(n, -1)
        with hooked(model, adding(parts, places, position == "all")):
            if loss == "nll":
                return nll(model, given[number])
            logits = model.forward(given[number]).float()
        with torch.no_grad():
            behind = model.forward(taught[number]).float().softmax(-1)
        said = logits.softmax(-1)
        kl = (behind * (behind.log() - said.log())).sum(-1).mean()
        return kl + 0.5 * cross_entropy(logits, given[number].answers)

    wanted = plainly_trained(first, loss_of, orders, 0.05)
    found = kept["epoch/2"].value
    assert (wanted - first).abs().max() > 0.05
    # Adam's first steps are signs: a gradient near 0 may round to either
    assert ((found - wanted).abs() < 1e-4).float().mean() > 0.98
    with torch.no_grad():
        one, two = loss_of(found, 0), loss_of(wanted, 0)
    assert float(one) == pytest.approx(float(two), abs=2e-4)
    if position == "last" and variable == "vector":
        work = Work(Course(given, given, (), settings, VARIABLES[variable](
            start, model.device, destination_of(model.sites, start, layer, sites)
        ), taught), 0, first.clone().requires_grad_())  # fmt: skip
        ((mine, _),) = Losses(model, PrefixCache(model)).of([work])
        value = first.clone().requires_grad_()
        plain = loss_of(value, 0)
        assert float(mine.detach()) == pytest.approx(float(plain.detach()), abs=1e-5)
        a, b = (torch.autograd.grad(x, leaf)[0] for x, leaf in ((mine, work.value), (plain, value)))
        assert (a - b).norm() < 1e-4 * b.norm()


# -- heads that are patched -----------------------------------------------------------------------
HEADS = ((0, 1), (1, 0), (1, 3), (2, 2))


def with_heads(model: Any, seed: int = 0) -> Vector:
    facts = model.facts
    mean = torch.randn(
        facts.n_layers, facts.n_heads, facts.head_dim, generator=torch.Generator().manual_seed(seed)
    )
    return function_vector(model, mean, HEADS)


def course_of(model: Any, given: Sequence[PromptBatch], start: Vector, **options: Any) -> Course:
    settings = Settings("native", variable="patch_mask", **options)
    where = destination_of(model.sites, start, "native", settings.sites, settings.positions)
    variable = VARIABLES["patch_mask"](start, model.device, where)
    return Course(given, given, (), settings, variable)


@pytest.mark.slow
@MODELS
def test_the_gradient_of_a_sampled_mask_is_reinforces(name: str, scenes: Scenes):
    """Each prompt by itself, its heads replaced by hooks (arXiv:2406.15334)."""
    model = load(name)
    given, start = batches(model, scenes, "left", "train", 6, 6), with_heads(load(name))
    course = course_of(model, given, start)
    value = torch.tensor([-1.0, 0.5, 0.0, 1.0], requires_grad=True)
    work = Work(course, 0, value, 2)
    drawn = work.drawn()
    assert drawn is not None and drawn.shape == (6, 4) and torch.equal(drawn, work.drawn())
    assert not torch.equal(drawn, work._replace(epoch=3).drawn())
    ((found, _),) = Losses(model, PrefixCache(model)).of([work])
    (gradient,) = torch.autograd.grad(found, value)

    site, losses = model.sites["lm.attn"], []
    assert start.head_means is not None
    for row, prompt in enumerate(given[0].prompts):
        one, handles = model.batch([prompt], scenes), []
        for layer in {layer for layer, _ in HEADS}:

            def patched(_: Any, inputs: Any, layer: int = layer, row: int = row) -> Any:
                states = inputs[0].clone()
                for number, (own, head) in enumerate(HEADS):
                    if own == layer and drawn[row, number]:
                        columns = slice(head * site.width, (head + 1) * site.width)
                        states[:, -1, columns] = start.head_means[number]
                return (states, *inputs[1:])

            module = model.model.get_submodule(site.module_path(layer))
            handles.append(module.register_forward_pre_hook(patched))
        with torch.no_grad():
            losses.append(nll(model, one))
        for handle in handles:
            handle.remove()
    told = torch.stack(losses)
    assert float(found.detach()) == pytest.approx(float(told.mean()), abs=1e-4)
    advantage = (told - told.mean()) / (told.std() + 1e-3)
    leaf = value.detach().clone().requires_grad_()
    log_p = torch.distributions.Bernoulli(logits=leaf).log_prob(drawn).sum(-1)
    (wanted,) = torch.autograd.grad((advantage * log_p).mean(), leaf)
    torch.testing.assert_close(gradient, wanted, atol=1e-3, rtol=1e-3)
    assert wanted.norm() > 1e-2


def test_what_is_measured_is_what_a_patch_does(tiny: Any, scenes: Scenes):
    """The heads above a half are patched whole."""
    given, start = batches(tiny, scenes, "left", "train", 4, 4), with_heads(tiny)
    course = course_of(tiny, given, start)
    result = course.variable.result(torch.tensor([3.0, -1.0, 0.0, 0.1]))
    assert result.heads == (HEADS[0], HEADS[3])
    written = measure(tiny, given, course.variable.written(result)).p_answer
    assert (written == measure(tiny, given, patching(result)).p_answer).all()
    none = course.variable.result(torch.full((4,), -1.0))
    assert none.heads == () and course.variable.written(none) == []


@pytest.mark.slow
def test_sampling_finds_heads_to_patch(tiny: Any, scenes: Scenes):
    """From nothing to the task, with heads of demonstrations."""
    from mfv_dsl.methods.activations import task_mean

    shown = [tiny.batch(draw_prompts(scenes, "left", "extract", 30, 4), scenes)]
    heads = [(layer, head) for layer in range(10) for head in range(tiny.facts.n_heads)]
    start = function_vector(tiny, task_mean(tiny, shown, "left").mean, tuple(heads))
    given = batches(tiny, scenes, "left", "train", 60, 30)
    settings = Settings("native", epochs=12, lr=0.3, variable="patch_mask")
    made = tune(tiny, given, given, start, settings)
    first, best = made.training.epochs[0], made.training.epochs[made.training.chosen]
    assert made.heads is not None and 0 < len(made.heads) < len(heads)
    assert best.accuracy > first.accuracy + 0.3
    again = tune(tiny, given, given, start, settings)
    assert again.heads == made.heads


def test_a_mask_of_patches_that_is_trained_too_little_says_so(tiny: Any, scenes: Scenes):
    given, start = batches(tiny, scenes, "left", "train", 4, 4), with_heads(tiny)
    settings = Settings("native", epochs=1, lr=0.01, variable="patch_mask")
    with pytest.raises(MfvError, match="MFV5315.*in 1 steps the largest was 0.27"):
        tune(tiny, given, given, start, settings)
    made = tune(tiny, given, given, start, replace(settings, epochs=2, lr=3.0))
    assert made.heads and made.training.chosen > 0  # that patches some; the start patches none


# -- several places -------------------------------------------------------------------------------
def test_where_a_vector_is_trained(tiny: Any):
    heads, plain = with_heads(tiny), zeros(tiny)
    places = (("lm.mlp", 1), ("lm.resid", 1), ("lm.resid", 4))
    several = Vector(torch.zeros(3 * 128), Space(plain.space.fingerprint, 128, places=places), "s")
    assert destination_of(tiny.sites, several, "native", ("lm.resid",)).places == places
    native = destination_of(tiny.sites, heads, "native", ("lm.resid",))
    assert native.by_head and native.places == tuple(("lm.attn.out", n) for n in (0, 1, 2))
    torch.testing.assert_close(native.parts_of(heads).sum(0), heads.residual)
    both = destination_of(tiny.sites, plain, "{1, 4}", ("lm.resid", "lm.mlp"))
    assert both.places == (("lm.mlp", 1), ("lm.resid", 1), ("lm.mlp", 4), ("lm.resid", 4))
    assert len(destination_of(tiny.sites, "random", "all", ("lm.resid",)).places) == 10
    for start, layer, code in (
        (plain, "native", "MFV5540"), ("random", "native", "MFV5540"), (several, 4, "MFV5541"),
        (plain, 10, "MFV5103"),
    ):  # fmt: skip
        with pytest.raises(MfvError, match=code):
            destination_of(tiny.sites, start, layer, ("lm.resid",))
    for start, layer, variable, code in (
        (heads, "native", "vector", "MFV5542"), (heads, "native", "place_scales", "MFV5543"),
        (heads, 4, "patch_mask", "MFV5544"), (heads, 4, "place_scales", "MFV5543"),
        (several, "native", "head_mask", "MFV5305"), (several, "native", "scale", "MFV5313"),
        (heads, "{1, 4}", "head_scales", "MFV5305"),
    ):  # fmt: skip
        where = destination_of(tiny.sites, start, layer, ("lm.resid",))
        with pytest.raises(MfvError, match=code):
            VARIABLES[variable](start, tiny.device, where)


@pytest.mark.slow
def test_random_starts_of_several_places(tiny: Any, scenes: Scenes):
    """A tenth of what passes at each place; and what is learned there has parts."""
    given = batches(tiny, scenes, "left", "train", 20, 20)
    settings = Settings("{1, 3}", epochs=1, lr=1e-9, sites=("lm.mlp", "lm.resid"))
    made = tune(tiny, given, given, "random", settings)
    parts = made.parts_by_place()
    assert list(parts) == [("lm.mlp", 1), ("lm.resid", 1), ("lm.mlp", 3), ("lm.resid", 3)]
    lengths: dict[Place, torch.Tensor] = {}

    def noting(place: Place) -> Change:
        def note(states: torch.Tensor) -> torch.Tensor:
            lengths[place] = states[:, -1].norm(dim=-1).mean()
            return states

        return note

    with hooked(tiny, {place: noting(place) for place in parts}), torch.no_grad():
        tiny.forward(given[0])
    for place, part in parts.items():
        assert float(part.norm()) == pytest.approx(0.1 * float(lengths[place]), rel=1e-3)
    normal = tune(tiny, given, given, "normal", settings)
    assert all(abs(float(p.std()) - 1) < 0.2 for p in normal.parts_by_place().values())
    copied = tune(tiny, given, given, Vector(torch.ones(128), Space(
        tiny.facts.fingerprint, 128)), settings)  # fmt: skip
    torch.testing.assert_close(copied.residual, torch.ones(4 * 128), atol=1e-6, rtol=0)


# -- from a recipe --------------------------------------------------------------------------------
RECIPE = """mfv 1
model m = MODEL
dataset d = scenes(relations=[left, above], count=40)
defaults { trials = 10, items = 20, on = [left] }
defaults for tune { items = 20, select_items = 10, batch = 10, epochs = 2 }
tune live { start = zeros(), layer = all, loss = teacher, teacher_shots = 2, nll_weight = 0.5,
            lr = 0.3 }
tune i2cl { start = 0.1 * mean(states(each, layer=all, site=[attention, mlp], shots=1)),
            layer = native, variable = place_scales }
tune mtv  { start = fv(each, heads=layers(2..3)), layer = native, variable = patch_mask, lr = 1.0 }
tune text { start = random, layer = 1, site = mlp, position = "Q:", epochs = 1 }
tune on_from_there { start = 0.5 * live(each) + live(each), layer = native, epochs = 1 }
tune heads_there { start = fv(each, heads=layers(2..3)), layer = native, variable = head_scales }
eval of_live { add = live(left) }
eval of_i2cl { add = i2cl(left) }
eval of_mtv  { patch = mtv(left) }
eval of_mtv_added  { add = mtv(left), layer = native }
eval of_text { add = text(left), site = mlp, position = "Q:" }
eval of_both { add = on_from_there(left) }
eval of_heads { add = heads_there(left), layer = native }
save "OUT" { vectors = [live(left), i2cl(left), text(left), heads_there(left)] }
"""


@pytest.mark.slow
@pytest.mark.parametrize("constructor", ["tiny()", 'tiny("llava")'])
def test_a_recipe_of_siblings(constructor: str, tmp_path: Path):
    """What is trained is measured, saved, and the same when it is loaded."""
    text = RECIPE.replace("MODEL", constructor).replace("OUT", str(tmp_path / "library"))
    recipe = mfv.Recipe(text)
    assert recipe.checked.warnings == ()
    ran = recipe.run(tmp_path / "out")
    assert not ran.failures
    rows = {row.tune: row for row in ran.tunes}
    assert rows["live"].layer == "all" and rows["i2cl"].variable == "place_scales"
    assert rows["live"].nll < rows["live"].start_nll and rows["mtv"].nll < rows["mtv"].start_nll
    assert rows["on_from_there"].start_norm == pytest.approx(1.5 * rows["live"].norm, rel=1e-4)
    again = (
        text.partition("tune live")[0]
        + f"""
vector live = load("{tmp_path / "library"}", "live_left")
vector i2cl = load("{tmp_path / "library"}", "i2cl_left")
vector heads_there = load("{tmp_path / "library"}", "heads_there_left")
eval of_live {{ add = live }}
eval of_i2cl {{ add = i2cl }}
eval of_heads {{ add = heads_there, layer = native }}
"""
    )
    loaded = mfv.Recipe(again).run(tmp_path / "again")
    told = {row.eval: row.mean_p_answer for row in ran.rows if row.relation}
    assert len({told[name] for name in told}) > 4  # they differ
    for row in loaded.rows:
        assert row.mean_p_answer == pytest.approx(told[row.eval], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["vector", "patch_mask"])
def test_a_training_that_was_interrupted_has_the_same_bits(
    variable: str, tiny: Any, scenes: Scenes
):
    given = batches(tiny, scenes, "left", "train", 12, 6)
    taught = batches(tiny, scenes, "left", "train", 12, 6, shots=1)
    layer = "native" if variable == "patch_mask" else "{1, 4}"
    settings = Settings(layer, epochs=3, lr=0.3, variable=variable, loss="teacher")
    start = with_heads(tiny) if variable == "patch_mask" else zeros(tiny)
    kept = Kept()
    task = Task(given, given, start, settings, keep=kept, teacher=taught)
    (whole,) = tune_together(tiny, [task])
    last = kept.pop("epoch/3").value
    del kept["epoch/2"]
    (resumed,) = tune_together(tiny, [task])
    assert torch.equal(kept["epoch/3"].value, last)
    if isinstance(whole, Tuned) and isinstance(resumed, Tuned):
        assert torch.equal(whole.residual, resumed.residual)
        assert whole.training == resumed.training


class Kept(dict[str, Any]):
    """What is kept of a training, by name."""

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self:
            self[name] = make()
        return self[name]


@pytest.mark.slow
def test_siblings_of_several_relations_are_trained_together(tiny: Any, scenes: Scenes):
    """Heads in other layers, other teachers and losses: what comes of each is what it is alone."""
    tasks, alone = list[Task](), list[Task]()
    for relation, seed in (("left", 0), ("above", 1)):
        given = batches(tiny, scenes, relation, "train", 8, 4)
        taught = batches(tiny, scenes, relation, "train", 8, 4, shots=1)
        start = function_vector(tiny, torch.randn(
            10, 8, 16, generator=torch.Generator().manual_seed(seed)
        ), HEADS[seed:])  # fmt: skip
        for variable in ("head_scales", "patch_mask"):
            settings = Settings("native", epochs=2, lr=0.1, variable=variable, loss="teacher")
            for several in (tasks, alone):
                several.append(Task(given, given, start, settings, keep=Kept(), teacher=taught))
            tune_together(tiny, alone[-1:])
    tune_together(tiny, tasks)
    for together, by_itself in zip(tasks, alone, strict=True):
        found, wanted = (task.keep("epoch/2", dict).value for task in (together, by_itself))
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        assert not torch.equal(found, together.keep("epoch/0", dict).value)


def test_what_cannot_be_trained_is_refused_before_the_run():
    head = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, above])\n"
    for inside, code in (
        ("start = random, layer = native", "MFV3090"),
        ("start = zeros(), layer = native", "MFV3090"),
        ("start = mean(states(each, layer=3)), layer = native", "MFV3090"),
        ("start = fv(each), layer = native", "MFV3091"),
        ("start = fv(each), layer = 4, variable = patch_mask", "MFV3091"),
        ("start = fv(each), layer = 4, variable = place_scales", "MFV3091"),
        ("start = fv(each), layer = {3, 4}, variable = head_mask", "MFV3091"),
        ("start = mean(states(each, layer=all)), layer = {3, 4}", "MFV3092"),
        ("start = mean(states(each, layer=all)), layer = native, site = mlp", "MFV3043"),
        ("start = mean(states(each, layer=all)), layer = native, variable = head_mask", "MFV3005"),
        ("start = fv(each), layer = native, variable = patch_mask, batch = 1", "MFV3093"),
        ("start = fv(each), layer = native, variable = patch_mask, kl = 0.1", "MFV3093"),
        ("start = zeros(), layer = all, variable = place_scales", "MFV5313"),
    ):
        with pytest.raises(mfv.MfvError, match=code):
            recipe = mfv.Recipe(f'{head}tune t {{ {inside} }}\nsave "x" {{ vectors = [t(left)] }}')
            recipe.plan()
    recipe = mfv.Recipe(
        head + "tune t { start = random, layer = 3, site = mlp, position = all }\n"
        "eval e { add = t(each) }\neval fine { add = t(each), site = mlp, position = all }\n"
        "eval other { add = t(each), site = residual, position = all }"
    )
    evals = recipe.checked.evals
    assert [evals[name]["site"] for name in ("e", "fine", "other")] == ["mlp", "mlp", "residual"]
    assert [warning.code for warning in recipe.checked.warnings] == ["MFV3094", "MFV3094"]


def test_several_places_of_several_batches_take_one_pass(tiny: Any, scenes: Scenes):
    given = batches(tiny, scenes, "left", "train", 3, 2)
    group = Injection([encode_prefix(tiny, batch) for batch in given])
    part = torch.ones(128)
    edits = [
        [Edit("lm.mlp", 2, "add", part), Edit("lm.resid", 5, "add", part)],
        [Edit("lm.resid", 2, "add", -part)],
    ]
    rows: list[int] = []
    last = tiny.model.get_submodule(tiny.sites["lm.resid"].module_path(9))
    handle = last.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    with torch.no_grad():
        found = group.log_p(edits)
        handle.remove()
        alone = [full_pass(tiny, *pair).logits for pair in zip(given, edits, strict=True)]
    assert rows == [3]
    wanted = torch.cat([
        -cross_entropy(logits, batch.answers, reduction="none")
        for logits, batch in zip(alone, given, strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
