"""MPT of both forms: names, settings, and layer norms on queries and keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import gelu, layer_norm

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.mpt import KEY_NAMES, is_mpt, mpt_class, mpt_config

D_MODEL, LAYERS, WORDS = 48, 3, 50
#: What the config.json of MPT-1B says, at a small size.
MOSAIC: dict[str, Any] = {
    "model_type": "mosaic_gpt", "architectures": ["MosaicGPT"], "d_model": D_MODEL, "n_heads": 4,
    "n_layers": LAYERS, "mlp_ratio": 4, "max_seq_len": 64, "vocab_size": WORDS, "no_bias": True,
    "alibi": True, "alibi_bias_max": 8, "attn_clip_qkv": None, "attn_qk_ln": True,
    "attn_impl": "torch", "attn_pdrop": 0, "softmax_scale": None, "prefix_lm": False,
    "logit_scale": None, "low_precision_layernorm": True, "embedding_fraction": 1.0,
}  # fmt: skip
#: What the config.json of MPT-7B says, at a small size.
MPT: dict[str, Any] = {
    "model_type": "mpt", "architectures": ["MPTForCausalLM"], "d_model": D_MODEL, "n_heads": 4,
    "n_layers": LAYERS, "expansion_ratio": 4, "max_seq_len": 64, "vocab_size": WORDS,
    "no_bias": True, "logit_scale": None, "norm_type": "low_precision_layernorm",
    "learned_pos_emb": True, "emb_pdrop": 0,
    "attn_config": {
        "alibi": True, "alibi_bias_max": 8, "attn_impl": "torch", "attn_pdrop": 0,
        "attn_type": "multihead_attention", "attn_uses_sequence_id": False, "clip_qkv": None,
        "prefix_lm": False, "qk_ln": False, "softmax_scale": None,
    },
}  # fmt: skip


def mosaic_weights() -> dict[str, torch.Tensor]:
    """Random weights under MosaicGPT's names."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"transformer.wte.weight": (WORDS, D_MODEL), "transformer.ln_f.weight": (D_MODEL,)}
    for layer in range(LAYERS):
        shapes |= {
            f"transformer.blocks.{layer}.{name}.weight": shape
            for name, shape in {
                "ln_1": (D_MODEL,), "ln_2": (D_MODEL,), "attn.Wqkv": (3 * D_MODEL, D_MODEL),
                "attn.q_ln": (D_MODEL,), "attn.k_ln": (D_MODEL,),
                "attn.out_proj": (D_MODEL, D_MODEL), "mlp.mlp_up": (4 * D_MODEL, D_MODEL),
                "mlp.mlp_down": (D_MODEL, 4 * D_MODEL),
            }.items()
        }  # fmt: skip
    return {
        name: torch.randn(shape, generator=generator) / (shape[-1] ** 0.5 if len(shape) > 1 else 1)
        for name, shape in shapes.items()
    }


def mosaic_logits(weights: dict[str, torch.Tensor], tokens: torch.Tensor, heads: int):
    """MosaicGPT by hand, with layer norms on queries and keys: (rows, length, words)."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(x, (D_MODEL,), weights[f"transformer.{name}.weight"])

    length = tokens.shape[1]
    slopes = 2.0 ** -(torch.arange(1, heads + 1) * 8 / heads)
    distance = torch.arange(length)[:, None] - torch.arange(length)[None]
    bias = (-slopes[:, None, None] * distance).masked_fill(distance < 0, -torch.inf)
    x = weights["transformer.wte.weight"][tokens]
    for layer in range(LAYERS):
        block = f"blocks.{layer}"
        mixed = norm(x, f"{block}.ln_1") @ weights[f"transformer.{block}.attn.Wqkv.weight"].T
        q, k, v = mixed.split(D_MODEL, dim=-1)
        q, k = norm(q, f"{block}.attn.q_ln"), norm(k, f"{block}.attn.k_ln")
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-1, -2) / (D_MODEL / heads) ** 0.5 + bias
        seen = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + seen @ weights[f"transformer.{block}.attn.out_proj.weight"].T
        wide = norm(x, f"{block}.ln_2") @ weights[f"transformer.{block}.mlp.mlp_up.weight"].T
        x = x + gelu(wide) @ weights[f"transformer.{block}.mlp.mlp_down.weight"].T
    return norm(x, "ln_f") @ weights["transformer.wte.weight"].T


def written(folder: Path, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def loaded(folder: Path, config: dict[str, Any]):
    model, report = mpt_class(config).from_pretrained(
        folder, config=mpt_config(config), key_mapping=KEY_NAMES, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    return model.eval()


def test_a_mosaic_gpt_from_its_files_is_computed_as_by_hand(tmp_path: Path):
    weights = mosaic_weights()
    model = loaded(written(tmp_path, MOSAIC, weights), MOSAIC)
    assert model.lm_head.weight is model.transformer.wte.weight
    tokens = torch.randint(WORDS, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model(tokens, attention_mask=torch.ones_like(tokens)).logits
    torch.testing.assert_close(found, mosaic_logits(weights, tokens, 4), atol=1e-4, rtol=1e-4)


def test_the_layer_norms_matter(tmp_path: Path):
    """transformers' own class loads the same files, leaves the norms out, and is wrong."""
    weights = mosaic_weights()
    without = {**MOSAIC, "attn_qk_ln": False}
    names = {name: value for name, value in weights.items() if "q_ln" not in name}
    names = {name: value for name, value in names.items() if "k_ln" not in name}
    model = loaded(written(tmp_path, without, names), without)
    tokens = torch.randint(WORDS, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model(tokens, attention_mask=torch.ones_like(tokens)).logits
    assert (found - mosaic_logits(weights, tokens, 4)).abs().max() > 0.1


def test_an_mpt_keeps_its_names(tmp_path: Path):
    model = mpt_class(MPT)(mpt_config(MPT))
    weights = {
        name: value for name, value in model.state_dict().items() if name != "lm_head.weight"
    }
    again = loaded(written(tmp_path, MPT, weights), MPT)
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_what_is_saved_is_loaded_again(tmp_path: Path):
    """transformers writes the names back that it read."""
    (tmp_path / "first").mkdir()
    first = loaded(written(tmp_path / "first", MOSAIC, mosaic_weights()), MOSAIC)
    first.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    again = loaded(tmp_path / "again", config)
    for name, value in again.state_dict().items():
        assert torch.equal(value, first.state_dict()[name])


def test_it_can_be_built_without_memory():
    with torch.device("meta"):
        model = mpt_class(MOSAIC)(mpt_config(MOSAIC))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_both_forms_say_the_same():
    ours = mpt_config({**MPT, "attn_config": {**MPT["attn_config"], "qk_ln": True, "clip_qkv": 0}})
    theirs = mpt_config(MOSAIC)
    assert ours.to_dict() == theirs.to_dict()
    assert mpt_config({**MPT, "attn_config": {"clip_qkv": 6}}).attn_config.clip_qkv == 6.0
    assert is_mpt(MPT) and is_mpt(MOSAIC) and not is_mpt({"model_type": "gpt_neox"})


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({**MOSAIC, "alibi": False}, "attn_config.alibi = False"),
        ({key: value for key, value in MOSAIC.items() if key != "alibi"}, "alibi = False"),
        ({key: value for key, value in MOSAIC.items() if key != "no_bias"}, "no_bias = False"),
        ({**MOSAIC, "alibi_bias_max": 16}, "alibi_bias_max = 16"),
        ({**MOSAIC, "mlp_ratio": 2}, "expansion_ratio = 2"),
        ({**MOSAIC, "prefix_lm": True}, "prefix_lm = True"),
        ({**MOSAIC, "attn_clip_qkv": 6}, "both clips and normalises"),
        ({**MPT, "no_bias": False}, "no_bias = False"),
        ({**MPT, "logit_scale": "inv_sqrt_d_model"}, "logit_scale"),
        ({**MPT, "norm_type": "rmsnorm"}, "norm_type = 'rmsnorm'"),
        ({**MPT, "attn_config": {"attn_type": "multiquery_attention"}}, "attn_type"),
        ({**MPT, "ffn_config": {"ffn_type": "mptgeglu"}}, "ffn_config.ffn_type"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(config: dict[str, Any], says: str):
    with pytest.raises(MfvError, match="MFV7240|this MPT") as found:
        mpt_config(config)
    assert says in str(found.value)
