"""Vectors of states as recipes and expressions make them, against the rows that they are of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.engine.positions import DEMONSTRATIONS
from mfv_dsl.methods.states import queries_of, read_states

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above], seed=7, count=60)
defaults { trials = 8, items = 8, seed = 5 }
"""
DATASET = "scenes(relations=[left, right, above], seed=7, count=60)"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mfv.RunResult:
    folder = tmp_path_factory.mktemp("states")
    text = HEAD + (
        "vector all_layers = mean(states(left, layer=all, shots=2) - states(left, layer=all, "
        "shots=0))\n"
        "vector one    = mean(states(left, layer=3, shots=2)) - mean(states(right, layer=3))\n"
        "vector taught = mean(states(left, layer={1, 2}, site=[mlp, attention], shots=2, "
        "position=demonstrations, corrupt=shuffle))\n"
        "eval a { add = all_layers, scale = 0.1, on = [left], "
        "controls = [random_vector, shuffled] }\n"
        "eval b { add = one, on = [left] }\n"
        f'save "{folder}/lib" {{ vectors = [all_layers, one, taught] }}\n'
    )
    return mfv.Recipe(text).run(folder / "run")


def rows(tiny, relation: str, places, shots: int, how: str = "", told=None) -> torch.Tensor:
    data = mfv.load_dataset(DATASET)
    prompts = draw_prompts(data, relation, "extract", 8, shots, 5)
    if how:
        prompts = [corrupt(prompt, how, data, "extract", 5) for prompt in prompts]
    return read_states(tiny, [tiny.batch(prompts, data)], queries_of(prompts), places, told).rows


@pytest.mark.slow
def test_saved_vectors_are_made_of_the_rows(run: mfv.RunResult, tiny):
    saved = {Path(path).stem: mfv.load_vector(path) for path in run.saved}
    every = [("lm.resid", layer) for layer in range(10)]
    difference = rows(tiny, "left", every, 2) - rows(tiny, "left", every, 0)
    vector = saved["all_layers"].vector
    assert vector.space.places == tuple(every)
    torch.testing.assert_close(vector.residual, difference.mean(0).flatten(), rtol=1e-4, atol=1e-4)
    one = rows(tiny, "left", [("lm.resid", 3)], 2) - 0
    other = rows(tiny, "right", [("lm.resid", 3)], 4)
    wanted = (one.mean(0) - other.mean(0)).flatten()
    assert saved["one"].vector.space.places == ()
    torch.testing.assert_close(saved["one"].vector.residual, wanted, rtol=1e-4, atol=1e-4)
    places = [("lm.attn.out", 1), ("lm.mlp", 1), ("lm.attn.out", 2), ("lm.mlp", 2)]
    taught = rows(tiny, "left", places, 2, "shuffle", DEMONSTRATIONS).mean(0).flatten()
    torch.testing.assert_close(saved["taught"].vector.residual, taught, rtol=1e-4, atol=1e-4)
    said = saved["taught"].metadata
    assert said["kind"] == "extracted" and said["relation"] == "left"
    assert said["prompt"]["control"] == "shuffle" and said["format_version"] == "2.0"


@pytest.mark.slow
def test_each_part_is_added_where_it_was_read(run: mfv.RunResult, tiny):
    from mfv_dsl.engine.edits import Edit
    from mfv_dsl.methods.evaluation import measure

    vector = mfv.load_vector(run.saved[0]).vector
    data = mfv.load_dataset(DATASET)
    prompts = draw_prompts(data, "left", "test", 8, 0, 5)
    edits = [
        Edit("lm.resid", layer, "add", 0.1 * part)
        for layer, part in enumerate(vector.residual.view(10, 128))
    ]
    wanted = measure(tiny, [tiny.batch(prompts, data)], edits)
    (row,) = [row for row in run.rows if row.eval == "a" and not row.control
              and row.relation == "left"]  # fmt: skip
    assert row.layer == "native"
    assert row.mean_p_answer == pytest.approx(float(wanted.p_answer.mean()), abs=1e-5)


@pytest.mark.slow
def test_expressions_of_python_are_those_of_the_language(run: mfv.RunResult, tiny):
    expression = mfv.mean(mfv.states("left", layer={1, 2}, site=["mlp", "attention"], shots=2,
                                     position="demonstrations", corrupt="shuffle"))  # fmt: skip
    found = expression.vector(tiny, DATASET, trials=8, seed=5)
    assert torch.allclose(found.residual, mfv.load_vector(run.saved[2]).vector.residual, atol=1e-5)
    assert len(found.bind(tiny, "native").edits) == 4
    with pytest.raises(MfvError) as caught:
        found.bind(tiny, 3)
    assert caught.value.code == "MFV5500"


def test_what_python_cannot_say_is_an_error_at_once():
    with pytest.raises(mfv.RecipeError) as caught:
        mfv.states("left", layer=3) + mfv.fv("left")
    assert caught.value.diagnostics[0].code == "MFV3002"
    with pytest.raises(mfv.RecipeError) as caught:
        mfv.pca(mfv.fv("left"))
    assert caught.value.diagnostics[0].code == "MFV3001"


@pytest.mark.parametrize(
    ("vector", "code"),
    [("mean(states(left, layer=3) - states(right, layer=3))", "MFV5505"),
     ("mean(states(left, layer=3) - states(left, layer=3, trials=5))", "MFV5505"),
     ("mean(states(left, layer=3) - states(left, layer=3, seed=6))", "MFV5505"),
     ("pca(states(left, layer=3), component=8)", "MFV5503"),
     ("pca(states(left, layer=3) - states(left, layer=3))", "MFV5502"),
     ("mean(states(left, layer=3, trials=1000000000, split=extract))", "MFV5504")],
)  # fmt: skip
def test_rows_that_do_not_go_together_are_refused_before_the_run(vector: str, code: str):
    recipe = mfv.Recipe(f"{HEAD}vector v = {vector}\neval a {{ add = v }}\n")
    with pytest.raises(MfvError) as caught:
        recipe.plan()
    assert caught.value.code == code
