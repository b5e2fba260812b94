"""Evals that write elsewhere than to the residual stream of the last token: held against passes by
hand, with a hook of PyTorch's own on the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.run import RunResult
from mfv_dsl.execute.session import Session
from mfv_dsl.execute.settings import AS_DECLARED, Silence
from mfv_dsl.plan.explain import explain_plan, plan_text
from mfv_dsl.plan.steps import Step
from mfv_dsl.plan.work import work_by_step

pytestmark = pytest.mark.slow

HEAD = """mfv 1
model m = {model}
dataset d = scenes(relations=[left, right, above, below], count=60)
heads few = {{L1H1, L2H3, L4H6}}
defaults {{ heads = few, trials = 12, items = 24, on = [left], layer = 1, scale = 4 }}
"""
RECIPE = f"""{HEAD}
sweep text = ["Q:", "{{{{query}}}}"]
eval added {{{{ add = fv(each), position = [last, all, images, ". A"] }}}}
eval texts {{{{ add = fv(each), position = text }}}}
eval there {{{{ add = fv(each), site = [residual, attention, mlp], position = [last, all] }}}}
eval native {{{{ add = fv(each), layer = native, position = [last, images] }}}}
eval patched {{{{ patch = fv(each), position = all }}}}
eval gone {{{{ ablate = few, position = [last, all], shots = 1 }}}}
eval moved {{{{ add = fv(each), ablate = few, position = all }}}}
eval best {{{{
  add = [fv(each), zeros()], layer = [0, 3], choose = [layer, add], position = all
  controls = [random_vector]
}}}}
eval chosen {{{{ add = [fv(each), zeros()], layer = [0, 3], position = all, split = validation }}}}
eval mixed {{{{ add = blend([fv(left), fv(right)], by=analogy), position = [last, all] }}}}
"""


@pytest.fixture(scope="module", params=["tiny()", 'tiny("llava")'])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return mfv.Recipe(RECIPE.format(model=request.param), "e").run(tmp_path_factory.mktemp("run"))


def rows(ran: RunResult, name: str, **having: object) -> list[Any]:
    return [
        row
        for row in ran.rows
        if row.eval == name
        and all({**row.to_json(), **row.axes}.get(what) == value for what, value in having.items())
    ]


def step_of(ran: RunResult, name: str, **axes: object) -> Step:
    (row,) = [
        row
        for row in ran.plan.rows
        if row.eval == name and axes.items() <= {axis.name: axis.value for axis in row.axes}.items()
    ]
    return ran.plan[row.step]


def layer_of(model: Any, number: int) -> Any:
    whole = model.model
    if hasattr(whole, "lang_encoder"):
        return whole.lang_encoder.gpt_neox.layers[number]
    return whole.model.language_model.layers[number]


def module_of(model: Any, site: str, number: int) -> Any:
    """The module whose output a vector is added to, by the model's own names."""
    block = layer_of(model, number)
    decoder = getattr(block, "decoder_layer", block)
    if site == "mlp":
        return decoder.mlp
    if site == "attention":
        return (
            decoder.attention.dense if hasattr(decoder, "attention") else decoder.self_attn.o_proj
        )
    return block


def places_of(model: Any, batch: Any, position: str) -> torch.Tensor:
    """Where a position is, (prompts, length): prompts are padded on the left, and end in the tokens
    `Q:`, a name, `.` and `A:`."""
    mask = torch.zeros_like(batch.mask, dtype=torch.bool)
    ends = {"last": [-1], "Q:": [-4], "{query}": [-3], ". A": [-2, -1]}
    if position in ends:
        mask[:, ends[position]] = True
        return mask
    return batch.mask.bool() if position == "all" else batch.tokens == model.image_token_of_tests


def measured(
    ran: RunResult, step: Step, position: str, changes: list[tuple[Any, Callable[..., Any], bool]]
) -> tuple[float, float]:
    """Accuracy and mean probability of an evaluation's prompts, with each change, by a hook on its
    module (before it, if said so), made to the states at a position."""
    session = Session(ran.plan, Silence(), AS_DECLARED)
    model: Any = session.backend(step)
    p = step.parameters
    model.image_token_of_tests = next(iter(model.banned_tokens))
    correct, p_answer = [], []
    for batch in session.batches(step, session.prompts(step, p["items"], p["split"], p["shots"])):
        mask = places_of(model, batch, position)[..., None]
        handles = []
        for module, change, is_before in changes:

            def on(states: torch.Tensor, change: Any = change, mask: Any = mask) -> torch.Tensor:
                return torch.where(mask, change(states), states)

            if is_before:
                hook = module.register_forward_pre_hook(
                    lambda _, given, on=on: (on(given[0]), *given[1:])
                )
            else:
                hook = module.register_forward_hook(
                    lambda _, __, out, on=on: (
                        (on(out[0]), *out[1:]) if isinstance(out, tuple) else on(out)
                    )
                )
            handles.append(hook)
        try:
            with torch.no_grad():
                probabilities = model.forward(batch).softmax(-1)
        finally:
            for handle in handles:
                handle.remove()
        p_answer.append(probabilities.gather(1, batch.answers[:, None])[:, 0].numpy())
        correct.append((probabilities.argmax(-1) == batch.answers).numpy())
    return float(np.concatenate(correct).mean()), float(np.concatenate(p_answer).mean())


def value(ran: RunResult, step: Step, name: str = "real") -> Any:
    key = step.inputs[name]
    assert isinstance(key, str)
    return ran.values[key]


def model_of(ran: RunResult, step: Step) -> Any:
    return Session(ran.plan, Silence(), AS_DECLARED).backend(step)


def adds(ran: RunResult, step: Step, site: str = "residual", layer: int = 1) -> Any:
    """The change that adds four times an evaluation's vector."""
    vector = 4 * value(ran, step).residual
    return module_of(model_of(ran, step), site, layer), lambda states: states + vector, False


def replaces(ran: RunResult, step: Step, values: Any = None) -> list[Any]:
    """The changes that put values, or zero, in the place of some heads' outputs."""
    facts = ran.plan.models["m"].facts
    changes = []
    for number, (layer, head) in enumerate(((1, 1), (2, 3), (4, 6))):

        def replaced(states: torch.Tensor, head: int = head, number: int = number) -> torch.Tensor:
            heads = states.reshape(*states.shape[:-1], facts.n_heads, facts.head_dim).clone()
            heads[..., head, :] = 0 if values is None else values[number]
            return heads.reshape(states.shape)

        module = module_of(model_of(ran, step), "attention", layer)
        changes.append((module, replaced, True))
    return changes


def agree(row: Any, found: tuple[float, float]) -> None:
    assert (row.accuracy, row.mean_p_answer) == pytest.approx(found, abs=2e-5)


@pytest.mark.parametrize("position", ["last", "all", "images", ". A"])
def test_a_vector_is_added_at_each_position(ran: RunResult, position: str):
    step = step_of(ran, "added", position=position)
    (row,) = rows(ran, "added", position=position)
    agree(row, measured(ran, step, position, [adds(ran, step)]))
    assert len({round(row.mean_p_answer, 6) for row in rows(ran, "added")}) == 4


@pytest.mark.parametrize("text", ["Q:", "{query}"])
def test_texts_may_be_a_sweep_of_their_own(ran: RunResult, text: str):
    step = step_of(ran, "texts", text=text)
    (row,) = rows(ran, "texts", text=text)
    agree(row, measured(ran, step, text, [adds(ran, step)]))


@pytest.mark.parametrize("position", ["last", "all"])
@pytest.mark.parametrize("site", ["residual", "attention", "mlp"])
def test_a_vector_is_added_at_each_site(ran: RunResult, site: str, position: str):
    step = step_of(ran, "there", site=site, position=position)
    (row,) = rows(ran, "there", site=site, position=position)
    agree(row, measured(ran, step, position, [adds(ran, step, site)]))
    other = rows(ran, "there", position=position, site="residual")[0].mean_p_answer
    assert (row.mean_p_answer == pytest.approx(other, abs=1e-4)) == (site != "attention")


@pytest.mark.parametrize("position", ["last", "images"])
def test_heads_write_at_their_own_layers(ran: RunResult, position: str):
    step = step_of(ran, "native", position=position)
    vector = value(ran, step)
    changes = []
    for head, output in zip(vector.heads, vector.head_projected, strict=True):
        module = module_of(model_of(ran, step), "attention", head[0])
        changes.append((module, lambda states, more=4 * output: states + more, False))
    (row,) = rows(ran, "native", position=position)
    agree(row, measured(ran, step, position, changes))


def test_heads_are_patched_at_all_tokens(ran: RunResult):
    step = step_of(ran, "patched")
    changes = replaces(ran, step, value(ran, step).head_means)
    agree(rows(ran, "patched")[0], measured(ran, step, "all", changes))


@pytest.mark.parametrize("position", ["last", "all"])
def test_heads_are_taken_away(ran: RunResult, position: str):
    step = step_of(ran, "gone", position=position)
    (row,) = rows(ran, "gone", position=position)
    agree(row, measured(ran, step, position, replaces(ran, step)))


def test_a_vector_is_added_where_heads_are_taken_away(ran: RunResult):
    step = step_of(ran, "moved")
    changes = [*replaces(ran, step), adds(ran, step)]
    agree(rows(ran, "moved")[0], measured(ran, step, "all", changes))


def test_what_is_best_is_chosen_at_the_position(ran: RunResult):
    """Trials are full passes, too; the control is written where the vector is."""
    tried = {(c["layer"], c["vector"]): c["mean_p_answer"] for c in ran.choices}
    apart = {(row.layer, row.vector): row.mean_p_answer for row in rows(ran, "chosen")}
    assert tried == pytest.approx(apart) and len(tried) == 4
    real, control = rows(ran, "best")
    assert (real.control, control.control) == ("", "random_vector")
    step = step_of(ran, "best")
    vector = 4 * value(ran, step, "random_vector").residual
    module = module_of(model_of(ran, step), "residual", control.layer)
    if control.vector == "fv(each)":
        found = measured(ran, step, "all", [(module, lambda states: states + vector, False)])
        agree(control, found)


def test_a_blend_is_weighted_and_added_at_the_position(ran: RunResult):
    """Where its candidates are weighed, too: other weights than at the last token."""
    last, everywhere = ([w["weight"] for w in mix["weights"]] for mix in ran.weights)
    assert last != pytest.approx(everywhere, abs=1e-4)
    for position, weights in (("last", last), ("all", everywhere)):
        step = step_of(ran, "mixed", position=position)
        assert sum(weights) == pytest.approx(1) and len(step.inputs["candidates"]) == 2


# -- plans -----------------------------------------------------------------------------------------
def plan_of(*evals: str, model: str = "tiny()") -> Any:
    return mfv.Recipe(HEAD.format(model=model) + "\n".join(evals)).plan()


def test_keys_are_as_they_were_and_differ_by_what_is_written_where():
    def key(more: str) -> str:
        return plan_of(f"eval e {{ add = fv(each){more} }}").rows[0].step

    assert key(", position = last") == key(", site = residual") == key("")
    others = [
        ", position = all", ", position = images", ', position = "Q:"', ', position = "Q:{query}"',
        ", site = attention", ", site = mlp", ", site = mlp, position = all",
    ]  # fmt: skip
    assert len({key(""), *map(key, others)}) == 8


def test_a_plan_counts_full_passes():
    plan = plan_of(
        "eval plain { add = fv(each), layer = [1, 2] }",
        "eval all_of_it { add = fv(each), layer = [1, 2], position = all }",
        'eval said { add = fv(each), position = "Q:", answer = generate }',
        "eval tried { add = fv(each), layer = [1, 2], choose = [layer], position = images }",
        "eval mixed { add = blend([fv(left), fv(right)], by=analogy), position = all }",
        "eval gone { ablate = few, position = all }",
    )
    notes = {
        step.label.partition(":")[0]: note
        for step, note in zip(plan.steps, explain_plan(plan, ()), strict=True)
        if step.operation == "evaluate"
    }
    passes = {name: note.full_passes for name, note in notes.items()}
    assert passes == {"plain": 0, "all_of_it": 48, "said": 48, "tried": 72, "mixed": 72, "gone": 24}
    assert (notes["plain"].prefix_passes, notes["plain"].variants) == (24, 48)
    assert all(note.prefix_passes == 0 for name, note in notes.items() if name != "plain")
    text = plan_text(plan, explain_plan(plan, ()))
    assert "48 full passes, as the prompts see what is written at every token" in text
    assert 'layer 1, at the tokens of "Q:"' in text
    assert "at lm.attn (every token)" in text
    assert "; to run: " in text and "264 full passes, " in text.partition("; to run: ")[2]


def test_arithmetic_of_full_passes():
    """Whole prompts for each condition, and no prefix besides."""
    plan = plan_of(
        "eval plain { add = fv(each), layer = [1, 2], shots = 4 }",
        "eval all_of_it { add = fv(each), layer = [1, 2], shots = 4, position = all }",
    )
    works = work_by_step(plan, plan.steps)
    plain, whole = (works[row.step] for row in plan.rows)
    assert whole.prompts == 0 < plain.prompts
    assert whole.variants == pytest.approx(2 * plain.prompts, rel=0.05)


# -- what is refused -------------------------------------------------------------------------------
def test_a_prompt_without_the_text_fails_with_its_code(tmp_path: Any):
    recipe = mfv.Recipe(
        HEAD.format(model="tiny()") + 'eval e { add = zeros(), position = "Q: left", items = 4 }'
    )
    assert [finding.code for finding in recipe.check() if finding.code == "MFV4012"]
    with pytest.raises(MfvError, match="e: left, 0 shots: there is no `Q: left` in") as raised:
        recipe.run(tmp_path)
    assert raised.value.code == "MFV5121"


def test_it_is_refused_before_anything_is_measured(tmp_path: Any):
    """Also where only some of the prompts have the text, and where it is to be tried on others; of
    items that are chosen by what the model answers when these are known."""
    name = "red circle"
    text = HEAD.format(model="tiny()") + f'eval e {{ add = fv(each), position = "{name}"'
    for more in ("", ", layer = [1, 2], choose = [layer]"):
        with pytest.raises(MfvError, match="there is no `red circle`"):
            mfv.Recipe(f"{text}{more} }}").run(tmp_path / "out")
        assert not (tmp_path / "out" / "results.json").exists()
    with pytest.raises(MfvError, match="there is no `red circle`"):
        mfv.Recipe(f"{text}, correct_with = 2 }}").run(tmp_path / "later")


def test_layers_without_self_attention_are_no_site():
    """Every fifth layer of a Llama 3.2 Vision has cross-attention in place of it."""
    head = HEAD.format(model='hf("meta-llama/Llama-3.2-11B-Vision-Instruct")')
    head = head.replace("{L1H1, L2H3, L4H6}", "{L1H1}")

    def text(layer: str, site: str) -> str:
        return f"{head}eval e {{ add = fv(left), layer = {layer}, site = {site} }}"

    for layer in ("4", "{2, 4}", "native"):
        assert mfv.Recipe(text(layer, "attention")).plan()
    assert mfv.Recipe(text("3", "mlp")).plan()
    for layer in ("3", "{2, 8}", "[2, 13]"):
        with pytest.raises(MfvError, match="has no self-attention") as raised:
            mfv.Recipe(text(layer, "attention"))
        assert [finding.code for finding in raised.value.diagnostics] == ["MFV4001"]


def test_attached_evals(ran: RunResult):
    plan = plan_of(
        "eval raw { add = zeros(), position = [all, images] }",
        'eval said { add = zeros(), position = "Q:" }',
    )
    model = mfv.load_model("tiny")
    bound = plan.bind(model, "raw", axes={"position": "images"})
    assert [edit.positions for edit in bound.edits] == ["images"]
    bound = plan.bind(model, "raw", axes={"position": "all"})
    assert [edit.positions for edit in bound.edits] == [None]
    with pytest.raises(MfvError) as raised:
        plan.bind(model, "said")
    assert raised.value.code == "MFV5123"
