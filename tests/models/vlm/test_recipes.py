"""Whole recipes on small checkpoints: all that a Flamingo has, by the words of the language."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mfv_dsl import Recipe
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.data import open_dataset
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.models.vlm.load import load_folder
from mfv_dsl.plan.explain import explain_plan, plan_text
from tests.cli.support import mfv_command

Checkpoint = Callable[[str], Path]

HEAD = """\
mfv 1
model m = hf("{path}", dtype=fp32, device=cpu)
dataset shapes = scenes(relations=[left, right], count=8)
heads best = top(3, by=aie)
heads guessed = top(3, by=gradient)
defaults {{
  shots = 1
  trials = 2
  items = 2
  correct_only = false
  answer = first_token
  on = [left, right]
}}
"""
#: What every architecture can do.
EVERYWHERE = """
eval plain { shots = [0, 1] }
eval without { ablate = best, shots = 1, controls = [random_heads] }
eval without_mean { ablate = guessed, ablate_with = mean, shots = 1 }
eval said { answer = generate }
eval whole { answer = full }
tune learned { start = random, layer = 1, items = 2, epochs = 1, batch = 2, select_items = 2 }
eval tuned { add = learned(each), layer = 1 }
"""
#: What needs heads that write into the residual stream.
VECTORS = """
vector steer = fv(left, heads=best) - fv(right, heads=best)
eval raw { add = fv(each, heads=best), layer = 0..3, choose = [layer] }
eval native { add = fv(each, heads=best), layer = native }
eval patched { patch = fv(each, heads=best) }
eval steered { add = normalize(steer), layer = 2, scale = [1, 4], controls = [random_vector] }
eval by_norm { add = fv(each, heads=top(2, by=norm)), layer = 1 }
eval said_with { add = fv(each, heads=best), layer = 1, answer = generate }
eval whole_with { add = fv(each, heads=best), layer = 1, answer = full }
save "SAVED" { vectors = [fv(each, heads=best), steer], layer = 1 }
"""


def run(text: str, path: Path, folder: Path) -> Any:
    recipe = Recipe(HEAD.format(path=path) + text.replace("SAVED", str(folder / "saved")))
    return recipe.run(folder / "run")


@pytest.mark.parametrize("name", [
    "llava", "qwen3_vl", pytest.param("idefics", marks=pytest.mark.slow),
])  # fmt: skip
@pytest.mark.slow
def test_everything_runs(name: str, checkpoint: Checkpoint, tmp_path: Path):
    result = run(EVERYWHERE + VECTORS, checkpoint(name), tmp_path)
    assert {"plain", "raw", "native", "patched", "tuned", "whole"} <= {r.eval for r in result.rows}
    assert not [(row.eval, row.error) for row in result.rows if row.error]
    assert all(np.isfinite(row.mean_p_answer) for row in result.rows)
    stored = load_vector(tmp_path / "saved", "left")
    assert stored.vector.residual.isfinite().all()
    assert stored.metadata["model"]["id"] == str(checkpoint(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava", "qwen3_vl"])
def test_a_vector_is_what_its_heads_write(name: str, checkpoint: Checkpoint, tmp_path: Path):
    """By hooks on the model's own projections, without the engine."""
    heads = ((1, 0), (2, 3), (2, 1))
    given = ", ".join(f"L{layer}H{head}" for layer, head in heads)
    run(f"vector v = fv(left, heads={{{given}}})\nsave \"SAVED\" {{ vectors = [v] }}\n",
        checkpoint(name), tmp_path)  # fmt: skip
    residual = load_vector(tmp_path / "saved", "v").vector.residual

    model = load_folder(checkpoint(name), name, "fp32", "cpu")
    dataset = open_dataset("scenes", **Recipe(HEAD.format(path=checkpoint(name)))
                           .checked.datasets["shapes"].arguments)  # fmt: skip
    batch = model.batch(draw_prompts(dataset, "left", "extract", 2, 1, 1234), dataset)
    outputs: dict[int, torch.Tensor] = {}
    for layer in (1, 2):
        projection = model.layers[layer].self_attn.o_proj
        projection.register_forward_pre_hook(
            lambda _, inputs, layer=layer: outputs.__setitem__(layer, inputs[0][:, -1])
        )
    model.forward(batch)
    expected = torch.zeros_like(residual)
    for layer, head in heads:
        alone = torch.zeros_like(outputs[layer][0])
        part = slice(head * model.facts.head_dim, (head + 1) * model.facts.head_dim)
        alone[part] = outputs[layer].mean(0)[part]
        expected += model.layers[layer].self_attn.o_proj.weight @ alone
    torch.testing.assert_close(residual, expected, atol=1e-4, rtol=1e-4)


#: Everything that is made of heads' vectors, and so of the scale of a norm behind the heads.
BEHIND_NORM = """
vector steer = fv(left, heads=best) - fv(right, heads=best)
eval raw { add = fv(each, heads=best), layer = 1, controls = [random_heads] }
eval native { add = steer, layer = native }
eval patched { patch = fv(each, heads=best) }
eval longer {
  add = fv(left, heads=best, shots=2), layer = 1, on = [left], controls = [shuffled]
}
eval by_norm { add = normalize(fv(left, heads=top(2, by=norm))), layer = 1, on = [left] }
eval blended { add = blend([fv(left, heads=best), fv(right, heads=best)], by=analogy), layer = 1 }
tune scaled {
  variable = head_scales, start = fv(each, heads=best), layer = 1, items = 2, epochs = 1, batch = 2
  select_items = 2, on = [left]
}
eval scaled_native { add = scaled(left), layer = native, on = [left] }
save "SAVED" { vectors = [fv(each, heads=best), steer], layer = 1 }
"""


@pytest.mark.parametrize("name", ["gemma3", "paligemma", "molmo2_o"])
@pytest.mark.slow
def test_vectors_of_heads_behind_a_norm(
    name: str, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mfv_dsl.execute.notes.MUCH", 0.01)
    more = EVERYWHERE if name == "gemma3" else ""
    result = run(more + BEHIND_NORM, checkpoint(name), tmp_path)
    assert not [(row.eval, row.error) for row in result.rows if row.error]
    assert all(np.isfinite(row.mean_p_answer) for row in result.rows)
    made = json.loads((tmp_path / "run" / "results.json").read_text())["linearised"]
    assert {one["vector"] for one in made} >= {"fv(left)", "fv(right)"}
    assert all(one["error"] > 0 and one["prompts"] == 2 and one["scales"] for one in made)
    assert not any("save" in note["eval"] for note in result.results.notes)  # they are evaluated
    notes = [note for note in result.results.notes if "a norm stands behind" in note["text"]]
    assert "patched" not in ", ".join(note["eval"] for note in notes)
    whole = next(note for note in notes if "raw" in note["eval"])
    assert whole["eval"] == "raw, native, blended" and "That is much" in whole["text"]

    told = mfv_command("vectors", "show", str(tmp_path / "saved" / "left.safetensors")).stdout
    assert "the norm behind the heads made linear" in told

    stored = load_vector(tmp_path / "saved", "left")
    kept = {one["step"]: one for one in made}[stored.metadata["step"]]
    assert stored.metadata["linearised"] == {
        key: value for key, value in kept.items() if key not in ("vector", "step")
    }
    assert stored.metadata["format_version"] == "1.1"
    layers = {layer for layer, _ in stored.vector.heads or ()}
    assert {layer for layer, _ in kept["scales"]} == layers
    parents = load_vector(tmp_path / "saved", "steer").metadata["parents"]
    assert all("error" in parent["linearised"] for parent in parents)


@pytest.mark.slow
def test_a_vector_that_is_only_saved_has_a_note(checkpoint: Checkpoint, tmp_path: Path):
    text = 'save "SAVED" { vectors = [2 * fv(left, heads={L1H0})] }\n'
    (note,) = run(text, checkpoint("gemma3"), tmp_path).results.notes
    assert note["eval"] == "save" and note["text"].startswith("save: a norm stands behind")


def test_a_plan_says_that_what_heads_write_is_made_linear(checkpoint: Checkpoint):
    text = "eval raw { add = fv(left, heads=best), layer = 1, on = [left] }\n"
    texts = {}
    for name in ("llava", "gemma3"):
        plan = Recipe(HEAD.format(path=checkpoint(name)) + text).plan()
        texts[name] = plan_text(plan, explain_plan(plan, finished=()))
        recorded = {s.parameters.get("norm") for s in plan.steps if s.operation == "activations"}
        assert recorded == {True if name == "gemma3" else None}
    assert "made linear" in texts["gemma3"] and "scale of the norm" in texts["gemma3"]
    assert "made linear" not in texts["llava"] and "scale of the norm" not in texts["llava"]


@pytest.mark.slow
def test_full_passes_do_for_a_prompt_that_sees_itself(checkpoint: Checkpoint, tmp_path: Path):
    run(EVERYWHERE, checkpoint("paligemma"), tmp_path)


# -- layers without heads -------------------------------------------------------------------------
@pytest.mark.slow
def test_everything_runs_where_some_layers_have_no_heads(checkpoint: Checkpoint, tmp_path: Path):
    result = run(EVERYWHERE + VECTORS, checkpoint("mllama"), tmp_path)
    assert not [(row.eval, row.error) for row in result.rows if row.error]
    assert all(np.isfinite(row.mean_p_answer) for row in result.rows)
    for file in ("results.json", "manifest.json", "plan.json"):
        json.loads((tmp_path / "run" / file).read_text(), parse_constant=pytest.fail)
    for table in (tmp_path / "run").glob("*.csv"):
        assert "nan" not in table.read_text().lower()
    effects = [load_file(file) for file in (tmp_path / "run" / "aie").iterdir()]
    assert len(effects) == 4
    for arrays in effects:
        for name in {"aie", "aie_low", "aie_high", "accuracy_change"} & set(arrays):
            assert arrays[name].shape == (4, 4)
            assert arrays[name][[1, 3]].isnan().all() and arrays[name][[0, 2]].isfinite().all()
    for stored in (load_vector(tmp_path / "saved", name).vector for name in ("left", "right")):
        assert {layer for layer, _ in stored.heads} <= {0, 2}
    drawn = [value for key, value in result.values.items()
             if result.plan[key].operation == "other_heads"]  # fmt: skip
    assert drawn and all(layer in (0, 2) for heads in drawn for layer, _ in heads.chosen)


def test_plans_count_the_heads_that_there_are(checkpoint: Checkpoint):
    recipe = Recipe(
        HEAD.format(path=checkpoint("mllama"))
        + "eval a { ablate = all() }\neval b { ablate = random(7) }\n"
        "eval c { ablate = layers(0..1) }\neval d { ablate = best }\nheads one = {L2H3}\n"
    )
    plan = recipe.plan()
    sets = {step.label: step.parameters["heads"] for step in plan.steps
            if step.operation == "head_set"}  # fmt: skip
    every = [(layer, head) for layer in (0, 2) for head in range(4)]
    assert sets["all heads"] == every and set(sets["random(7)"]) < set(every)
    assert sets["layers(0..1)"] == every[:4]
    told = plan_text(plan, explain_plan(plan, ()))
    assert "4 layers (2 with heads) × 4 heads" in told
    assert "2 of the layers 0–3, 4 heads each" in told
    assert "2 prefix passes, 18 variants" in told  # 2 trials: each without edits and with 8 heads


@pytest.mark.parametrize(("line", "code", "words"), [
    ("heads one = {L1H0}", "MFV4002", "no self-attention in layers 1, 3"),
    ("heads some = layers([1, 3])", "MFV4002", "no heads in layer 1, 3"),
    ("heads some = top(9)", "MFV4004", "it has 8 in all"),
    ("heads some = random(9)", "MFV4004", "it has 8 in all"),
    ("eval e { ablate = top(2), k = [1, 9] }", "MFV4004", "it has 8 in all"),
    ("eval e { ablate = top(5), controls = [random_heads] }", "MFV5334", "the model has 8 heads"),
])  # fmt: skip
def test_heads_that_no_layer_has_are_told_before_anything_runs(
    line: str, code: str, words: str, checkpoint: Checkpoint
):
    with pytest.raises(RecipeError) as raised:
        Recipe(HEAD.format(path=checkpoint("mllama")) + line + "\n")
    assert raised.value.code == code
    assert words in str(raised.value)


# -- what one vector is asked on the command line -------------------------------------------------
@pytest.fixture(scope="module")
def vector(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A function vector of the bundled LLaVA."""
    folder = tmp_path_factory.mktemp("saved")
    Recipe(
        'mfv 1\nmodel m = tiny("llava")\ndataset shapes = scenes(relations=[left], count=20)\n'
        f"defaults {{ trials = 4, heads = top(4) }}\n"
        f'save "{folder}" {{ vectors = [fv(left)], layer = 2 }}\n'
    ).run(folder / "run")
    return str(folder / "left.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("words", [
    "ask --scene 3 --with VECTOR --json",
    "ask --scene 3 --with VECTOR --plot PICTURE --quiet",
    "decode VECTOR --top 4 --json",
    "decode VECTOR --norm after_stream --items 2",
    "norms VECTOR --items 2 --json",
    "cost VECTOR --items 2 --layer 2 --json",
    "data show scenes --relation left --out PICTURE",
])  # fmt: skip
def test_the_command_line(words: str, vector: str, tmp_path: Path):
    places = {"VECTOR": vector, "PICTURE": str(tmp_path / "drawn.png")}
    answer = mfv_command(
        *(places.get(word, word) for word in words.split()), "--model", 'tiny("llava")'
    )
    assert answer.returncode == 0, answer.stderr
    if "--json" in words:
        assert json.loads(answer.stdout)
    if "PICTURE" in words:
        assert (tmp_path / "drawn.png").stat().st_size > 1000
