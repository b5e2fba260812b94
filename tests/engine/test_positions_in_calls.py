"""Edits of one's own calls at all tokens and at those of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.nn.functional import pad

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.edits import IMAGES, Edit, Span
from mfv_dsl.engine.hooks import Hooks
from tests.engine.plain_hooks import POSITIONS, Plain, at, case, prompts_of


@pytest.fixture(params=["flamingo", "llava"])
def plain(request: pytest.FixtureRequest, scenes: Scenes) -> Plain:
    return Plain(request.param, scenes)


# -- calls of one's own ----------------------------------------------------------------------------
@contextmanager
def padded(plain: Plain, side: str) -> Iterator[tuple[list[Prompt], dict[str, torch.Tensor]]]:
    """Two prompts in one call of the library's, padded on a side."""
    prompts = prompts_of(plain.scenes, (1, 0))
    rows = [plain.inputs(prompt) for prompt in prompts]
    key = "lang_x" if plain.is_flamingo else "input_ids"
    longest = max(row[key].shape[1] for row in rows)
    filling = plain.model.pad_token if plain.is_flamingo else plain.model.tokenizer.pad_token_id
    for name, filler in ((key, filling), ("attention_mask", 0)):
        for row in rows:
            more = torch.full((1, longest - row[name].shape[1]), filler)
            parts = [more, row[name]] if side == "left" else [row[name], more]
            row[name] = torch.cat(parts, 1)
    call = {name: torch.cat([row[name] for row in rows]) for name in (key, "attention_mask")}
    if plain.is_flamingo:
        most = max(row["vision_x"].shape[1] for row in rows)
        call["vision_x"] = torch.cat([
            pad(row["vision_x"], (0,) * 8 + (0, most - row["vision_x"].shape[1]))
            for row in rows
        ])  # fmt: skip
    else:
        call["pixel_values"] = torch.cat([row["pixel_values"] for row in rows])
    yield prompts, call


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["last", "all", "images"])
def test_edits_of_ones_own_calls(plain: Plain, name: str, side: str):
    edit, change = case(plain, "lm.resid")
    with padded(plain, side) as (prompts, call):
        bound = HookPlan.of(plain.model.model, [at(edit, POSITIONS[name])])
        positions = {}
        if not plain.is_flamingo:
            positions["position_ids"] = (call["attention_mask"].cumsum(-1) - 1).clamp_min(0)
        with torch.no_grad(), bound.attach():
            logits = plain.model.model(**call, **positions).logits
    lengths = call["attention_mask"].sum(-1).tolist()
    for row, prompt in enumerate(prompts):
        if plain.is_flamingo and side == "left" and row == 1:
            continue  # its own call counts positions from the padding
        wanted = plain.logits(prompt, change, "lm.resid", name)
        end = -1 if side == "left" else lengths[row] - 1
        torch.testing.assert_close(logits[row, end], wanted, atol=2e-4, rtol=1e-4)


def test_a_generation_of_ones_own_is_edited_at_its_pictures(scenes: Scenes):
    """New tokens are no pictures, and are left as they are."""
    plain = Plain("llava", scenes)
    edit, change = case(plain, "lm.resid")
    (prompt,) = prompts_of(scenes, (1,))
    inputs = plain.inputs(prompt)
    with torch.no_grad(), HookPlan.of(plain.model, [at(edit, IMAGES)]).attach() as hooks:
        tokens = plain.model.model.generate(**inputs, max_new_tokens=2, do_sample=False)
    said = tokens[0, inputs["input_ids"].shape[1] :].tolist()
    assert said[0] == int(plain.logits(prompt, change, "lm.resid", "images").argmax())
    if len(said) > 1:
        assert said[1] == int(plain.logits(prompt, change, "lm.resid", "images", said[:1]).argmax())
    assert sum(hooks.firings.values()) == 1


def test_what_calls_do_not_tell(plain: Plain):
    edit = case(plain, "lm.resid")[0]
    with pytest.raises(MfvError, match='tokens of "Q:"') as raised:
        HookPlan.of(plain.model.model, [at(edit, Span("Q:"))])
    assert raised.value.code == "MFV5123"
    with pytest.raises(MfvError) as raised:  # hooks without a prompt
        Hooks(plain.model.model, plain.model.sites, [at(edit, IMAGES)])
    assert raised.value.code == "MFV5123"
    from transformers import GPT2Config, GPT2LMHeadModel

    words = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=9, n_positions=8))
    with pytest.raises(MfvError, match="does not name them") as raised:
        HookPlan.of(words, [Edit("lm.resid", 0, "add", torch.ones(32), positions=IMAGES)])
    assert raised.value.code == "MFV5123"


def test_calls_without_ids_or_pictures(scenes: Scenes):
    plain = Plain("llava", scenes)
    edit = at(case(plain, "lm.resid")[0], IMAGES)
    inner = plain.model.model.model.language_model
    states = torch.randn(1, 4, plain.model.facts.d_model)
    with (
        pytest.raises(MfvError, match="stand for pictures is not known"), torch.no_grad(),
        HookPlan.of(plain.model, [edit]).attach(),
    ):  # fmt: skip
        inner(inputs_embeds=states)
    with (
        pytest.raises(MfvError, match="no call had a token of a picture"), torch.no_grad(),
        HookPlan.of(plain.model, [edit]).attach(),
    ):  # fmt: skip
        plain.model.model(input_ids=torch.tensor([[5, 6, 7]]))
