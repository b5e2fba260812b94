"""What a plan is said to cost."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.plan.descriptions import model_facts
from mfv_dsl.plan.estimate import estimate_by_arithmetic
from mfv_dsl.plan.rates import device_rate, stated_rate
from mfv_dsl.plan.steps import Plan
from mfv_dsl.plan.work import Work, work_by_step

ROOT = Path(__file__).parents[2]
RECIPE = """mfv 1
model   m = {model}
dataset d = scenes(relations=[left], count=40)
heads   h = top(4, by=aie, on=[left])
defaults {{ heads = h, trials = 10, items = 20, layer = 2, shots = 4 }}
tune t {{ start = fv(each), epochs = 3, items = 20, select_items = 10, shots = 0 }}
eval low  {{ add = fv(left), layer = 0 }}
eval high {{ add = fv(left), layer = 5 }}
eval many {{ add = fv(left), layer = 0, scale = [1, 2, 3, 4] }}
eval said {{ add = fv(left), layer = 2, answer = generate }}
eval trained {{ add = t(left), layer = 2 }}
"""


def plan_of(model: str = "tiny()") -> Plan:
    return mfv.Recipe(RECIPE.format(model=model)).plan()


def works(plan: Plan) -> dict[str, Work]:
    by_key = work_by_step(plan, plan.steps)
    return {step.label: by_key[step.key] for step in plan.steps}


@pytest.mark.parametrize("model", ["tiny()", 'tiny("llava")'])
def test_counts_what_the_weights_say(model: str) -> None:
    """A prompt costs two operations for each weight of each layer and token; mediation as many
    last tokens as there are heads, from their layers on."""
    plan = plan_of(model)
    step = next(step for step in plan.steps if step.operation == "mediation")
    facts, work = model_facts(plan, step), work_by_step(plan, plan.steps)[step.key]
    weights = facts.n_layers * facts.layer_parameters
    tokens = 4 * 9 + 6 + 5 * facts.picture_tokens
    assert 1 < work.prompts / (2 * 10 * tokens * weights) < 1.6  # attention and the output head
    copies = facts.n_heads * sum(range(1, facts.n_layers + 1))
    assert 1 < work.variants / (2 * 10 * copies * facts.layer_parameters) < 1.6
    # the twins' demonstrations; all of the extraction split was shown before, or is now
    by_label = works(plan)
    seen = by_label["mean head outputs on left"].pictures + work.pictures
    assert seen == 2 * 40 * facts.picture_work > 0
    assert facts.parameters > weights + facts.output_parameters


def test_sizes_are_those_of_the_loaded_model() -> None:
    model = mfv.load_model("tiny")
    facts = model.facts
    language = model.model.lang_encoder
    layers = sum(p.numel() for p in model.layers.parameters())
    assert facts.parameters == sum(p.numel() for p in model.model.parameters())
    assert facts.output_parameters == language.lm_head.weight.numel()
    assert facts.layer_parameters * facts.n_layers == pytest.approx(layers, rel=1e-3)


def test_more_work_is_counted_as_more() -> None:
    work = works(plan_of())
    low, high = work["low: left, 0 shots"], work["high: left, 0 shots"]
    assert 1.8 < low.variants / high.variants < 2.2  # ten layers and five
    assert work["many: left, 0 shots"].variants == pytest.approx(4 * low.variants)
    asked = work["unedited model: left from test, 0 shots"]
    assert low.prompts == high.prompts == asked.prompts > 0
    assert work["said: left, 0 shots"].generation > 0 == low.generation
    (training,) = [one.training for one in work.values() if one.training]
    facts = mfv.load_model("tiny").facts
    tokens = 2 * 3 * 20 + 4 * 10
    assert 1 < training / (2 * tokens * 7 * facts.layer_parameters) < 1.6


def test_known_models_are_counted_without_their_files() -> None:
    """Published sizes: within a few per cent of what names and shapes of their weights say."""
    of = 'openflamingo("openflamingo/OpenFlamingo-4B-vitl-rpj3b-langinstruct", dtype=bf16)'
    plan = plan_of(of)
    facts = model_facts(plan, plan.steps[0])
    crossing = 2 * 2560 * 512 + 8 * 2560**2
    assert facts.layer_parameters == pytest.approx(12 * 2560**2 + crossing / 2, rel=0.01)
    assert facts.picture_work == pytest.approx(81e9, rel=0.15)  # a CLIP ViT-L/14, and a perceiver
    estimate = estimate_by_arithmetic(plan, (), device_rate("a100"))
    assert 8e9 < estimate.memory < 12e9
    slow = estimate_by_arithmetic(plan, (), stated_rate("1TFLOPs"))
    assert slow.total == pytest.approx(estimate.total * 0.35 * 312)
    done = {step.key for step in plan.steps if step.operation == "mediation"}
    assert estimate_by_arithmetic(plan, done, device_rate("a100")).total < estimate.total
    qwen = plan_of('hf("Qwen/Qwen3-VL-4B-Instruct")')
    shape = model_facts(qwen, qwen.steps[0])
    assert 3.2e9 < shape.n_layers * shape.layer_parameters < 3.9e9
    assert estimate_by_arithmetic(qwen, (), device_rate("rtx4090")).total > 0


def test_a_device_too_small_is_said() -> None:
    model = 'openflamingo("openflamingo/OpenFlamingo-9B-vitl-mpt7b", dtype=fp32)'
    plan = plan_of(model)
    assert "too little" in estimate_by_arithmetic(plan, (), device_rate("rtx4090")).to_text()
    assert "too little" not in estimate_by_arithmetic(plan, (), device_rate("h200")).to_text()


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda: device_rate("a1000"), "MFV5380"),
        (lambda: stated_rate("fast"), "MFV5381"),
        (lambda: stated_rate("0TFLOPs"), "MFV5381"),
    ],
)
def test_what_is_no_rate(ask: object, code: str) -> None:
    with pytest.raises(MfvError) as caught:
        ask()  # type: ignore[operator]
    assert caught.value.code == code


@pytest.mark.slow
def test_the_page_has_what_the_command_writes() -> None:
    module = _program("make_costs")
    page = module.PAGE.read_text(encoding="utf-8")
    assert page.split(module.BEGIN)[1].split(module.END)[0] == module.table()


def _program(name: str) -> Any:
    """A program of ``docs`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_the_paper_has_every_recipe():
    written = (ROOT / "recipes" / "paper" / "README.md").read_text(encoding="utf-8")
    folder = ROOT / "recipes" / "paper"
    names = {
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*.mfv")
        if path.parent.name != "shared"
    }
    rows = [
        line.split("|") for line in written.splitlines() if "`paper/" in line and line[0] == "|"
    ]
    assert {row[2].strip().strip("`").removeprefix("paper/") for row in rows} == names
    assert {name.removeprefix("qwen3-vl/") for name in names} == set(_program("make_paper").ROWS)


@pytest.mark.slow
def test_the_table_of_the_paper_is_what_the_program_writes():
    written = (ROOT / "recipes" / "paper" / "README.md").read_text(encoding="utf-8")
    assert _program("make_paper").table() in written
