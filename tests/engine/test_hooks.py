"""Edits and reads on a running model."""

from __future__ import annotations

import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.conftest import small_flamingo


@pytest.fixture(scope="module")
def model() -> OpenFlamingo:
    return small_flamingo(layers=4, heads=4, d_model=32)


@pytest.fixture(scope="module")
def batch(model: OpenFlamingo, scenes: Scenes) -> PromptBatch:
    """Prompts of different lengths, so that some are padded."""
    prompts = [
        draw_prompts(scenes, relation, "test", 1, shots)[0]
        for relation, shots in (("left", 2), ("above", 0), ("right", 1))
    ]
    return model.batch(prompts, scenes)


def hook_count(model: OpenFlamingo) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks)
        for module in model.model.modules()
    )


def test_padding_changes_nothing(model: OpenFlamingo, batch: PromptBatch, scenes: Scenes):
    together = full_pass(model, batch).logits
    for i, prompt in enumerate(batch.prompts):
        alone = full_pass(model, model.batch([prompt], scenes)).logits[0]
        torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-5)


def test_forward_equals_open_flamingos_own(model: OpenFlamingo, scenes: Scenes):
    """Media encoded once and conditioned by hand give what ``Flamingo.forward`` gives."""
    prompt = draw_prompts(scenes, "left", "test", 1, 3)[0]
    batch = model.batch([prompt], scenes)
    pixels = model.preprocess(scenes.pictures(prompt.images, 40))
    with torch.no_grad():
        theirs = model.model(
            vision_x=pixels[None, :, None], lang_x=batch.tokens, attention_mask=batch.mask
        ).logits[:, -1]
    torch.testing.assert_close(full_pass(model, batch).logits, theirs, atol=1e-5, rtol=1e-5)


def test_adding_to_the_residual_stream_is_what_it_says(model: OpenFlamingo, batch: PromptBatch):
    value = torch.randn(32)
    read = Read("lm.resid", 1, positions=None)
    before = full_pass(model, batch, reads=[read]).readings[0]
    after = full_pass(model, batch, [Edit("lm.resid", 1, "add", value)], [read]).readings[0]
    torch.testing.assert_close(after[:, -1], before[:, -1] + value)
    assert torch.equal(after[:, :-1], before[:, :-1])  # earlier positions are untouched


def test_per_prompt_values_go_to_their_prompt(model: OpenFlamingo, batch: PromptBatch):
    values = torch.randn(3, 32)
    together = full_pass(model, batch, [Edit("lm.resid", 2, "add", values)]).logits
    for i in range(3):
        alone = full_pass(model, batch, [Edit("lm.resid", 2, "add", values[i])]).logits
        torch.testing.assert_close(together[i], alone[i])


@pytest.mark.parametrize("operation", ["add", "replace", "scale", "project_out"])
def test_head_edits_change_their_heads_only(
    model: OpenFlamingo, batch: PromptBatch, operation: str
):
    value = torch.randn(2, 8)
    read = Read("lm.attn", 1)
    before = full_pass(model, batch, reads=[read]).readings[0][:, 0]
    edit = Edit("lm.attn", 1, operation, value, heads=(3, 1))
    after = full_pass(model, batch, [edit], [read]).readings[0][:, 0]
    unit = value / value.norm(dim=-1, keepdim=True)
    for row, head in enumerate((3, 1)):
        old = before[:, head]
        wanted = {
            "add": old + value[row],
            "replace": value[row].expand_as(old),
            "scale": old * value[row],
            "project_out": old - (old @ unit[row])[:, None] * unit[row],
        }[operation]
        torch.testing.assert_close(after[:, head], wanted)
    assert torch.equal(after[:, [0, 2]], before[:, [0, 2]])


def test_replacing_a_head_by_itself_changes_nothing(model: OpenFlamingo, batch: PromptBatch):
    plain = full_pass(model, batch, reads=[Read("lm.attn", 2), Read("xattn", 3)])
    for site, layer, reading in (("lm.attn", 2, 0), ("xattn", 3, 1)):
        value = plain.readings[reading][:, 0]
        again = full_pass(model, batch, [Edit(site, layer, "replace", value)]).logits
        torch.testing.assert_close(again, plain.logits, atol=1e-6, rtol=1e-5)


def test_an_edit_at_every_site_changes_the_answer(model: OpenFlamingo, batch: PromptBatch):
    plain = full_pass(model, batch).logits
    for name, site in model.sites.items():
        shape = (site.width,) if site.heads is None else (site.heads, site.width)
        edit = Edit(name, site.layers[-1], "add", torch.ones(shape))
        assert not torch.allclose(full_pass(model, batch, [edit]).logits, plain), name


def test_hooks_are_removed(model: OpenFlamingo, batch: PromptBatch):
    edits = [
        Edit("lm.resid", 0, "add", torch.ones(32)),
        Edit("lm.attn", 1, "scale", torch.ones(())),
    ]
    full_pass(model, batch, edits)
    assert hook_count(model) == 0
    with pytest.raises(RuntimeError, match="inside"), Hooks(model.model, model.sites, edits):
        assert hook_count(model) == 2
        raise RuntimeError("inside")
    assert hook_count(model) == 0
    with pytest.raises(RuntimeError):  # a value whose prompts do not match fails inside forward
        full_pass(model, batch, [Edit("lm.resid", 0, "add", torch.ones(7, 32))])
    assert hook_count(model) == 0
    assert all(layer.vis_x is None for layer in model.layers)


def test_an_edit_that_does_not_fire_is_an_error(model: OpenFlamingo, batch: PromptBatch):
    with (
        pytest.raises(MfvError, match=r"lm\.resid\[0\].*never fired"),
        Hooks(model.model, model.sites, [Edit("lm.resid", 0, "add", torch.ones(32))]),
    ):
        pass
    assert hook_count(model) == 0


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (Edit("lm.nothing", 0, "add", torch.ones(32)), "no site `lm.nothing`"),
        (Edit("lm.resid", 4, "add", torch.ones(32)), "`lm.resid` has no layer 4"),
        (Edit("xattn", 0, "add", torch.ones(8, 16)), "`xattn` has no layer 0"),
        (Edit("lm.resid", 0, "add", torch.ones(31)), r"shape \(31,\)"),
        (Edit("lm.resid", 0, "add", torch.ones(32), heads=(1,)), "no heads"),
        (Edit("lm.attn", 0, "add", torch.ones(1, 8), heads=(4,)), "no head 4"),
        (Edit("lm.attn", 0, "add", torch.ones(3, 8), heads=(1, 2)), r"shape \(3, 8\)"),
    ],
)
def test_edits_that_do_not_fit_are_refused_before_running(
    model: OpenFlamingo, edit: Edit, says: str
):
    with pytest.raises(MfvError, match=says):
        Hooks(model.model, model.sites, [edit])
    assert hook_count(model) == 0
