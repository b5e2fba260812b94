"""Sites of transformers' causal language models of all kinds, those of the table and others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.models.families import ModulePaths
from mfv_dsl.models.sites import SiteTable, find_sites

TOKENS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 11, 12]])
LAYERS, HEADS, WIDTH, HEAD_DIM = 4, 4, 32, 8
#: Every size under each name that configurations have for it; a kind takes those that it has.
SIZES = {
    "vocab_size": 50, "hidden_size": WIDTH, "d_model": WIDTH, "n_embd": WIDTH,
    "num_hidden_layers": LAYERS, "n_layer": LAYERS, "n_layers": LAYERS, "num_layers": LAYERS,
    "num_attention_heads": HEADS, "n_head": HEADS, "n_heads": HEADS, "num_heads": HEADS,
    "attention_heads": HEADS, "num_key_value_heads": 2, "intermediate_size": 64, "ffn_dim": 64,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "num_experts": 4,
    "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "topk_group": 1,
    "max_position_embeddings": 64, "n_positions": 64, "max_seq_len": 64, "head_dim": HEAD_DIM,
    "n_group": 1, "rotary_dim": 4, "word_embed_proj_dim": WIDTH, "decoder_layers": LAYERS,
    "decoder_attention_heads": HEADS, "decoder_ffn_dim": 64, "expansion_ratio": 2,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
    "v_head_dim": HEAD_DIM, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
#: By kind, what it needs instead; None for a size that it does not take.
INSTEAD: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "falcon": {"head_dim": None},
    "deepseek_v3": {"num_key_value_heads": HEADS, "head_dim": 4},
}
#: The attention's output projection, and in how many of the layers it is.
WHOLE = {
    "o_proj": ("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma",
               "gemma2", "gemma3_text", "phi3", "stablelm", "cohere", "cohere2", "olmo", "olmo2",
               "olmo3", "olmoe", "starcoder2", "granite", "glm", "glm4", "smollm3", "gpt_oss",
               "deepseek_v3", "exaone4", "ernie4_5", "seed_oss", "helium", "arcee"),
    "dense": ("gpt_neox", "phi", "persimmon", "falcon", "bloom", "ctrl"),
    "out_proj": ("opt", "mpt", "gptj", "codegen", "gpt_neo", "xglm", "biogpt", "bart"),
    "c_proj": ("gpt2", "gpt_bigcode", "openai-gpt"),
}  # fmt: skip
KINDS = [(kind, name) for name, kinds in WHOLE.items() for kind in kinds]
#: Kinds whose heads stand side by side in some layers alone, with those layers.
SOME = {"qwen3_next": (3,), "minimax": (0, 2), "recurrent_gemma": (2,)}
#: Kinds without heads, or whose heads do not stand side by side before one linear map.
NONE = ("mamba", "falcon_mamba", "rwkv", "jetmoe", "diffllama")


def causal_model(kind: str) -> nn.Module:
    """A small model of random weights."""
    torch.manual_seed(0)
    usual = AutoConfig.for_model(kind)
    sizes = {name: size for name, size in SIZES.items() if hasattr(usual, name)}
    sizes = {k: v for k, v in {**sizes, **INSTEAD.get(kind, {})}.items() if v is not None}
    return AutoModelForCausalLM.from_config(type(usual)(**sizes)).eval()


def states(model: nn.Module, sites: SiteTable, read: Read, *edits: Edit) -> torch.Tensor:
    with torch.no_grad(), Hooks(model, sites, edits, [read], by_mask=True) as hooks:
        model(TOKENS, use_cache=False)
    return hooks.read(read)


def check_residual(model: nn.Module, sites: SiteTable) -> None:
    """An edit of the residual stream adds what it says at the last token, and nothing before."""
    read, edit = Read("lm.resid", 1, None), Edit("lm.resid", 1, "add", torch.randn(WIDTH))
    HookPlan.of(model, [edit])
    before, after = states(model, sites, read), states(model, sites, read, edit)
    torch.testing.assert_close(after[:, -1], before[:, -1] + edit.value)
    assert torch.equal(after[:, :-1], before[:, :-1])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), KINDS, ids=[kind for kind, _ in KINDS])
def test_heads_and_residual_stream_of_a_kind(kind: str, name: str):
    model = causal_model(kind)
    sites = find_sites(model)
    check_residual(model, sites)
    heads = sites["lm.attn"]
    assert heads.path.endswith(f".{name}") and len(heads.layers) == LAYERS
    assert (heads.heads, heads.width) == (HEADS, HEAD_DIM)
    edit = Edit("lm.attn", 2, "replace", torch.randn(1, HEAD_DIM), heads=(1,))
    with torch.no_grad():
        plain = model(TOKENS, use_cache=False).logits
        with HookPlan.of(model, [edit]).attach():
            edited = model(TOKENS, use_cache=False).logits
    torch.testing.assert_close(edited[:, :-1], plain[:, :-1])
    assert not torch.allclose(edited[:, -1], plain[:, -1])


@pytest.mark.parametrize("kind", ["llama", "gptj", "gpt_neo", "phi", "opt", "cohere", "stablelm"])
def test_a_head_is_what_its_values_make(kind: str):
    """Other values in one key-value head change the heads that attend by it, and no other."""
    model = causal_model(kind)
    sites, read = find_sites(model), Read("lm.attn", 0, None)
    before = states(model, sites, read)
    holder = sites["lm.attn"].module_path(0).rpartition(".")[0]
    values = model.get_submodule(holder).v_proj
    with torch.no_grad():
        values.weight[:HEAD_DIM] += torch.randn(HEAD_DIM, WIDTH)
    changed = (states(model, sites, read) - before).abs().amax((0, 1, 3)) > 1e-5
    shared = HEADS * HEAD_DIM // values.weight.shape[0]
    assert changed.nonzero().flatten().tolist() == list(range(shared))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOME)
def test_layers_without_such_heads_have_none(kind: str):
    model = causal_model(kind)
    sites = find_sites(model)
    check_residual(model, sites)
    assert sites["lm.attn"].layers == SOME[kind]
    other = min(set(range(LAYERS)) - set(SOME[kind]))
    with pytest.raises(MfvError, match="MFV5103"):
        HookPlan.of(
            model, [Edit("lm.attn", other, "replace", torch.zeros(1, HEAD_DIM), heads=(0,))]
        )


HEAD_EDIT = Edit("lm.attn", 1, "replace", torch.zeros(1, HEAD_DIM), heads=(2,))


@pytest.mark.parametrize("kind", NONE)
def test_where_heads_are_not_found_the_residual_stream_is(kind: str):
    model = causal_model(kind)
    sites = find_sites(model)
    assert list(sites) == ["lm.resid"]
    check_residual(model, sites)
    with pytest.raises(MfvError, match="MFV5108") as error:
        HookPlan.of(model, [HEAD_EDIT])
    assert "sites that can be edited: lm.resid" in str(error.value)
    assert "attention_output=" in str(error.value)


def test_the_projection_may_be_named():
    model = causal_model("llama")
    for layer in model.model.layers:
        layer.self_attn.mixing = layer.self_attn.o_proj
        del layer.self_attn.o_proj
        layer.self_attn.forward = _forward_by_mixing(layer.self_attn)
    assert list(find_sites(model)) == ["lm.resid"]
    for name in ("mixing", "self_attn.mixing"):
        sites = find_sites(model, attention_output=name)
        assert sites["lm.attn"].path == "model.layers.{layer}.self_attn.mixing"
        with HookPlan.of(model, [HEAD_EDIT], attention_output=name).attach(), torch.no_grad():
            model(TOKENS, use_cache=False)
    for name, says in (
        ("mixin", "no modules of model.layers.0 are called 'mixin'"),
        ("mlp", "is no linear map from 4 heads to 32 numbers"),
        ("gate_proj", "is no linear map from 4 heads to 32 numbers"),
        ("", "no modules of model.layers.0 are called ''"),
    ):
        with pytest.raises(MfvError, match=says):
            HookPlan.of(model, [HEAD_EDIT], attention_output=name)


def _forward_by_mixing(attention: Any) -> Any:
    """The attention's own forward, which finds its projection under its usual name."""
    usual = type(attention).forward

    def forward(*inputs: Any, **options: Any) -> Any:
        attention.__dict__["o_proj"] = attention.mixing
        return usual(attention, *inputs, **options)

    return forward


def test_where_there_are_two_projections_none_is_taken():
    """But for a family of the table, which has its own by its path."""
    for kind, known in (("llama", True), ("xglm", False)):
        model = causal_model(kind)
        for layer in model.model.layers:
            layer.self_attn.wo = nn.Linear(WIDTH, WIDTH)
        assert ("lm.attn" in find_sites(model)) is known
        named = find_sites(model, attention_output="wo")
        assert named["lm.attn"].path == "model.layers.{layer}.self_attn.wo"


def test_a_module_that_layers_share_is_not_edited_for_one_of_them():
    model = causal_model("llama")
    shared = model.model.layers[1].self_attn.o_proj
    model.model.layers[3].self_attn.o_proj = shared
    assert find_sites(model)["lm.attn"].layers == (0, 2)
    model.model.layers[2] = model.model.layers[0]
    assert find_sites(model)["lm.resid"].layers == (1, 3)


SMALL = {"vocab_size": 50, "d_model": WIDTH}
CONFIGURATION = transformers.LlamaConfig(
    vocab_size=50, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS,
    intermediate_size=64,
)  # fmt: skip


@pytest.mark.parametrize(
    ("make", "says", "lists"),
    [
        (lambda: transformers.LlamaModel(CONFIGURATION), "a LlamaModel has no output head",
         "layers (2 of LlamaDecoderLayer)"),
        (lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(**SMALL, num_layers=2, num_heads=4)),
         "has an encoder and a decoder", "encoder.block (2 of T5Block), decoder.block (2 of"),
        (lambda: transformers.BartForConditionalGeneration(transformers.BartConfig(
            **SMALL, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4)),
         "has an encoder and a decoder", "model.decoder.layers (2 of BartDecoderLayer)"),
        (lambda: transformers.LlamaForCausalLM(
            type(CONFIGURATION)(**{**CONFIGURATION.to_dict(), "num_hidden_layers": 0})),
         "the decoder layers of a LlamaForCausalLM are not where", "lists of modules that it has: "
         "none"),
        (lambda: transformers.XLNetLMHeadModel(
            transformers.XLNetConfig(**SMALL, n_layer=2, n_head=4, d_inner=64)),
         "(tokens, rows, width)", "transformer.layer (2 of XLNetLayer)"),
        (lambda: nn.Linear(2, 2), "the decoder layers of a Linear are not where", "none"),
        (lambda: None, "a NoneType is no model", "one from mfv_dsl.load_model"),
        (lambda: "tiny", "a str is no model", "one from mfv_dsl.load_model"),
    ],
)  # fmt: skip
def test_other_models_are_refused_with_what_they_have(make: Any, says: str, lists: str):
    with pytest.raises(MfvError) as error:
        HookPlan.of(make(), [Edit("lm.resid", 1, "add", torch.ones(WIDTH))])
    assert error.value.code == "MFV5108"
    assert says in str(error.value) and lists in str(error.value)


def test_an_inner_model_is_edited_once_its_parts_are_named():
    model, edit = transformers.LlamaModel(CONFIGURATION).eval(), HEAD_EDIT
    paths = ModulePaths("layers", projection="self_attn.o_proj")
    with torch.no_grad():
        plain = model(TOKENS).last_hidden_state
        with HookPlan.of(model, [edit], paths).attach():
            edited = model(TOKENS).last_hidden_state
    assert torch.equal(edited[:, :-1], plain[:, :-1])
    assert not torch.allclose(edited[:, -1], plain[:, -1])
