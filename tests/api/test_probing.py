"""What a vector says, what it is made of, what it does to an answer and costs elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mfv_dsl import inputs, inspection
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.data.off_task import OFF_TASKS, draw_off_task, off_tasks, other_relations
from mfv_dsl.data.one_picture import OnePicture
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.world import KINDS
from mfv_dsl.engine.edits import Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.lang.constructed import as_call, constructed
from mfv_dsl.methods import geometry
from mfv_dsl.methods.algebra import cosine
from mfv_dsl.methods.decoding import decode
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.likeliest_answers import likeliest_answers
from mfv_dsl.methods.off_task import off_task_cost, off_task_costs
from mfv_dsl.methods.residual_stream import Stream, residual_stream
from mfv_dsl.methods.vectors import Space, Vector, combine
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.conftest import small_flamingo


@pytest.fixture(scope="module")
def small() -> OpenFlamingo:
    return small_flamingo()


def vector_for(model: OpenFlamingo, seed: int, length: float = 1.0, text: str = "") -> Vector:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(model.facts.d_model, generator=generator)
    space = Space(model.facts.fingerprint, model.facts.d_model)
    return Vector(length * drawn / drawn.norm(), space, text)


def some_vectors(n: int, d_model: int = 32) -> list[Vector]:
    generator = torch.Generator().manual_seed(3)
    return [
        Vector(torch.randn(d_model, generator=generator), Space("one", d_model), f"v{i}")
        for i in range(n)
    ]


# -- the residual stream --------------------------------------------------------------------------
def test_the_stream_by_hand(small: OpenFlamingo, scenes: Scenes):
    """Means and lengths over prompts, whatever the batches."""
    prompts = draw_prompts(scenes, "left", "extract", 5, shots=1)
    found = residual_stream(
        small, [small.batch(prompts[:3], scenes), small.batch(prompts[3:], scenes)]
    )
    states = torch.stack(
        [
            full_pass(small, small.batch([p], scenes), reads=[Read("lm.resid", 1)]).readings[0][
                0, 0
            ]
            for p in prompts
        ]
    )
    assert found.n == 5 and found.mean.shape == (2, 32)
    torch.testing.assert_close(found.mean[1], states.mean(0), atol=1e-5, rtol=1e-4)
    lengths = states.norm(dim=-1)
    assert found.norm[1] == pytest.approx(lengths.mean().item(), rel=1e-4)
    assert found.deviation[1] == pytest.approx(lengths.std(correction=0).item(), rel=1e-2)


# -- decoding -------------------------------------------------------------------------------------
def test_decoding_by_the_head_alone_and_by_the_final_norm(small: OpenFlamingo):
    language = small.model.lang_encoder
    head = language.get_output_embeddings().weight
    vector = vector_for(small, 1, 3.0)
    for norm, logits in (
        ("none", head @ vector.residual),
        ("final", head @ language.gpt_neox.final_layer_norm(vector.residual)),
    ):
        (said,) = decode(small, vector, norm=norm, top=4)
        best = logits.argsort(descending=True)[:4]
        assert said.layer is None and list(said.tokens) == best.tolist()
        np.testing.assert_allclose(said.scores, (logits - logits.mean())[best].detach(), atol=1e-5)
        np.testing.assert_allclose(said.probabilities, logits.softmax(-1)[best].detach(), atol=1e-6)
    assert decode(small, vector, norm="none")[0].scores != decode(small, vector)[0].scores


def test_a_planted_word_is_decoded(small: OpenFlamingo):
    (token,) = small.first_tokens(["blue ring"])
    row = small.model.lang_encoder.get_output_embeddings().weight[token]
    space = Space(small.facts.fingerprint, small.facts.d_model)
    for norm in ("none", "final"):
        (said,) = decode(small, Vector(row.clone(), space), norm=norm, top=1)
        assert said.words == ("blue ring",)


def test_after_stream_is_the_change_that_the_last_layer_shows(small: OpenFlamingo, scenes: Scenes):
    """Nothing lies above the last layer, so what is decoded there is what happens."""
    batch = small.batch(draw_prompts(scenes, "left", "test", 1, 0), scenes)
    vector = vector_for(small, 2, 4.0)
    stream = residual_stream(small, [batch])
    first, last = decode(small, vector, norm="after_stream", top=3, stream=stream)
    change = (
        full_pass(small, batch, adding(vector, 1, 1.0)).logits - full_pass(small, batch).logits
    )[0]
    best = change.argsort(descending=True)[:3]
    assert (first.layer, last.layer) == (0, 1)
    assert list(last.tokens) == best.tolist()
    np.testing.assert_allclose(last.scores, (change - change.mean())[best].detach(), atol=1e-4)
    assert last.probabilities is None
    assert first.scores != last.scores
    assert decode(small, vector, [1], 3, "after_stream", stream) == [last]


def test_decoding_refuses_what_it_does_not_know(small: OpenFlamingo):
    with pytest.raises(ValueError, match="unknown convention"):
        decode(small, vector_for(small, 1), norm="layer")
    with pytest.raises(ValueError, match="needs the stream"):
        decode(small, vector_for(small, 1), norm="after_stream")
    stream = Stream(torch.zeros(2, 32), torch.ones(2), torch.zeros(2), 1)
    for layer in (2, -1):
        with pytest.raises(MfvError, match="lm.resid"):
            decode(small, vector_for(small, 1), [layer], norm="after_stream", stream=stream)
    (everything,) = decode(small, vector_for(small, 1), top=10_000)
    assert len(everything.words) == 54


# -- geometry -------------------------------------------------------------------------------------
def test_similarity_is_the_cosine_of_every_two():
    vectors = some_vectors(4)
    found = geometry.similarity(vectors)
    for i, first in enumerate(vectors):
        for j, second in enumerate(vectors):
            assert found[i, j] == pytest.approx(cosine(first, second), abs=1e-6)
    zero = Vector(torch.zeros(32), Space("one", 32), "nothing")
    with pytest.raises(MfvError, match="`nothing` is zero and has no direction"):
        geometry.similarity([*vectors, zero])
    with pytest.raises(MfvError, match="do not belong together"):
        geometry.similarity([vectors[0], Vector(torch.ones(32), Space("other", 32))])


def test_a_sum_is_identified():
    a, b, c = some_vectors(3)
    found = geometry.identify(combine([(2.0, a), (-0.5, c)]), {"a": a, "b": b, "c": c})
    assert found.coefficients == pytest.approx({"a": 2.0, "b": 0.0, "c": -0.5}, abs=1e-5)
    assert found.residual_share < 1e-10
    assert not found.collinear


def test_what_no_sum_reaches_is_the_residual_share():
    """A part at right angles to all members, of known length."""
    rows = torch.eye(32)
    a, b = (Vector(3 * rows[i] + rows[i + 1], Space("one", 32)) for i in (0, 4))
    wanted = Vector(a.residual + 2 * rows[9], Space("one", 32))
    found = geometry.identify(wanted, {"a": a, "b": b})
    assert found.coefficients == pytest.approx({"a": 1.0, "b": 0.0}, abs=1e-6)
    assert found.residual_share == pytest.approx(4 / (10 + 4))
    assert found.cosines["a"] == pytest.approx(np.sqrt(10 / 14))
    assert found.chance == 2 / 32
    assert found.condition == pytest.approx(1.0)


def test_chance_is_what_random_vectors_reach():
    members = {f"m{i}": vector for i, vector in enumerate(some_vectors(8))}
    generator = torch.Generator().manual_seed(11)
    reached = []
    for _ in range(300):
        drawn = Vector(torch.randn(32, generator=generator), Space("one", 32))
        found = geometry.identify(drawn, members)
        reached.append(1 - found.residual_share)
    assert np.mean(reached) == pytest.approx(found.chance, abs=0.02)


def test_collinear_members_are_told_and_the_coefficients_stay_small():
    a, b, other = some_vectors(3)
    both = combine([(1.0, a), (1.0, b)])  # but for the rounding of float32
    found = geometry.identify(other, {"a": a, "b": b, "both": both})
    assert found.collinear and found.condition > 1e5
    assert found.chance == 2 / 32  # three members that reach two dimensions
    assert max(abs(value) for value in found.coefficients.values()) < 2
    assert found.residual_share == pytest.approx(
        geometry.identify(other, {"a": a, "b": b}).residual_share
    )
    more = {f"m{i}": vector for i, vector in enumerate(some_vectors(6, d_model=4))}
    assert geometry.identify(some_vectors(1, d_model=4)[0], more).condition == float("inf")


def test_identifying_needs_a_library():
    with pytest.raises(MfvError, match="no vectors to identify"):
        geometry.identify(some_vectors(1)[0], {})


def test_lengths_against_the_stream():
    stream = Stream(torch.zeros(2, 32), torch.tensor([4.0, 8.0]), torch.tensor([1.0, 2.0]), 3)
    vector = Vector(2 * torch.eye(32)[0], Space("one", 32))
    assert geometry.against_stream(vector, stream) == [
        geometry.Ratio(0, 4.0, 1.0, 0.5), geometry.Ratio(1, 8.0, 2.0, 0.25),
    ]  # fmt: skip


# -- off-task prompts -----------------------------------------------------------------------------
def test_the_cell_is_where_the_query_object_stands(scenes: Scenes):
    for item in scenes.items("above_left", "test")[:20]:
        layouts = scenes._pool("above_left", "test")[0]
        grid = layouts.grid[int(item.image.split("/")[2])].reshape(-1)
        assert KINDS[grid[scenes.cell(item.image)]] == item.query


def test_off_task_prompts_are_of_other_relations_in_equal_measure(scenes: Scenes):
    others = other_relations(scenes, ["left", "right"])
    assert len(others) == 6
    drawn = draw_off_task(scenes, "few_shot", others, "test", 13)
    counts = Counter(prompt.query.relation for prompt in drawn)
    assert set(counts) == set(others) and sorted(counts.values()) == [2, 2, 2, 2, 2, 3]
    for prompt in drawn:
        assert len(prompt.demonstrations) == OFF_TASKS["few_shot"].shots
        assert {item.relation for item in prompt.demonstrations} == {prompt.query.relation}
    named = draw_off_task(scenes, "named", ["above_left"], "test", 1)[0].query
    asked = draw_prompts(scenes, "above_left", "test", 1, 0)[0].query
    assert (named.query, named.answer) == (f"above left {asked.query}", asked.answer)
    with pytest.raises(MfvError, match="nothing is off its task"):
        other_relations(scenes, scenes.relations)


@pytest.mark.slow
def test_off_task_prompts_are_drawn_without_torch():
    code = "import sys, mfv_dsl.data.off_task; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_questions_about_cells_need_a_dataset_with_cells(scenes: Scenes, tmp_path: Path):
    Image.new("RGB", (40, 40)).save(tmp_path / "one.png")
    assert off_tasks(scenes) == ("few_shot", "named", "where", "what")
    assert off_tasks(OnePicture(tmp_path / "one.png")) == ("few_shot", "named")


@pytest.mark.parametrize("kind", ["named", "where", "what"])
def test_the_bundled_model_understands_the_question(kind: str, tiny: OpenFlamingo, scenes: Scenes):
    prompts = draw_off_task(scenes, kind, scenes.relations, "test", 40)
    cost = off_task_cost(tiny, [tiny.batch(prompts, scenes)], [])
    assert cost.accuracy_before >= 0.9


# -- what a vector costs --------------------------------------------------------------------------
def test_the_divergence_by_hand(small: OpenFlamingo, scenes: Scenes):
    """KL of the edited from the unedited distribution, in that order; accuracies on both sides."""
    prompts = draw_off_task(scenes, "few_shot", ["above", "below"], "test", 6)
    batch = small.batch(prompts, scenes)
    edits = adding(vector_for(small, 5, 8.0), 0, 1.5)
    halves = [small.batch(prompts[:4], scenes), small.batch(prompts[4:], scenes)]
    cost = off_task_cost(small, halves, edits)
    before, after = full_pass(small, batch).logits, full_pass(small, batch, edits).logits
    by_hand = torch.nn.functional.kl_div(
        after.double().log_softmax(-1), before.double().log_softmax(-1),
        reduction="none", log_target=True,
    ).sum(-1)  # fmt: skip
    np.testing.assert_allclose(cost.kl_per_prompt, by_hand.detach(), atol=1e-5)
    assert cost.kl_mean == pytest.approx(by_hand.mean().item(), abs=1e-5) and cost.kl_mean > 0.01
    assert cost.correct_before.tolist() == (before.argmax(-1) == batch.answers).tolist()
    assert cost.correct_after.tolist() == (after.argmax(-1) == batch.answers).tolist()
    low, high = cost.kl_interval
    assert low < cost.kl_mean < high


def test_several_variants_cost_what_each_does(small: OpenFlamingo, scenes: Scenes):
    """More variants than are held at once, edits at different layers, and none at all."""
    batch = small.batch(draw_off_task(scenes, "what", ["left"], "test", 5), scenes)
    variants = [adding(vector_for(small, i, 6.0), i % 2, 1.0) for i in range(9)] + [[]]
    together = off_task_costs(small, [batch], variants)
    for edits, found in zip(variants, together, strict=True):
        alone = off_task_cost(small, [batch], edits)
        np.testing.assert_allclose(found.kl_per_prompt, alone.kl_per_prompt, atol=1e-5)
        assert found.correct_after.tolist() == alone.correct_after.tolist()
    assert together[-1].kl_mean == 0.0
    assert together[-1].change == 0.0 and together[-1].change_interval[0] < 0
    assert off_task_costs(small, [batch], []) == []


@pytest.mark.slow
def test_a_relations_vector_costs_more_where_it_contradicts(tiny: OpenFlamingo):
    probe = inspection.Probe(tiny, Scenes(seed=7, count=60))
    found = inputs.read_vector("fv(left)", heads="{L2H6, L1H0}", trials=12)
    costs = probe.costs(found.vector, 1, items=40)
    assert list(costs) == ["few_shot", "named", "where", "what"]
    assert costs["few_shot"].kl_mean > 10 * costs["where"].kl_mean > 0
    assert costs["few_shot"].change < -0.1
    stronger = probe.costs(found.vector, 1, scale=2.0, items=40)
    assert all(stronger[kind].kl_mean > costs[kind].kl_mean for kind in costs)


def test_the_relations_that_a_vector_is_made_of(scenes: Scenes):
    def of(text: str) -> tuple[str, ...]:
        return inputs.relations_of(Vector(torch.ones(4), Space("one", 4), text), scenes)

    assert of("fv(left) - 2 * tuned(above)") == ("left", "above")
    assert of("fv(right, heads=top(3, on=[left, below]))") == ("right",)
    assert of('load("somewhere", "left")') == of("") == of("not an ( expression") == ()


# -- one question ---------------------------------------------------------------------------------
def test_answers_before_and_after(tiny: OpenFlamingo, scenes: Scenes):
    batch = tiny.batch(draw_prompts(scenes, "left", "test", 1, 0), scenes)
    edits = adding(vector_for(tiny, 4, 40.0), 2, 1.0)
    before, after = likeliest_answers(tiny, batch, [[], edits], top=3)
    for said, logits in ((before, full_pass(tiny, batch).logits),
                         (after, full_pass(tiny, batch, edits).logits)):  # fmt: skip
        values, tokens = logits[0].softmax(-1).topk(3)
        assert [name for name, _ in said] == [tiny.text([token]) for token in tokens.tolist()]
        assert [p for _, p in said] == pytest.approx(values.tolist(), abs=1e-5)
    assert before != after
    assert len(likeliest_answers(tiny, batch, [[]], top=10_000)[0]) == 54


@pytest.mark.slow
def test_where_a_vector_is_added_when_nobody_says(tiny: OpenFlamingo):
    question = inspection.about_scene(seed=3)
    whole = vector_for(tiny, 4, 40.0)
    parted = inputs.read_vector("fv(left)", heads="{L2H6, L1H0}", trials=12).vector
    assert inspection.ask(tiny, question, inputs.VectorInput(whole, 5)).layer == 5
    assert inspection.ask(tiny, question, inputs.VectorInput(whole)).layer == 3
    told = inspection.ask(tiny, question, inputs.VectorInput(parted))
    assert told.layer == "native"
    assert told == inspection.ask(tiny, question, inputs.VectorInput(parted), "native")
    assert told.after[0][0] == question.neighbours["left"]
    assert inspection.ask(tiny, question).after is None
    foreign = Vector(whole.residual, Space("another model", 128))
    with pytest.raises(MfvError, match="do not belong together"):
        inspection.ask(tiny, question, inputs.VectorInput(foreign))


def test_a_scene_is_that_of_the_dataset_with_its_seed():
    question = inspection.about_scene(seed=3, diagonal=True)
    item = Scenes(seed=3).items("above_left", "test")[0]
    assert question.prompt.query == item and question.neighbours == item.neighbours
    assert question.text == f"<image>Q:{item.query}. A:"
    other = inspection.about_scene(seed=3, diagonal=True, query=item.neighbours["above_left"])
    assert other.prompt.images == question.prompt.images
    assert other.neighbours == {}


def test_a_picture_of_ones_own(tiny: OpenFlamingo, tmp_path: Path):
    """A file with the scene's pixels gives the scene's answers; other modes are converted."""
    scene = inspection.about_scene(seed=5)
    path = tmp_path / "scene.png"
    Image.fromarray(scene.picture(40)).convert("RGBA").save(path)
    question = inspection.about_picture(path, scene.prompt.query.query)
    assert question.picture(40).shape == (40, 40, 3)
    assert inspection.ask(tiny, question) == inspection.ask(tiny, scene)
    for name, data in (("none.png", None), ("bad.png", b"no picture"), ("cut.png", b"\x89PNG\r\n")):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(MfvError, match=f"image .*{name}"):
            inspection.about_picture(tmp_path / name, "red circle")


# -- what is typed --------------------------------------------------------------------------------
def test_models_and_datasets_as_typed():
    assert as_call("tiny") == "tiny()" and as_call("scenes(seed=3)") == "scenes(seed=3)"
    made = constructed(
        "model", 'openflamingo("openflamingo/OpenFlamingo-4B-vitl-rpj3b", dtype=fp16)'
    )
    assert made.constructor == "openflamingo"
    assert made.arguments["dtype"] == "fp16" and made.arguments["device"] == "auto"
    assert constructed("dataset", "scenes").arguments["count"] == 240
    with pytest.raises(RecipeError, match="did you mean `tiny`"):
        constructed("model", "tny")
    with pytest.raises(RecipeError):
        constructed("model", "tiny(")
