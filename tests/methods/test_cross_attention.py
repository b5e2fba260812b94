"""Heads of cross-attention: their vector, and that they are never taken for those of
self-attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.methods.cross_attention import cross_attention_vector
from mfv_dsl.models.openflamingo import OpenFlamingo

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, below], count=100)
defaults { trials = 8, items = 10, on = [left] }
"""


@pytest.mark.slow
def test_the_vector_of_all_heads_is_what_the_block_adds(tiny: OpenFlamingo, scenes: Scenes):
    """The heads' own outputs on one prompt in place of means: then it is the block's own sum."""
    batch = tiny.batch(draw_prompts(scenes, "left", "test", 1, 2), scenes)
    layer, caught = 3, {}
    block: Any = tiny.layers[layer].gated_cross_attn_layer

    def catch(name: str) -> Any:
        return lambda module, args, output: caught.update({name: (args, output)})

    handles = [
        block.attn.to_out.register_forward_hook(catch("to_out")),
        block.ff.register_forward_hook(catch("ff")),
        block.register_forward_hook(catch("block")),
    ]
    with torch.no_grad():
        tiny.forward(batch)
    for handle in handles:
        handle.remove()
    (outputs,), _ = caught["to_out"]
    site = tiny.sites["xattn"]
    mean = torch.full((tiny.facts.n_layers, site.heads or 0, site.width), torch.nan)
    mean[layer] = outputs[0, -1].unflatten(-1, (site.heads, -1))
    vector = cross_attention_vector(tiny, mean, [(layer, head) for head in range(site.heads or 0)])
    (before, *_), after = caught["block"]
    mlp = caught["ff"][1] * block.ff_gate.tanh()
    added = (after - before - mlp)[0, -1]
    torch.testing.assert_close(vector.residual, added.detach(), rtol=1e-4, atol=1e-5)
    assert vector.heads is None and added.norm() > 1e-3


@pytest.mark.slow
def test_sets_of_cross_attention_are_ranked_ablated_and_added(tmp_path: Path, tiny: OpenFlamingo):
    recipe = mfv.Recipe(
        HEAD
        + """heads seeing = top(40, site=xattn, on=[left])
eval with    { shots = 2 }
eval without { ablate = seeing, shots = 2 }
eval mean    { ablate = seeing, ablate_with = mean, shots = 2 }
eval vector  { add = fv(left, heads=top(4, by=gradient, site=xattn)), layer = 3 }
eval votes   { classify = top(3, by=votes, shots=0, site=xattn), examples = 10 }
eval common  { ablate = top(4, by=relp, site=xattn) & top(30, by=lrp, site=xattn), shots = 2 }
"""
    )
    result = recipe.run(tmp_path / "run")
    assert not result.failures
    heads = next(v for v in result.values.values() if hasattr(v, "chosen"))
    layers = tiny.sites["xattn"].layers
    assert heads.site == "xattn" and {layer for layer, _ in heads.chosen} == set(layers)
    lines = (tmp_path / "run" / "heads.csv").read_text().splitlines()
    assert all(" of xattn," in line for line in lines[1:])
    p = {row.eval: row.mean_p_answer for row in result.rows}
    assert p["without"] == pytest.approx(_without_pictures(tiny, result), abs=1e-5)
    assert abs(p["with"] - p["without"]) > 1e-4


def _without_pictures(model: OpenFlamingo, result: Any) -> float:
    """The mean probability of the answers with every cross-attention's heads zero at the last
    token, by plain hooks."""
    step = next(s for s in result.plan.steps if s.label.startswith("without: left"))
    from mfv_dsl.execute.session import Session
    from mfv_dsl.execute.settings import Silence

    session = Session(result.plan, Silence())
    prompts = session.prompts(step, 10, "test", 2)
    batch = model.batch(prompts, session.dataset(step))

    def blind(module: Any, args: Any) -> Any:
        states = args[0].clone()
        states[:, -1] = 0
        return (states,)

    handles = [
        block.attn.to_out.register_forward_pre_hook(blind)
        for block in model.model.lang_encoder.gated_cross_attn_layers
        if block is not None
    ]
    with torch.no_grad():
        logits = model.forward(batch)
    for handle in handles:
        handle.remove()
    return float(logits.softmax(-1).gather(1, batch.answers[:, None]).mean())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("eval e { ablate = top(3) | top(3, site=xattn) }", "MFV5563"),
        ("eval e { ablate = {L1H2} - top(3, site=xattn) }", "MFV5563"),
        ("heads a = top(3, site=xattn)\neval e { ablate = a & all() }", "MFV5563"),
        ("eval e { ablate = top(3, by=norm, site=xattn) }", "MFV5564"),
        ("eval e { ablate = top(3, by=random, site=xattn) }", "MFV5564"),
        ("eval e { ablate = top(3, site=xattn), controls = [random_heads] }", "MFV5564"),
        ("eval e { patch = fv(each, heads=top(3, site=xattn)) }", "MFV5565"),
        ("eval e { add = fv(each, heads=top(3, site=xattn)), layer = native }", "MFV5565"),
        ("eval e { add = fv(each, heads=top(3, by=probe, pool=[left])), layer = 1 }", "MFV5561"),
        (
            "tune t { start = fv(each, heads=top(3, site=xattn)), layer = 2, "
            "variable = head_mask }\n"
            "eval e { add = t(each) }",
            "MFV5565",
        ),
    ],
)
def test_what_heads_cannot_be_is_refused_in_the_plan(text: str, code: str):
    with pytest.raises(mfv.MfvError) as caught:
        mfv.Recipe(HEAD + text).plan()
    assert caught.value.code == code


def test_a_set_of_self_attention_has_the_keys_that_it_had():
    plain = mfv.Recipe(HEAD + "eval e { ablate = top(3) }").plan()
    named = mfv.Recipe(HEAD + "eval e { ablate = top(3, site=attention) }").plan()
    other = mfv.Recipe(HEAD + "eval e { ablate = top(3, site=xattn) }").plan()
    assert [s.key for s in plain.steps] == [s.key for s in named.steps]
    assert not any("site" in step.parameters for step in plain.steps if step.operation == "top")
    tops = [s.key for plan in (plain, other) for s in plan.steps if s.operation == "top"]
    assert len(set(tops)) == 2


@pytest.mark.slow
def test_a_model_without_cross_attention_is_refused(tmp_path: Path):
    text = HEAD.replace("tiny()", 'tiny("llava")') + "eval e { ablate = top(3, site=xattn) }"
    with pytest.raises(mfv.MfvError, match="has no heads of cross-attention") as caught:
        mfv.Recipe(text).run(tmp_path / "run")
    assert caught.value.code == "MFV5102"


@pytest.mark.slow
def test_more_heads_than_there_are_is_refused(tmp_path: Path):
    text = HEAD + "eval e { ablate = top(41, by=votes, site=xattn, on=[left]), shots = 1 }"
    with pytest.raises(mfv.MfvError, match="it has 40 in all"):
        mfv.Recipe(text).run(tmp_path / "run")
