"""How a model is loaded: its attention, packed weights, several devices, a row of one's own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import mfv_dsl
from mfv_dsl import Recipe
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate_texts
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.lang.codes import page
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.models.vlm import attention_choice, constructor, placement, quantized
from mfv_dsl.models.vlm.architectures import ARCHITECTURES, Architecture
from mfv_dsl.models.vlm.facts import facts_of
from mfv_dsl.models.vlm.load import load_folder
from mfv_dsl.models.vlm.table_file import read_row
from mfv_dsl.plan.explain import explain_plan, plan_text
from tests.models.vlm import zoo
from tests.models.vlm.test_docs import vipllava
from tests.models.vlm.test_passes import batch_of, differences, pictures
from tests.models.vlm.test_recipes import HEAD

Checkpoint = Callable[[str], Path]
Loaded = Callable[[str], Any]


# -- attention ------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_copies_are_exact_under_each_attention(attention: str, checkpoint: Checkpoint):
    model = load_folder(checkpoint("qwen3_vl"), "q", "fp32", "cpu", attention=attention)
    assert model.text_model.config._attn_implementation == attention
    assert differences(model, batch_of(model, (2, 0, 1)))[0] < 1e-5


def _with_flat_masks(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, *, scaling: float, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Causal attention whose mask is of keys alone, or None, as flash attention's is."""
    assert attention_mask is None or attention_mask.ndim == 2
    groups, (length, slots) = query.shape[1] // key.shape[1], (query.shape[2], key.shape[2])
    seen = torch.ones(length, slots, dtype=torch.bool).tril(slots - length)[None, None]
    if attention_mask is not None:
        seen = seen & attention_mask[:, None, None, -slots:].bool()
    seen = seen | torch.eye(length, slots, dtype=torch.bool).roll(slots - length, 1)  # of padding
    out = scaled_dot_product_attention(
        query, key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1), seen,
        scale=scaling,
    )  # fmt: skip
    return out.transpose(1, 2), None


@pytest.mark.slow
def test_the_capture_works_beside_an_attention_with_other_masks(checkpoint: Checkpoint):
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flash_attention_mask

    AttentionInterface.register("flat_masks", _with_flat_masks)
    AttentionMaskInterface.register("flat_masks", flash_attention_mask)
    model = load_folder(checkpoint("llava"), "l", "fp32", "cpu")
    batch = batch_of(model, (2, 0, 1))
    usual = model.forward(batch)
    model.text_model.config._attn_implementation_internal = "flat_masks"
    torch.testing.assert_close(model.forward(batch), usual, atol=1e-5, rtol=1e-4)
    difference, effect = differences(model, batch)
    assert difference < 1e-5 < effect
    assert model.text_model.config._attn_implementation == "flat_masks"


def test_a_chosen_attention_is_in_the_identity_and_vectors_stay(checkpoint: Checkpoint):
    usual, eager = (
        facts_of(checkpoint("llava"), "l", "bf16", "plain", attention=attention)
        for attention in ("auto", "eager")
    )
    assert usual.fingerprint == eager.fingerprint
    assert eager.identity == f"{usual.identity}:eager"


def test_flash_attention_is_refused_where_it_cannot_run(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(MfvError, match="CUDA GPUs only") as raised:
        load_folder(checkpoint("llava"), "l", "bf16", "cpu", attention="flash")
    assert raised.value.code == "MFV7281"
    with pytest.raises(MfvError, match="bf16 and fp16 only"):
        constructor.facts(str(checkpoint("llava")), dtype="fp32", attention="flash")
    monkeypatch.setattr(attention_choice, "find_spec", lambda _: None)
    with pytest.raises(MfvError, match="pip install flash-attn"):
        attention_choice.attention_options("flash", "bf16", "cuda")


def test_an_attention_that_a_model_does_not_have(checkpoint: Checkpoint):
    with pytest.raises(MfvError, match="does not have the attention `sdpa`") as raised:
        load_folder(checkpoint("paligemma"), "p", "fp32", "cpu", attention="sdpa")
    assert raised.value.code == "MFV7281"


# -- packed weights -------------------------------------------------------------------------------
@pytest.fixture(scope="module", params=["nf4", "int8"])
def packed(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Any:
    pytest.importorskip("bitsandbytes")
    return load_folder(checkpoint("qwen3_vl"), "q", "fp32", "cpu", quantize=request.param)


@pytest.mark.slow
def test_copies_of_a_packed_model_are_exact(packed: Any, loaded: Loaded):
    batch = batch_of(packed, (2, 0, 1))
    difference, effect = differences(packed, batch)
    assert difference < 1e-5 < effect
    changed = (packed.forward(batch) - loaded("qwen3_vl").forward(batch)).abs().max()
    assert 1e-3 < float(changed) < 3  # the weights are others, but not by much


@pytest.mark.slow
def test_a_prompt_does_not_depend_on_those_beside_it(packed: Any):
    """As it does by LLM.int8, where a large activation changes how its whole column is rounded."""
    batch = batch_of(packed, (1, 1, 1))
    together, alone = packed.forward(batch), packed.forward(batch[:1])
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_decoder_layers_are_packed_and_nothing_else(packed: Any, loaded: Loaded):
    found = {n for n, m in packed.model.named_modules() if isinstance(m, quantized.PackedLinear)}
    linear = {n for n, m in loaded("qwen3_vl").model.named_modules() if type(m) is torch.nn.Linear}
    assert found == {name for name in linear if name.startswith("model.language_model.layers.")}
    assert any(name.startswith("model.visual") for name in linear)
    assert packed.model.model.visual.patch_embed.proj.weight.dtype == torch.float32


@pytest.mark.slow
def test_packed_weights_are_close_and_products_are_theirs(packed: Any, loaded: Loaded):
    name = "model.language_model.layers.1.mlp.down_proj"
    linear, whole = (m.model.get_submodule(name) for m in (packed, loaded("qwen3_vl")))
    off = (linear.unpacked() - whole.weight).norm() / whole.weight.norm()
    assert 1e-3 < float(off) < (0.15 if packed.facts.quantize == "nf4" else 0.01)
    x = torch.randn(3, 2, linear.in_features)
    torch.testing.assert_close(linear(x), x @ linear.unpacked().T)


@pytest.mark.slow
def test_gradients_through_packed_weights_are_right(packed: Any):
    batch = batch_of(packed)
    direction = torch.randn(packed.facts.d_model, generator=torch.Generator().manual_seed(2))
    added = torch.zeros_like(direction).requires_grad_()
    edit = Edit("lm.resid", 1, "add", added)
    scores = encode_prefix(packed, batch).scores([[edit]])
    (replayed,) = torch.autograd.grad(scores.log_p.sum(), added)
    output = full_pass(packed, batch, [edit]).logits.log_softmax(-1)
    (passed,) = torch.autograd.grad(output.gather(1, batch.answers[:, None]).sum(), added)
    torch.testing.assert_close(replayed, passed, atol=1e-5, rtol=1e-3)
    step = 1e-2
    with torch.no_grad():
        plus, minus = (
            encode_prefix(packed, batch)
            .scores([[Edit("lm.resid", 1, "add", sign * step * direction)]]).log_p.double().sum()
            for sign in (1, -1)
        )  # fmt: skip
    assert float(replayed @ direction) == pytest.approx(
        float(plus - minus) / (2 * step), rel=0.02, abs=1e-3
    )


@pytest.mark.slow
def test_what_heads_write_goes_through_packed_weights(packed: Any):
    site, heads = packed.sites["lm.attn"], ((1, 2), (3, 0))
    mean = torch.randn(4, site.heads, site.width)
    vector = function_vector(packed, mean, heads).residual
    expected = torch.zeros(packed.facts.d_model)
    for layer, head in heads:
        alone = torch.zeros(site.heads, site.width)
        alone[head] = mean[layer, head]
        expected += packed.layers[layer].self_attn.o_proj(alone.flatten()[None])[0]
    torch.testing.assert_close(vector, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_recipe_with_packed_weights(checkpoint: Checkpoint, tmp_path: Path):
    pytest.importorskip("bitsandbytes")
    head = HEAD.replace("dtype=fp32", "dtype=bf16, quantize=nf4")
    text = f"""
eval raw {{ add = fv(each, heads=best), layer = 1, answer = generate }}
eval patched {{ patch = fv(each, heads=guessed) }}
eval by_norm {{ add = fv(each, heads=top(2, by=norm)), layer = 1, answer = full }}
tune learned {{ start = random, layer = 1, items = 2, epochs = 1, batch = 2, select_items = 2 }}
eval tuned {{ add = learned(each), layer = 1 }}
save "{tmp_path / "saved"}" {{ vectors = [fv(each, heads=best)] }}
"""
    result = Recipe(head.format(path=checkpoint("llava")) + text).run(tmp_path / "run")
    assert {row.eval for row in result.rows} == {"raw", "patched", "by_norm", "tuned"}
    metadata = load_vector(tmp_path / "saved", "left").metadata["model"]
    assert metadata["precision"] == "nf4, bf16"
    assert metadata["fingerprint"].endswith(":nf4")


def test_packing_is_part_of_the_fingerprint_and_weights_are_counted(checkpoint: Checkpoint):
    folder = checkpoint("qwen3_vl")
    whole, packed = (
        facts_of(folder, "q", "bf16", "plain", quantize=quantize) for quantize in ("none", "nf4")
    )
    assert packed.fingerprint == f"{whole.fingerprint}:nf4"
    assert packed.weights < 0.7 * whole.weights
    recipe = f'mfv 1\nmodel m = hf("{folder}", quantize=int8)\n'
    text = "dataset d = scenes(relations=[left])\neval e { }\n"
    plan = Recipe(recipe + text).plan()
    assert "of weights (int8, bf16)" in plan_text(plan, explain_plan(plan, ())).splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3_vl", "mistral3", "molmo2", "mllama", "idefics"])
def test_weights_are_as_large_as_said(name: str, loaded: Loaded, checkpoint: Checkpoint):
    model = loaded(name)
    assert model.facts.weights == sum(p.nbytes for p in model.model.parameters())
    inside = sum(
        module.weight.numel() for path, module in model.model.named_modules()
        if path.startswith(f"{model.architecture.text}.layers.")
        and type(module) is torch.nn.Linear
    )  # fmt: skip
    packed = facts_of(checkpoint(name), name, "fp32", "plain", quantize="int8")
    assert packed.weights == model.facts.weights - 3 * inside


def test_a_package_that_is_missing_is_named(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    with pytest.raises(MfvError, match="pip install bitsandbytes accelerate") as raised:
        load_folder(checkpoint("llava"), "l", "fp32", "cpu", quantize="nf4")
    assert raised.value.code == "MFV7282"


def test_weights_that_others_have_packed_are_refused(checkpoint: Checkpoint, tmp_path: Path):
    folder = tmp_path / "mine"
    shutil.copytree(checkpoint("llava"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    for run_ in (constructor.facts, constructor.load):
        with pytest.raises(MfvError, match="quantised by whoever published") as raised:
            run_(str(folder), device="cpu")
        assert raised.value.code == "MFV7282"


@pytest.mark.slow
def test_numbers_that_are_none_are_found_before_they_are_packed(
    checkpoint: Checkpoint, tmp_path: Path
):
    pytest.importorskip("bitsandbytes")
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "mine"
    shutil.copytree(checkpoint("llava"), folder)
    weights = load_file(folder / "model.safetensors")
    next(v for k, v in weights.items() if k.endswith("1.mlp.up_proj.weight"))[0, 0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(MfvError, match="not all numbers") as raised:
        load_folder(folder, "l", "fp32", "cpu", quantize="int8")
    assert raised.value.code == "MFV7276"


# -- several devices ------------------------------------------------------------------------------
def parts_of(model: Any) -> list[str]:
    """The paths that a map of devices names: decoder layers, and what lies beside them."""
    found, text = [], model.architecture.text

    def walk(path: str, module: torch.nn.Module) -> None:
        for name, child in module.named_children():
            full = f"{path}{name}"
            if full == f"{text}.layers":
                found.extend(f"{full}.{number}" for number, _ in child.named_children())
            elif text == full or text.startswith(f"{full}."):
                walk(f"{full}.", child)
            else:
                found.append(full)

    walk("", model.model)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["llava", *(pytest.param(n, marks=pytest.mark.slow)
                        for n in ("qwen3_vl", "gemma3", "mllama", "idefics"))]
)  # fmt: skip
def test_a_model_that_accelerate_dispatched_is_exact(name: str, checkpoint: Checkpoint):
    """Its hooks are where they are with several GPUs, though all of them lead to the processor."""
    accelerate = pytest.importorskip("accelerate")
    model = load_folder(checkpoint(name), name, "fp32", "cpu")
    batch = batch_of(model)
    before = model.forward(batch)
    places = dict.fromkeys(parts_of(model), "cpu")
    accelerate.dispatch_model(model.model, places, force_hooks=True)
    assert hasattr(model.layers[0], "_hf_hook") and model.device == torch.device("cpu")
    placement.check_placed(model.model)
    batch = batch_of(model)
    assert torch.equal(model.forward(batch), before)
    difference, effect = differences(model, batch)
    assert difference < 1e-5 < effect
    prompts = [f"{model.architecture.mark}Q:mug. A:"]
    assert generate_texts(model, prompts, [pictures(1)], max_new_tokens=3, beams=2)


def test_weights_that_are_left_on_the_disk_are_refused(checkpoint: Checkpoint, tmp_path: Path):
    accelerate = pytest.importorskip("accelerate")
    model = load_folder(checkpoint("llava"), "l", "fp32", "cpu")
    places = dict.fromkeys(parts_of(model), "cpu") | {"model.language_model.layers.2": "disk"}
    accelerate.dispatch_model(model.model, places, offload_dir=tmp_path)
    with pytest.raises(MfvError, match="layers.2") as raised:
        placement.check_placed(model.model)
    assert raised.value.code == "MFV7248"


def test_balanced_needs_gpus_and_accelerate(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    if not torch.cuda.device_count():
        with pytest.raises(MfvError, match="spreads a model over GPUs") as raised:
            load_folder(checkpoint("llava"), "l", "fp32", "balanced")
        assert raised.value.code == "MFV7219"
    gpus = [torch.device("cuda", 0), torch.device("cuda", 1)]
    monkeypatch.setattr(placement, "devices", lambda _: gpus)
    assert placement.placement("balanced") == (gpus[0], "balanced")
    monkeypatch.setattr(placement, "find_spec", lambda _: None)
    with pytest.raises(MfvError, match="pip install accelerate") as raised:
        placement.placement("balanced")
    assert raised.value.code == "MFV7283"


# -- a row of one's own ---------------------------------------------------------------------------
def rows_on_the_page(code: str) -> list[str]:
    """The files that `mfv explain` shows."""
    blocks = re.findall(r"(?:^ {4}.+\n)+", page(code).text + "\n", flags=re.M)
    return [dedent(block) for block in blocks if "model " not in block]


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a ViP-LLaVA, which is not in the table, and the file of its row."""
    folder = tmp_path_factory.mktemp("vip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.ZOO, "vipllava", vipllava)
        zoo.save_checkpoint("vipllava", folder / "model")
    (folder / "vipllava.toml").write_text(*rows_on_the_page("MFV7261"))
    return folder / "model", folder / "vipllava.toml"


def test_without_its_row_the_error_says_how_to_give_one(vip: tuple[Path, Path]):
    with pytest.raises(MfvError, match="architecture=") as raised:
        constructor.facts(str(vip[0]))
    assert raised.value.code == "MFV7261" and "mfv explain MFV7261" in str(raised.value)


@pytest.mark.slow
def test_a_recipe_with_a_row_of_its_own(vip: tuple[Path, Path], tmp_path: Path):
    folder, file = vip
    head = HEAD.replace("dtype=fp32", f'dtype=fp32, architecture="{file}"')
    text = 'eval plain { }\neval raw { add = fv(each, heads=best), layer = 1 }\n' \
        f'save "{tmp_path / "saved"}" {{ vectors = [fv(left, heads=best)] }}\n'  # fmt: skip
    result = Recipe(head.format(path=folder) + text).run(tmp_path / "run")
    assert {row.eval for row in result.rows} == {"plain", "raw"}
    load_vector(tmp_path / "saved", "left")


@pytest.mark.slow
def test_a_row_given_in_python_is_the_same(vip: tuple[Path, Path]):
    folder, file = vip
    row = Architecture("model.language_model", "tensor")
    model = mfv_dsl.load_model("hf", path=str(folder), architecture=row, dtype="fp32", device="cpu")
    assert model.facts == constructor.facts(str(folder), dtype="fp32", architecture=str(file))
    difference, effect = differences(model, batch_of(model, (2, 0, 1)))
    assert difference < 1e-5 < effect


def test_a_row_is_in_the_identity_by_its_content(checkpoint: Checkpoint, tmp_path: Path):
    folder = checkpoint("llava")
    usual = facts_of(folder, "l", "fp32", "plain")
    file = tmp_path / "row.toml"
    prints = []
    for text in ("# the same", 'mlp_output = "mlp"', 'mark = "<pic>"'):
        file.write_text(f'text = "model.language_model"\n{text}\n')
        prints.append(facts_of(folder, "l", "fp32", "plain", architecture=file).fingerprint)
    assert prints[0] == prints[1] == usual.fingerprint  # the table has the same row
    assert prints[2] != usual.fingerprint and prints[2].startswith(usual.fingerprint)


def test_every_row_of_the_table_can_be_a_file(tmp_path: Path):
    file = tmp_path / "row.toml"
    for row in ARCHITECTURES.values():
        told = {name: value for name, value in vars(row).items() if value is not None}
        file.write_text("".join(f"{n} = {json.dumps(v)}\n" for n, v in told.items()))
        assert read_row(file) == row


def test_the_page_shows_every_field_with_its_default(tmp_path: Path):
    (shown,) = rows_on_the_page("MFV7284")
    (tmp_path / "row.toml").write_text(shown)
    row = read_row(tmp_path / "row.toml")
    assert replace(row, between=None, tiling=None) == Architecture("model.language_model")
    assert all(f"{item.name} = " in shown for item in fields(Architecture))


@pytest.mark.parametrize(("text", "message", "help"), [
    ("text = ", "is not TOML", ""),
    ("", "does not give `text`", "model.language_model"),
    ('text = "a"\nfeature = "list"', "`feature`, which an architecture does", "`features`"),
    ('text = "a"\nsomething = 1', "`something`", "its fields are text, features"),
    ('text = "a"\nfeatures = "lists"', "`features` is 'lists'", '"list", "tensor"'),
    ('text = 3', "`text` is 3", "a text"),
    ('text = "a"\nprompt_sees_itself = "no"', "`prompt_sees_itself` is 'no'", "true or false"),
    ('text = "a"\nprompt_sees_itself = 1', "`prompt_sees_itself` is 1", "true or false"),
    ('text = "a"\nbetween = false', "`between` is False", "a text"),
])  # fmt: skip
def test_a_row_is_read_strictly(text: str, message: str, help: str, tmp_path: Path):
    file = tmp_path / "row.toml"
    file.write_text(text)
    with pytest.raises(MfvError) as raised:
        read_row(file)
    assert raised.value.code == "MFV7284"
    assert message in raised.value.message and help in (raised.value.help or "")


def test_a_wrong_file_is_told_when_a_recipe_is_checked(checkpoint: Checkpoint, tmp_path: Path):
    for path in (checkpoint("llava"), "llava-hf/llava-1.5-7b-hf", "some/model"):
        with pytest.raises(RecipeError, match="cannot read") as raised:
            Recipe(f'mfv 1\nmodel m = hf("{path}", architecture="{tmp_path / "absent"}")\n')
        assert raised.value.code == "MFV7284"


def test_a_row_with_a_wrong_path_is_told_when_the_model_is_loaded(
    vip: tuple[Path, Path], tmp_path: Path
):
    (tmp_path / "row.toml").write_text('text = "model.text_model"\nfeatures = "tensor"\n')
    with pytest.raises(MfvError, match="is not built as those") as raised:
        constructor.load(str(vip[0]), device="cpu", architecture=str(tmp_path / "row.toml"))
    assert raised.value.code == "MFV7261"
