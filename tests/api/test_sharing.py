"""Expressions made in a loop: their text, plan and files grow as the loop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.expression import Expression
from mfv_dsl.lang import sharing

OPTIONS = {"heads": "{L3H1, L4H0}", "trials": 2, "shots": 1}


def rejected(count: int) -> Expression:
    v = mfv.fv("left")
    for _ in range(count):
        v = mfv.reject(v, from_=v + mfv.fv("right"))
    return v


@pytest.mark.slow
def test_a_vector_used_twice_in_every_round(monkeypatch: pytest.MonkeyPatch):
    v = rejected(60)
    plan = v.plan(**OPTIONS)
    assert len(plan.steps) == 60 * 2 + 5
    assert len(json.dumps(plan.to_json())) < 250_000
    assert str(v) == "reject(part_60, from=part_60 + fv(right))" and len(repr(v)) < 100


def test_names_of_parts_change_no_step(monkeypatch: pytest.MonkeyPatch):
    v = rejected(5) - 2 * mfv.normalize(rejected(4))
    whole = v.plan(**OPTIONS)
    assert "part_" not in str(v)
    monkeypatch.setattr(sharing, "_LONG", 5)
    parts = v.plan(**OPTIONS)
    assert "part_" in str(v)
    assert {step.key for step in parts.steps} == {step.key for step in whole.steps}


@pytest.mark.slow
def test_a_chain_of_many_rounds(monkeypatch: pytest.MonkeyPatch):
    v = mfv.fv("left")
    for _ in range(150):
        v = mfv.normalize(v)
    assert len(v.plan(**OPTIONS).steps) == 150 + 3


@pytest.mark.slow
def test_its_file_is_small(tmp_path: Path):
    v = rejected(30).vector(**OPTIONS)
    assert len(v.expression) < 200
    mfv.save_vector(tmp_path / "v.safetensors", v, {"relation": "left"})
    assert (tmp_path / "v.safetensors").stat().st_size < 20_000
