"""Expressions in Python: the same trees and plans as in a recipe, and hooks for one's own calls."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

import mfv_dsl as mfv
from mfv_dsl import fv, load, mean, normalize, project, random_like, reject
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.sites import find_sites

HEADS = "{L4H1, L2H6}"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (fv("left") - fv("right") + fv("above"), "fv(left) - fv(right) + fv(above)"),
        (2 * fv("left") / 4 - -fv("right"), "2 * fv(left) / 4 - -fv(right)"),
        (-(fv("left") - fv("right")) * 0.5, "-(fv(left) - fv(right)) * 0.5"),
        (fv("left") * -2, "fv(left) * -2"),
        (fv("left", heads="top(5, on=[left])"), "fv(left, heads=top(5, on=[left]))"),
        (fv("left", correct_only=False), "fv(left, correct_only=false)"),
        (mean(fv("left"), normalize(fv("right"))), "mean(fv(left), normalize(fv(right)))"),
        (project(fv("left"), fv("above")), "project(fv(left), onto=fv(above))"),
        (reject(fv("left"), fv("above")), "reject(fv(left), from=fv(above))"),
        (random_like(fv("left"), 3), "random_like(fv(left), seed=3)"),
        (load("vectors/x", "left"), 'load("vectors/x", "left")'),
    ],
)  # fmt: skip
def test_operators_build_what_text_builds(made: mfv.Expression, text: str):
    assert str(made) == text
    assert made == mfv.compile(text)
    if "load" not in text:
        assert made.plan() == mfv.compile(text).plan()


def test_what_does_not_belong_is_refused():
    with pytest.raises(TypeError, match="object does not belong"):
        _ = fv("left") + object()
    with pytest.raises(mfv.RecipeError, match="dot"):
        (fv("left") * fv("right")).plan()
    with pytest.raises(mfv.RecipeError, match="unknown relation"):
        fv("lfet").plan()


def test_attach_edits_the_users_own_calls(tiny: OpenFlamingo, scenes: Scenes):
    expression = fv("left") - fv("right")
    bound = expression.bind(tiny, layer=2, scale=0.5, heads=HEADS, trials=8)
    vector = expression.vector(heads=HEADS, trials=8)
    batch = tiny.batch(draw_prompts(scenes, "left", "test", 4, 1), scenes)
    wanted = full_pass(tiny, batch, adding(vector, 2, 0.5)).logits
    with bound.attach():
        assert torch.equal(tiny.forward(batch), wanted)
    assert not torch.equal(tiny.forward(batch), wanted)
    flamingo = HookPlan.of(tiny.model, adding(vector, 2, 0.5))  # open_flamingo's object alone
    with flamingo.attach():
        assert torch.equal(tiny.forward(batch), wanted)
    with pytest.raises(MfvError, match="never fired"), bound.attach():
        pass


@pytest.mark.parametrize(
    "model",
    [
        GPTNeoXForCausalLM(
            GPTNeoXConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
                          intermediate_size=32, vocab_size=50)
        ),
        LlamaForCausalLM(
            LlamaConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, head_dim=16,
                        num_key_value_heads=2, intermediate_size=32, vocab_size=50)
        ),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_attach_to_a_transformers_model(model: torch.nn.Module):
    model.eval()
    sites = find_sites(model)
    assert sites["lm.attn"].heads == 4
    tokens = torch.tensor([[3, 4, 5]])
    value = torch.randn(32)
    edit, read = Edit("lm.resid", 1, "add", value), Read("lm.resid", 1, positions=None)
    with torch.no_grad():
        with Hooks(model, sites, reads=[read]) as plain:
            unedited = model(tokens).logits
        with HookPlan.of(model, [edit]).attach():
            edited = model(tokens).logits
        with Hooks(model, sites, [edit], [read]) as hooks:
            model(tokens)
    before, after = plain.read(read), hooks.read(read)
    torch.testing.assert_close(after[:, -1], before[:, -1] + value)
    assert torch.equal(after[:, :-1], before[:, :-1])
    assert not torch.equal(edited[:, -1], unedited[:, -1])
    with pytest.raises(MfvError, match="has no layer 3"):
        HookPlan.of(model, [Edit("lm.resid", 3, "add", value)])


def test_a_model_of_unknown_make_is_refused():
    with pytest.raises(MfvError, match="decoder layers of a Linear"):
        HookPlan.of(torch.nn.Linear(2, 2), [])


@pytest.mark.slow
def test_notebook_tables(tmp_path):
    recipe = mfv.Recipe(
        "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left], count=10)\n"
        "eval few { shots = 1, items = 4 }\n"
    )
    html = recipe.plan()._repr_html_()
    assert "Plan: 3 steps" in html and "few: left, 1 shots" in html
    cells = re.findall(r"<td[^>]*>(.*?)</td>", recipe.run(tmp_path)._repr_html_())
    assert cells[:4] == ["few", "left", "1", "4"]


def test_a_plan_attaches_one_condition_of_an_eval(tiny: OpenFlamingo, scenes: Scenes):
    plan = mfv.Recipe(
        "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right], count=30)\n"
        f"defaults {{ heads = {HEADS}, trials = 8 }}\n"
        "eval raw { add = fv(each), layer = [1, 3], scale = 2 }\n"
        "eval cut { ablate = {L4H1}, on = [left] }\n"
        "eval plain { on = [left] }\n"
    ).plan()
    batch = tiny.batch(draw_prompts(scenes, "left", "test", 3, 0), scenes)
    vector = fv("left").vector(
        dataset="scenes(relations=[left, right], count=30)", heads=HEADS, trials=8
    )
    wanted = full_pass(tiny, batch, adding(vector, 3, 2)).logits
    with plan.attach(tiny, "raw", "left", layer=3):
        assert torch.equal(tiny.forward(batch), wanted)
    with plan.attach(tiny.model, "cut"):
        cut = tiny.forward(batch)
    zero = Edit("lm.attn", 4, "replace", torch.zeros(1, 16), (1,))
    assert torch.equal(cut, full_pass(tiny, batch, [zero]).logits)
    for arguments, says in (
        ((), "say which eval"), (("rwa",), "there is no eval rwa"),
        (("raw",), "say which relation"), (("raw", "left"), "say which layer"),
        (("plain",), "edits nothing"),
    ):  # fmt: skip
        with pytest.raises(MfvError, match=says):
            plan.bind(tiny, *arguments)


@pytest.mark.parametrize("name", ["keep", "position", "length", "layer", "epochs", "shtos"])
def test_what_no_call_takes_from_defaults_is_refused(name: str):
    """It would be without effect, as what an eval says of how it writes."""
    with pytest.raises(mfv.ArgumentError, match=f"an expression takes no '{name}'"):
        fv("left").check(**{name: 1})
    assert fv("left").check(**{name: None}).vectors
    assert fv("left").check(shots=2, seed=1, allow="[MFV2060]").defaults["shots"].value == 2
