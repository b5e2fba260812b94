"""Edits of a user's own calls: at each row's last token, wherever its padding is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.attach import HookPlan, is_edited
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.models.sites import find_sites
from tests.conftest import small_flamingo

WIDTH = 32
EDIT = Edit("lm.resid", 1, "add", torch.full((WIDTH,), 2.0))
HEAD = Edit("lm.attn", 1, "replace", torch.ones(1, 8), heads=(2,))
ROWS = ([3, 4, 5, 6, 7], [8, 9], [10, 11, 12])


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    if request.param == "llama":
        config = LlamaConfig(hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4,
                             intermediate_size=64, vocab_size=50, pad_token_id=0,
                             bos_token_id=1, eos_token_id=2)  # fmt: skip
        return LlamaForCausalLM(config).eval()
    config = GPT2Config(n_embd=WIDTH, n_layer=3, n_head=4, vocab_size=50, n_positions=32,
                        bos_token_id=1, eos_token_id=2, pad_token_id=0)  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def padded(side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask, (rows, 5)."""
    longest = max(map(len, ROWS))
    tokens, masks = [], []
    for row in ROWS:
        pad = [0] * (longest - len(row))
        ones = [1] * len(row)
        tokens.append(pad + row if side == "left" else row + pad)
        masks.append(pad + ones if side == "left" else ones + pad)
    return torch.tensor(tokens), torch.tensor(masks)


@torch.no_grad()
def alone(model: Any, edits: list[Edit]) -> list[torch.Tensor]:
    """Logits of the next token of each row, run alone without padding."""
    result = []
    for row in ROWS:
        with HookPlan.of(model, edits).attach():
            result.append(model(torch.tensor([row])).logits[0, -1])
    return result


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("edit", [EDIT, HEAD], ids=["residual", "head"])
@pytest.mark.parametrize("form", ["integers", "booleans", "floats"])
def test_a_padded_row_is_edited_as_it_is_alone(model: Any, side: str, edit: Edit, form: str):
    tokens, mask = padded(side)
    mask = {"integers": mask, "booleans": mask.bool(), "floats": mask.float()}[form]
    positions = (mask.long().cumsum(-1) - 1).clamp_min(0)
    with torch.no_grad(), HookPlan.of(model, [edit]).attach():
        logits = model(tokens, attention_mask=mask, position_ids=positions).logits
    for i, (row, expected) in enumerate(zip(ROWS, alone(model, [edit]), strict=True)):
        last = -1 if side == "left" else len(row) - 1
        torch.testing.assert_close(logits[i, last], expected, atol=1e-5, rtol=1e-4)


def test_a_mask_by_place_and_to_the_inner_model(model: Any):
    """As the second argument, and in a call of the model without its head."""
    tokens, mask = padded("right")
    inner = model.base_model
    with torch.no_grad(), HookPlan.of(model, [EDIT]).attach():
        by_name = inner(tokens, attention_mask=mask).last_hidden_state
        whole = model(tokens, attention_mask=mask).logits
        head = model.get_output_embeddings()
        torch.testing.assert_close(head(by_name), whole)
        if isinstance(model, LlamaForCausalLM):
            torch.testing.assert_close(model(tokens, mask).logits, whole)
        embedded = model.get_input_embeddings()(tokens)
        torch.testing.assert_close(model(inputs_embeds=embedded, attention_mask=mask).logits, whole)


def test_without_a_mask_the_last_position_is_edited(model: Any):
    tokens, _ = padded("right")
    read = Read("lm.resid", 1, None)
    sites = find_sites(model)
    with torch.no_grad():
        with Hooks(model, sites, reads=[read], by_mask=True) as hooks:
            model(tokens)
        before = hooks.read(read)
        with Hooks(model, sites, [EDIT], [read], by_mask=True) as hooks:
            model(tokens)
    difference = hooks.read(read) - before
    assert not difference[:, :-1].any()
    torch.testing.assert_close(difference[:, -1], EDIT.value.expand(3, -1))


@pytest.mark.parametrize("use_cache", [True, False])
def test_generation_with_padding_and_a_cache(model: Any, use_cache: bool):
    """Every new token is edited, in a batch that is padded on the left as in each row alone."""
    tokens, mask = padded("left")
    options = {"max_new_tokens": 5, "do_sample": False, "use_cache": use_cache}
    with HookPlan.of(model, [EDIT, HEAD]).attach():
        together = model.generate(tokens, attention_mask=mask, **options)
        single = [
            model.generate(torch.tensor([row]), attention_mask=torch.ones(1, len(row)), **options)
            for row in ROWS
        ]
    for i, (row, expected) in enumerate(zip(ROWS, single, strict=True)):
        new = expected[0, len(row) :].tolist()
        assert together[i, 5 : 5 + len(new)].tolist() == new


def test_a_cached_step_behind_a_right_padded_prompt(model: Any):
    """The step's own token is edited, whatever the mask left out before it."""
    tokens, mask = padded("right")
    read = Read("lm.resid", 1, None)
    with torch.no_grad():
        cache = model(tokens, attention_mask=mask, use_cache=True).past_key_values
        longer = torch.cat([mask, mask.new_ones(3, 1)], dim=1)
        with Hooks(model, find_sites(model), [EDIT], [read], by_mask=True) as hooks:
            model(torch.tensor([[5], [6], [7]]), attention_mask=longer, past_key_values=cache)
    assert hooks.read(read).shape == (3, 1, WIDTH)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (torch.zeros(3, 1, 5, 5), "it has shape (3, 1, 5, 5)"),
        (torch.tensor([1, 1, 1, 0, 0]), "it has shape (5,)"),
        (torch.tensor([[1, 1, 1, 0, 0]]), "it has shape (1, 5), for 3 rows"),
        (torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]), "it has shape (3, 4), for 3"),
        (torch.tensor([[1] * 5, [1, 1, 0, 0, 0], [0] * 5]), "it leaves no token of row 2"),
        (torch.tensor([[0.0] * 5, [0.0, 0.0, -9e9, -9e9, -9e9], [0.0] * 5]), "other values"),
        (torch.tensor([[2] * 5, [1, 1, 0, 0, 0], [1] * 5]), "other values than 0 and 1"),
        ({"full_attention": None}, "it is a dict"),
        ([[1, 1, 1, 1, 1]], "it is a list"),
    ],
)
def test_a_mask_that_does_not_tell_is_refused(model: Any, mask: Any, says: str):
    tokens, _ = padded("right")
    with pytest.raises(MfvError) as error, torch.no_grad(), HookPlan.of(model, [EDIT]).attach():
        model(tokens, attention_mask=mask)
    assert error.value.code == "MFV5116" and says in str(error.value)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()
                   if isinstance(module, nn.ModuleList))  # fmt: skip


def test_hooks_are_gone_after_a_refused_call(model: Any):
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    tokens, mask = padded("right")
    before = hooks()
    bound = HookPlan.of(model, [EDIT])
    with bound.attach(), torch.no_grad():
        with pytest.raises(MfvError):
            model(tokens, attention_mask=mask[:, None, None])
        after = model(tokens, attention_mask=mask).logits  # the next call is edited as ever
    assert hooks() == before
    with bound.attach(), torch.no_grad():
        assert torch.equal(model(tokens, attention_mask=mask).logits, after)


def test_positions_count_from_the_end_of_each_row(model: Any):
    tokens, mask = padded("right")
    read = Read("lm.resid", 1, (-2,))
    sites = find_sites(model)
    with torch.no_grad():
        with Hooks(model, sites, reads=[read], by_mask=True) as hooks:
            model(tokens, attention_mask=mask)
        taken = hooks.read(read)
        for i, row in enumerate(ROWS):
            with Hooks(model, sites, reads=[read], by_mask=True) as hooks:
                model(torch.tensor([row]))
            torch.testing.assert_close(taken[i], hooks.read(read)[0], atol=1e-5, rtol=1e-4)
        far = Edit("lm.resid", 1, "add", torch.ones(WIDTH), positions=(-3,))
        with pytest.raises(MfvError, match="MFV5117"), HookPlan.of(model, [far]).attach():
            model(tokens, attention_mask=mask)
        with pytest.raises(MfvError, match="MFV5117"), HookPlan.of(model, [far]).attach():
            model(tokens[:, :2])


def test_a_flamingo_is_edited_at_the_end_of_each_text(scenes: Scenes):
    """open_flamingo's own call, padded on the right, against each prompt alone."""
    flamingo = small_flamingo(layers=4, heads=4, d_model=WIDTH)
    prompts = [draw_prompts(scenes, "left", "test", 1, shots)[0] for shots in (2, 0)]
    batches = [flamingo.batch([prompt], scenes) for prompt in prompts]
    pixels = [flamingo.preprocess(scenes.pictures(prompt.images, 40)) for prompt in prompts]
    vision = torch.zeros(2, len(pixels[0]), 1, *pixels[0].shape[1:])
    tokens = torch.full((2, batches[0].tokens.shape[1]), flamingo.pad_token)
    mask = torch.zeros_like(tokens)
    for row, (batch, pictures) in enumerate(zip(batches, pixels, strict=True)):
        length = batch.tokens.shape[1]
        tokens[row, :length], mask[row, :length] = batch.tokens[0], 1
        vision[row, : len(pictures), 0] = pictures
    bound = HookPlan.of(flamingo.model, [EDIT])  # its forward takes the mask as third argument
    with torch.no_grad(), bound.attach():
        together = flamingo.model(vision, tokens, mask).logits
        for row, batch in enumerate(batches):
            alone = flamingo.forward(batch)[0]
            last = together[row, batch.tokens.shape[1] - 1]
            torch.testing.assert_close(last, alone, atol=1e-5, rtol=1e-4)


def test_two_plans_may_be_attached_at_once(model: Any):
    tokens, mask = padded("right")
    first, second = HookPlan.of(model, [EDIT]), HookPlan.of(model, [HEAD])
    both = HookPlan.of(model, [EDIT, HEAD])
    with torch.no_grad():
        with first.attach(), second.attach():
            assert is_edited(model)
            nested = model(tokens, attention_mask=mask).logits
        assert not is_edited(model)
        with both.attach():
            assert torch.equal(model(tokens, attention_mask=mask).logits, nested)


class Looped(nn.Module):
    """A model that passes through its layers twice."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"hidden_size": 4, "num_hidden_layers": 2})()
        self.embed = nn.Embedding(9, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, tokens: torch.Tensor, times: int = 2) -> torch.Tensor:
        states = self.embed(tokens)
        for _ in range(times):
            for layer in self.layers:
                states = layer(states)
        return states


def test_a_layer_that_is_passed_twice_in_a_call_is_refused():
    model, edit = Looped(), Edit("lm.resid", 1, "add", torch.ones(4))
    tokens = torch.tensor([[1, 2]])
    with HookPlan.of(model, [edit]).attach():
        model(tokens, times=1)
        model(tokens, times=1)
    with pytest.raises(MfvError, match="MFV5115"), HookPlan.of(model, [edit]).attach():
        model(tokens)


class Streams(Looped):
    """A model with two states of each token."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states = torch.stack([self.embed(tokens)] * 2, 2)
        for layer in self.layers:
            states = layer(states)
        return states


def test_states_of_another_form_are_refused():
    model = Streams()
    bound = HookPlan.of(model, [Edit("lm.resid", 1, "add", torch.ones(4))])
    with pytest.raises(MfvError, match=r"has shape \(1, 2, 2, 4\)"), bound.attach():
        model(torch.tensor([[1, 2]]))
