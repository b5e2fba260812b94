"""Blends by analogy: weights from a source pair, a vector for every item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.execute.blend_weights import vector_text
from mfv_dsl.execute.operations.evaluation import source_pairs
from mfv_dsl.execute.session import Session
from mfv_dsl.execute.settings import Silence
from mfv_dsl.methods.analogy import analogy_weights, blend_edits, measure_blends
from mfv_dsl.methods.evaluation import adding, measure
from mfv_dsl.methods.outcomes import outcomes
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.plan.explain import explain_plan
from tests.conftest import small_flamingo
from tests.lang.support import HEAD, codes

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, above_left], count=40)
defaults { heads = {L2H6, L1H0}, trials = 10, items = 12, layer = 1, on = [above_left] }
"""


@pytest.fixture(scope="module")
def small() -> OpenFlamingo:
    return small_flamingo(layers=3)


def candidates_for(model: OpenFlamingo, n: int, layer: int | str = 1) -> list[list[Edit]]:
    generator = torch.Generator().manual_seed(n)
    d, width = model.facts.d_model, model.facts.head_dim
    made = []
    for i in range(n):
        heads = ((i % 2, 0), (2, 1))
        parts = 4 * torch.randn(2, d, generator=generator)
        means = torch.randn(2, width, generator=generator)
        space = Space(model.facts.fingerprint, d)
        vector = Vector(parts.sum(0), space, f"v{i}", heads, means, parts)
        made.append(adding(vector, layer, 1.0))
    return made


def pairs(scenes: Scenes, n: int) -> tuple[list[Prompt], list[Prompt]]:
    shown = draw_prompts(scenes, "above_left", "test", n, 1)
    sources = [Prompt((), prompt.demonstrations[0]) for prompt in shown]
    return sources, draw_prompts(scenes, "above_left", "test", n, 0)


def weights_by_hand(
    model: OpenFlamingo, source: Prompt, scenes: Scenes, candidates: list[list[Edit]]
) -> np.ndarray:
    """p(B) under each candidate, one full pass each, over their sum."""
    batch = model.batch([source], scenes)
    p = np.array(
        [
            outcomes(full_pass(model, batch, edits).logits, batch.answers).p_answer[0]
            for edits in candidates
        ]
    )
    return p / p.sum()


@pytest.mark.slow
def test_the_weights_by_hand(small: OpenFlamingo, scenes: Scenes):
    sources, _ = pairs(scenes, 5)
    conditions = [candidates_for(small, 3, 0), candidates_for(small, 3, 1)]
    found = analogy_weights(small, small.batch(sources, scenes), conditions)
    assert found.shape == (5, 2, 3)
    for i, source in enumerate(sources):
        for k, candidates in enumerate(conditions):
            by_hand = weights_by_hand(small, source, scenes, candidates)
            np.testing.assert_allclose(found[i, k], by_hand, atol=1e-5)
    assert (found.std(dim=0) > 1e-3).any() and (found[:, 0] - found[:, 1]).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("layer", [1, "native"])
def test_every_item_gets_its_own_sum(layer: int | str, small: OpenFlamingo, scenes: Scenes):
    """In batches, from a shared prefix, as one full pass per item with its sum made by hand."""
    sources, targets = pairs(scenes, 5)
    candidates = candidates_for(small, 3, layer)
    batches = [
        (small.batch(sources[part], scenes), small.batch(targets[part], scenes))
        for part in (slice(0, 3), slice(3, 5))
    ]
    (found,) = measure_blends(small, batches, [candidates])
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        weights = weights_by_hand(small, source, scenes, candidates)
        np.testing.assert_allclose(found.weights[i], weights, atol=1e-5)
        edits = [
            Edit(edit.site, edit.layer, "add", float(weight) * edit.value)
            for weight, candidate in zip(weights, candidates, strict=True)
            for edit in candidate
        ]
        batch = small.batch([target], scenes)
        alone = outcomes(full_pass(small, batch, edits).logits, batch.answers)
        assert found.outcomes.p_answer[i] == pytest.approx(alone.p_answer[0], abs=1e-5)
        assert found.outcomes.said[i] == alone.said[0]


def test_parts_at_one_place_become_one_edit(small: OpenFlamingo):
    candidates = candidates_for(small, 3, "native")
    edits = blend_edits(candidates, torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]).double())
    assert [(edit.site, edit.layer) for edit in edits] == [
        ("lm.attn.out", 0), ("lm.attn.out", 2), ("lm.attn.out", 1),
    ]  # fmt: skip
    expected = 0.5 * candidates[0][1].value + 0.25 * (
        candidates[1][1].value + candidates[2][1].value
    )
    torch.testing.assert_close(edits[1].value[0], expected)
    assert not edits[0].value[1].any() and edits[1].value.dtype == torch.float32


def test_a_blend_of_one_is_that_one(small: OpenFlamingo, scenes: Scenes):
    sources, targets = pairs(scenes, 4)
    batch = small.batch(targets, scenes)
    (candidate,) = candidates_for(small, 1)
    (found,) = measure_blends(small, [(small.batch(sources, scenes), batch)], [[candidate]])
    np.testing.assert_allclose(
        found.outcomes.p_answer, measure(small, [batch], candidate).p_answer, atol=1e-6
    )
    assert (found.weights == 1).all()


def test_answers_that_no_candidate_gives_leave_the_weights_sound(
    small: OpenFlamingo, scenes: Scenes
):
    """Probabilities far below what a float can hold still have their ratio."""
    sources, _ = pairs(scenes, 3)
    batch = small.batch(sources, scenes)
    head = small.model.lang_encoder.get_output_embeddings().weight.detach().clone()
    try:
        small.model.lang_encoder.get_output_embeddings().weight.data.mul_(1e4)
        weights = analogy_weights(small, batch, [candidates_for(small, 3)])
    finally:
        small.model.lang_encoder.get_output_embeddings().weight.data.copy_(head)
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 1, dtype=torch.float64))


# -- in a recipe ----------------------------------------------------------------------------------
def test_a_source_pair_is_the_one_shot_prompts_example():
    recipe = RECIPE + "eval e { add = blend([fv(left), fv(above)]), shots = 2 }"
    plan = mfv.Recipe(recipe).plan()
    step = plan[plan.rows[0].step]
    session = Session(plan, Silence())
    sources = source_pairs(session, step, {}, "test")
    for shots in (1, 2):
        shown = session.prompts(step, 12, "test", shots)
        assert [source.query for source in sources] == [p.demonstrations[-1] for p in shown]
    for source, prompt in zip(sources, session.prompts(step, 12, "test", 0), strict=True):
        assert source.demonstrations == () and source.query.relation == "above_left"
        assert source.query.image != prompt.query.image


@pytest.mark.slow
def test_a_blend_runs_and_reports_its_weights(tmp_path: Path):
    body = """
vector parts = blend([fv(left), fv(right), fv(above)])
eval one    { add = fv(left), on = [left] }
eval alone  { add = blend([fv(left)]), on = [left] }
eval mixed  { add = parts, layer = [0, 1], scale = [1, 2] }
eval chosen { add = parts, layer = [0, 1], choose = [layer], on = [left] }
"""
    result = mfv.Recipe(RECIPE + body).run(tmp_path)
    rows = {(row.eval, row.layer, row.scale): row for row in result.rows}
    assert rows["alone", 1, 1].mean_p_answer == pytest.approx(rows["one", 1, 1].mean_p_answer)
    weights = {(w["eval"], w["layer"], w["scale"]): w["weights"] for w in result.weights}
    assert set(weights) == set(rows) - {("one", 1, 1)}
    for found in weights.values():
        assert sum(one["weight"] for one in found) == pytest.approx(1)
    mixed = {one["vector"]: one["weight"] for one in weights["mixed", 1, 1]}
    assert list(mixed) == ["fv(left)", "fv(right)", "fv(above)"]
    assert mixed["fv(right)"] < 0.2 < mixed["fv(left)"] + mixed["fv(above)"]
    chosen = next(w for w in result.weights if w["eval"] == "chosen")
    assert chosen["weights"][0]["weight"] > 0.8  # the example shows left
    assert {trial["split"] for trial in result.choices} == {"validation"}
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["weights"] == result.to_json()["weights"] == result.weights
    again = mfv.Recipe(RECIPE + body).run(tmp_path)
    assert again.cached == len(again.plan.steps) and again.weights == result.weights


# -- planning -------------------------------------------------------------------------------------
def inputs_of(add: str, declared: str = "") -> list[str]:
    plan = mfv.Recipe(f"{RECIPE}{declared}\neval e {{ add = {add} }}").plan()
    step = plan[plan.rows[0].step]
    assert step.parameters["mode"] == "blend"
    return [vector_text(plan, plan[key]) for key in step.input_keys]


@pytest.mark.parametrize(
    ("add", "declared", "inputs"),
    [
        ("blend([fv(left), fv(above)])", "", ["fv(left)", "fv(above)"]),
        ("parts", "vector parts = blend([fv(left), fv(above)])", ["fv(left)", "fv(above)"]),
        ("with(each)", "vector with(r) = blend([fv(r), fv(left)])",
         ["fv(above_left)", "fv(left)"]),
        ("2 * blend([fv(left)])", "", ["2.0 * fv(left)"]),
        ("-(blend([fv(left)]) / 4)", "", ["-0.25 * fv(left)"]),
        ("twice", "vector part = blend([fv(left)])\nvector twice = 2 * (3 * part)",
         ["6.0 * fv(left)"]),
        ("norm(fv(above)) * blend([fv(left), fv(above)])", "",
         ["norm(fv(above)) * candidate 1", "norm(fv(above)) * candidate 2"]),
    ],
)  # fmt: skip
def test_a_multiple_of_a_blend_is_a_blend_of_multiples(add: str, declared: str, inputs: list[str]):
    assert inputs_of(add, declared) == inputs


def test_what_a_blend_costs_is_planned():
    body = "eval e { add = blend([fv(left), fv(above)]), layer = [0, 1, 2], choose = [layer] }"
    plan = mfv.Recipe(RECIPE + body).plan()
    note = explain_plan(plan, ())[-1]
    assert note.prefix_passes == 2 * 2 * 12  # sources and targets, choosing and measuring
    assert note.variants == 12 * 3 * (3 + 1)
    assert "a blend of fv(left), fv(above)" in note.writes
    assert "each with a source pair" in note.reads


def test_the_candidates_are_part_of_the_key():
    def key(add: str) -> Any:
        return mfv.Recipe(f"{RECIPE}eval e {{ add = {add} }}").plan().rows[0].step

    keys = [key(add) for add in ("blend([fv(left)])", "fv(left)", "blend([fv(left), fv(above)])",
                                 "2 * blend([fv(left)])")]  # fmt: skip
    assert len(set(keys)) == 4
    assert key("blend([fv(left)], by=analogy)") == keys[0]


@pytest.mark.parametrize(
    "text",
    [
        "eval e { add = blend([fv(left)]) + fv(above), layer = 1 }",
        "eval e { add = fv(left) - 2 * mix, layer = 1 }",
        "eval e { add = normalize(mix), layer = 1 }",
        "eval e { add = mean(mix, fv(left)), layer = 1 }",
        "eval e { add = norm(mix) * fv(left), layer = 1 }",
        "eval e { add = project(fv(left), onto=mix), layer = 1 }",
        "eval e { add = blend([mix, fv(left)]), layer = 1 }",
        "eval e { patch = mix }",
        'save "here" { vectors = [fv(left), mix] }',
        "tune t { start = mix, layer = 1 }",
    ],
)
def test_a_blend_elsewhere_is_an_error_of_its_own(text: str):
    assert codes(f"{HEAD}vector mix = blend([fv(left), fv(right)])\n{text}\n") == ["MFV5351"]


def test_a_blend_where_it_may_be_is_right():
    text = (
        "vector mix(r) = -2 * blend([fv(r), fv(left)]) / 3\neval e { add = mix(each), layer = 1 }\n"
    )
    assert codes(HEAD + text) == []
    assert codes(f"{HEAD}eval e {{ add = blend([]), layer = 1 }}\n") == ["MFV3014"]


@pytest.mark.slow
def test_a_blend_has_no_value_of_its_own(tiny: OpenFlamingo):
    with pytest.raises(mfv.MfvError, match="no value of its own"):
        mfv.compile("blend([fv(left), fv(above)])").vector()
    plan = mfv.Recipe(RECIPE + "eval e { add = blend([fv(left), fv(above)]) }").plan()
    with pytest.raises(mfv.MfvError, match="none to attach"):
        plan.bind(tiny)
