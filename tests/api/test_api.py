"""The Python interface."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.lang.functions import FUNCTIONS
from mfv_dsl.lang.syntax import Binary
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.vectors import Vector

HEADS = "{L4H1, L3H7}"


def test_exported_names():
    assert all(hasattr(mfv, name) for name in mfv.__all__)
    words = {entry.name for entry in FUNCTIONS}
    assert set(dir(mfv)) == {*mfv.__all__, *words}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mfv.nothing


def test_import_is_light():
    code = "import sys, mfv_dsl; print('torch' in sys.modules, 'lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_compile_gives_the_tree_and_the_vector():
    compiled = mfv.compile("fv(left) - fv(right) + fv(above)")
    assert isinstance(compiled, mfv.Expression)
    assert isinstance(compiled.syntax, Binary)
    assert str(compiled) == "fv(left) - fv(right) + fv(above)"
    dataset = "scenes(count=20)"
    total = compiled.vector(dataset=dataset, heads=HEADS, trials=8)
    parts = {
        name: mfv.compile(f"fv({name})").vector(dataset=dataset, heads=HEADS, trials=8)
        for name in ("left", "right", "above")
    }
    assert isinstance(total, Vector)
    by_hand = parts["left"] - parts["right"] + parts["above"]
    torch.testing.assert_close(total.residual, by_hand.residual, atol=1e-6, rtol=1e-5)
    assert adding(total, 3, 1.0)[0].layer == 3


def test_compile_reports_errors_with_a_caret():
    with pytest.raises(mfv.RecipeError) as found:
        mfv.compile("fv(left) - ")
    assert "^" in str(found.value)
    with pytest.raises(mfv.RecipeError, match="unknown relation `lfet`"):
        mfv.compile("fv(lfet)").plan()
    with pytest.raises(mfv.RecipeError, match="MFV"):
        mfv.compile("mfv 1\nvector v = fv(left) +")


def test_load_model():
    model = mfv.load_model("tiny")
    assert (model.facts.n_layers, model.facts.n_heads, model.facts.d_model) == (10, 8, 128)
    assert not any(parameter.requires_grad for parameter in model.model.parameters())
    with pytest.raises(mfv.MfvError, match="cannot be loaded yet"):
        mfv.load_model("nothing")
