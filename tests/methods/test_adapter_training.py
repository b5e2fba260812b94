"""The training of adapters, against the same written out in plain PyTorch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.execute.session import batched
from mfv_dsl.execute.store import Store
from mfv_dsl.methods.adapter_training import (
    Adapter,
    AdapterSettings,
    adapter_cost,
    train_adapter,
    with_adapter,
)
from mfv_dsl.models.adapters import Lora, SoftPrompt, adapted
from tests.cases import one_quick

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, below], count=40)
defaults { items = 12, on = [left] }
defaults for lora { items = 8, select_items = 8, epochs = 2, batch = 4 }
defaults for soft_prompt { items = 8, select_items = 8, epochs = 2, batch = 4 }
"""


@pytest.fixture(scope="module", params=one_quick(["flamingo", "llava"]))
def backend(request: pytest.FixtureRequest) -> Any:
    return mfv.load_model("tiny", request.param)


def trained(backend: Any, scenes: Any, form: Any, **options: Any) -> Adapter:
    prompts = draw_prompts(scenes, "left", "train", 8, 0, 1)
    chosen_on = draw_prompts(scenes, "left", "validation", 6, 0, 1)
    return train_adapter(
        backend, form,
        lambda model: list(batched(model, scenes, prompts, 4)),
        lambda model: list(batched(model, scenes, chosen_on, 6)),
        AdapterSettings(epochs=2, lr=1e-2, seed=5), **options,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", [Lora(2, 4), SoftPrompt(3)], ids=str)
def test_training_is_adam_on_the_nll_along_a_cosine(backend: Any, scenes: Any, form: Any):
    kept: dict[str, Any] = {}

    def keep(name: str, make: Any) -> Any:
        kept[name] = make()
        return kept[name]

    trained(backend, scenes, form, keep=keep)
    with adapted(backend, form, 5) as inside:
        weights = list(inside.parameters.values())
        batches = list(
            batched(inside.backend, scenes, draw_prompts(scenes, "left", "train", 8, 0, 1), 4)
        )
        adam = torch.optim.Adam(weights, lr=1e-2)
        for step in range(4):
            epoch, place = divmod(step, 2)
            order = np.random.default_rng([5, epoch + 1]).permutation(2)
            batch = batches[order[place]]
            adam.param_groups[0]["lr"] = 1e-2 * (1 + math.cos(math.pi * step / 4)) / 2
            logits = inside.backend.forward(batch)
            loss = torch.nn.functional.cross_entropy(logits.float(), batch.answers)
            adam.zero_grad()
            loss.backward()
            adam.step()
        expected = torch.cat([weight.detach().flatten() for weight in weights])
    assert torch.allclose(kept["epoch/2"].value, expected, atol=2e-5)


@pytest.mark.slow
def test_what_is_kept_is_gone_on_from_with_the_same_bits(backend: Any, scenes: Any):
    kept: dict[str, Any] = {}
    whole = trained(backend, scenes, Lora(2, 4), keep=lambda n, make: kept.setdefault(n, make()))
    del kept["epoch/2"]
    made = []

    def keep(name: str, make: Any) -> Any:
        if name not in kept:
            made.append(name)
            kept[name] = make()
        return kept[name]

    again = trained(backend, scenes, Lora(2, 4), keep=keep)
    assert made == ["epoch/2"]
    for one, other in zip(whole.tensors, again.tensors, strict=True):
        assert torch.equal(one, other)
    assert whole.training == again.training
    assert whole.learned == sum(tensor.numel() for tensor in whole.tensors)


@pytest.mark.slow
def test_an_adapter_is_kept_and_put_in_again(backend: Any, scenes: Any, tmp_path: Path):
    adapter = trained(backend, scenes, SoftPrompt(3))
    store = Store(tmp_path)
    store.put("a" * 64, adapter, "an adapter", "soft_prompt")
    again = store.get("a" * 64, "soft_prompt")
    assert (again.names, again.sizes, again.training) == (
        adapter.names, adapter.sizes, adapter.training
    )  # fmt: skip
    prompts = draw_prompts(scenes, "left", "validation", 6, 0, 1)
    results = []
    for one in (adapter, again):
        with with_adapter(backend, one) as inside, torch.no_grad():
            logits = inside.forward(inside.batch(prompts, scenes))
            results.append(logits)
    assert torch.equal(*results)
    best = adapter.training.epochs[adapter.training.chosen]
    answers = backend.batch(prompts, scenes).answers
    assert float((results[0].argmax(-1) == answers).float().mean()) == pytest.approx(best.accuracy)


@pytest.mark.slow
def test_an_adapter_of_another_model_is_refused(scenes: Any):
    flamingo, llava = (mfv.load_model("tiny", name) for name in ("flamingo", "llava"))
    adapter = trained(flamingo, scenes, SoftPrompt(1))
    with pytest.raises(MfvError, match="another model") as error, with_adapter(llava, adapter):
        pass
    assert error.value.code == "MFV5303"


@pytest.mark.slow
def test_an_eval_measures_with_an_adapter_beside_the_unedited_model(tmp_path: Path):
    recipe = HEAD + (
        "eval zero { shots = 0 }\n"
        "eval low { adapter = lora(each, items=40, epochs=6), against = zero }\n"
        "eval soft { adapter = soft_prompt(each), answer = generate }\n"
        "eval zero_again { shots = 0, items = 11 }\n"
        "report { learned_numbers(lora(left)) }\n"
    )
    result = mfv.Recipe(recipe).run(tmp_path / "run")
    rows = {row.eval: row for row in result.rows}
    assert rows["low"].accuracy >= 0.7 > rows["zero"].accuracy
    assert rows["low"].against["zero"].difference == pytest.approx(
        rows["low"].accuracy - rows["zero"].accuracy
    )
    assert rows["soft"].n == 12 and 0 <= rows["soft"].accuracy <= 1
    again = mfv.Recipe(recipe).run(tmp_path / "again")
    assert [row.accuracy for row in again.rows] == [row.accuracy for row in result.rows]


def test_peft_that_is_missing_is_said_in_the_plan(monkeypatch: pytest.MonkeyPatch):
    import mfv_dsl.plan.expressions as planning

    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    with pytest.raises(MfvError) as error:
        mfv.Recipe(HEAD + "eval e { adapter = lora(each) }").plan()
    assert error.value.code == "MFV5620" and "pip install" in str(error.value.help)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("eval e { adapter = fv(each) }", "MFV3001"),
        ("eval e { adapter = lora }", "MFV2002"),
        ("eval e { add = lora(each), layer = 1 }", "MFV3001"),
        ("eval e { adapter = lora(each), add = fv(each), layer = 1 }", "MFV2017"),
        ("eval e { adapter = lora(each), ablate = top(2) }", "MFV2017"),
        ("eval e { adapter = lora(each), controls = [random_heads] }", "MFV5333"),
        ("eval e { adapter = lora(each, select_on=test) }", "MFV4005"),
        ("eval e { adapter = lora(each, select_on=train) }", "MFV5312"),
        ("eval e { adapter = 2 * lora(each) }", "MFV3002"),
        ("eval e { adapter = lora(each, rank=0) }", "MFV4003"),
        ("eval e { adapter = lora(each, alpha=0) }", "MFV4003"),
        ("eval e { adapter = [lora(each)] }", "MFV3001"),
        ('model n = tiny("llava")\neval e { adapter = lora(each, model=n), model = m }', "MFV3004"),
        ('save "x" { vectors = [lora(each)] }', "MFV3001"),
        ("vector v = lora(left)", "MFV3001"),
    ],
)
def test_what_does_not_go_with_an_adapter_is_found_before_the_run(line: str, code: str):
    with pytest.raises(RecipeError) as error:
        _ = mfv.Recipe(HEAD + line).checked
    assert code in [one.code for one in error.value.diagnostics if one.severity == "error"]


@pytest.mark.parametrize("option", ["items = 99999", "select_items = 99999"])
def test_more_prompts_than_there_are_is_an_error_of_the_plan(option: str):
    text = HEAD + "eval e { adapter = lora(each, " + option.replace(" ", "") + ") }"
    plan = mfv.Recipe(text).plan()
    assert [error.code for error in plan.errors] == ["MFV7110"]


@pytest.mark.slow
def test_what_an_adapter_costs_elsewhere_is_the_divergence_written_out(backend: Any, scenes: Any):
    adapter = trained(backend, scenes, SoftPrompt(3))
    prompts = draw_prompts(scenes, "right", "validation", 5, 0, 1)
    cost = adapter_cost(backend, adapter, lambda model: batched(model, scenes, prompts, 3))
    with torch.no_grad():
        before = backend.forward(backend.batch(prompts, scenes)).double().softmax(-1)
        with with_adapter(backend, adapter) as inside:
            after = inside.forward(inside.batch(prompts, scenes)).double().softmax(-1)
    kl = (before * (before / after).log()).sum(-1)
    assert np.allclose(cost.kl_per_prompt, kl.numpy(), rtol=1e-2, atol=1e-5) and kl.max() > 1e-3
    answers = backend.batch(prompts, scenes).answers
    assert cost.correct_before.tolist() == (before.argmax(-1) == answers).tolist()
    assert cost.correct_after.tolist() == (after.argmax(-1) == answers).tolist()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_adapter_tested_on_what_it_was_trained_on_is_warned_of(split: str):
    line = f"eval e {{ adapter = lora(each), split = {split} }}"
    (warning,) = mfv.Recipe(HEAD + line).checked.warnings
    assert warning.code == "MFV4010" and "its adapter was trained" in warning.message
