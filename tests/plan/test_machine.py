"""This machine's rates: measured, kept, and what plans make of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.base.source import Source
from mfv_dsl.estimates import estimate_of
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.plan.build import build_plan
from mfv_dsl.plan.machine import (
    DeviceRates,
    Machine,
    StoreRates,
    keep_machine,
    kept_machine,
    machine_file,
)
from mfv_dsl.plan.stored_sizes import stored_bytes
from mfv_dsl.plan.work import is_counted, work_by_step
from mfv_dsl.report.environment import machine_text
from mfv_dsl.version import package_versions
from tests.cli.support import mfv_command

CPU = DeviceRates("cpu", "x86", 4e10, 8e10, 1e10, 1 << 34)
GPU = DeviceRates("cuda:0", "a GPU", 4e13, 4e14, 1e11, 1 << 36)
MACHINE = Machine(
    "host", "2026-11-30T12:00:00Z", {"torch": package_versions()["torch"] or ""}, 2, 5.0,
    (CPU, GPU), StoreRates("/store", 0.001, 0.0001, 1e8, 2e8),
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_is_kept_is_read_again():
    assert kept_machine() is None
    assert keep_machine(MACHINE) == machine_file()
    assert kept_machine() == MACHINE


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "nonsense", '{"format": 99}', None, "single", "devices"]
)
def test_a_file_of_another_form_is_none(text):
    keep_machine(MACHINE)
    data = json.loads(machine_file().read_text())
    if text is None:
        data["store"]["more"] = 1
    elif text == "single":
        data["devices"][0]["single"] = "fast"
    elif text == "devices":
        data["devices"] = []
    machine_file().write_text(text if text and text[0] in "[{n" else json.dumps(data))
    if text == "":
        machine_file().write_text("")
    assert kept_machine() is None


def test_a_bundled_model_is_as_fast_as_it_was_measured_and_a_larger_one_as_a_product():
    small = Recipe.from_file("quickstart").plan()
    assert MACHINE.rate(small).single == CPU.small
    large = Recipe.from_file("paper/heads").plan()
    assert MACHINE.device(large) == GPU or MACHINE.device(large) == CPU
    (model,) = large.models.values()
    on_gpu = replace(
        large, models={"m": replace(model, arguments={**model.arguments, "device": "cuda"})}
    )
    assert MACHINE.rate(on_gpu).half == GPU.half and "cuda:0" in MACHINE.rate(on_gpu).source
    assert replace(MACHINE, devices=(CPU,)).rate(on_gpu).half == CPU.half


def test_a_plan_without_options_takes_the_kept_rates():
    plan = Recipe.from_file("quickstart").plan()
    assert estimate_of(plan, ()) is None
    keep_machine(MACHINE)
    estimate = estimate_of(plan, ())
    assert estimate is not None and "measured here on 2026-11-30" in estimate.basis
    work = sum(one.total for one in work_by_step(plan, plan.steps).values())
    assert sum(estimate.seconds.values()) == pytest.approx(work / CPU.small)
    keep_machine(replace(MACHINE, versions={"torch": "1.0"}))
    later = estimate_of(plan, ())
    assert later is not None and "that was with torch 1.0" in later.remarks[-1]


def test_the_command_line_shows_it(tmp_path):
    keep_machine(MACHINE)
    shown = mfv_command("plan", "quickstart", "--workers", "4", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "time on 4 workers: about " in shown.stdout and "measured here on" in shown.stdout
    as_json = mfv_command("plan", "quickstart", "--workers", "4", "--json", cwd=tmp_path)
    assert json.loads(as_json.stdout)["forecast"]["workers"] == 4
    text = machine_text(kept_machine())
    assert "cuda:0: 40 TFLOP/s in 32 bits" in text and "a worker starts in 5.0 s" in text
    assert "`mfv doctor --measure`" in machine_text(None)


@pytest.mark.slow
def test_products_and_stores_are_measured(tmp_path):
    import torch

    from mfv_dsl.execute.machine_rates import _SAMPLE, _product, _store
    from mfv_dsl.execute.storage import FolderStorage

    assert _product(torch.device("cpu"), torch.float32) > 1e8
    rates = _store(FolderStorage(tmp_path / "home"), str(tmp_path / "home"))
    assert 0 < rates.read_seconds < 5 and 0 < rates.write_seconds < 5 and rates.write_rate > 1e5
    assert list((tmp_path / "home").rglob("*")) == []
    assert is_counted(build_plan(load_recipe(Source(_SAMPLE))))


@pytest.mark.slow
def test_a_step_of_every_operation_has_a_size():
    for recipe in ("quickstart", "siblings", "tuning"):
        plan = Recipe.from_file(recipe).plan()
        assert all(200 < stored_bytes(plan, step) < 1 << 30 for step in plan.steps)
