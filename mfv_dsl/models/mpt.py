"""MPT as transformers computes it, from either form of its configuration.

OpenFlamingo's 9B models stand on MPT-7B (``model_type`` "mpt"), its 3B models on MPT-1B, which is
older ("mosaic_gpt"): other names for the same weights, and layer norms on queries and keys.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.flamingo_classes import flamingo_classes

#: Regex in MosaicGPT's weight names -> what transformers' MPT has there, for
#: ``from_pretrained(key_mapping=...)``; names of MPT itself are left as they are.
KEY_NAMES = {
    r"\.ln_1\.": ".norm_1.",
    r"\.ln_2\.": ".norm_2.",
    r"\.mlp\.mlp_up\.": ".ffn.up_proj.",
    r"\.mlp\.mlp_down\.": ".ffn.down_proj.",
    r"\.ln_f\.": ".norm_f.",
    r"\.attn\.q_ln\.": ".attn.Wqkv.q_ln.",
    r"\.attn\.k_ln\.": ".attn.Wqkv.k_ln.",
}

#: What a configuration may say of settings that transformers' MPT reads but does not serve.
_SERVED: dict[str, tuple[Any, ...]] = {
    "no_bias": (True,),
    "expansion_ratio": (4,),
    "logit_scale": (None,),
    "norm_type": ("low_precision_layernorm", "layernorm"),
    "attn_config.alibi": (True,),
    "attn_config.alibi_bias_max": (8,),
    "attn_config.prefix_lm": (False,),
    "attn_config.attn_type": ("multihead_attention",),
    "attn_config.rope": (False,),
    "attn_config.sliding_window_size": (-1,),
    "ffn_config.ffn_type": ("mptmlp",),
}


def is_mpt(config: dict[str, Any]) -> bool:
    """Whether ``config``, the content of a config.json, is an MPT's of either form."""
    return config.get("model_type") in ("mpt", "mosaic_gpt")


def mpt_config(config: dict[str, Any]) -> Any:
    """The ``MptConfig`` of ``config``, the content of a config.json of either form.

    Raises MfvError (MFV7240) for an MPT that transformers would load and compute wrongly.
    """
    config = _mpt_form(config)
    _check_served(config)
    attention = config["attn_config"]
    clip, scale = attention.get("clip_qkv"), attention.get("softmax_scale")
    return flamingo_classes().MptConfig(
        d_model=config["d_model"],
        n_heads=config["n_heads"],
        n_layers=config["n_layers"],
        max_seq_len=config["max_seq_len"],
        vocab_size=config["vocab_size"],
        layer_norm_epsilon=config.get("layer_norm_epsilon", 1e-5),
        attn_config={
            "clip_qkv": float(clip) if clip else None,
            "softmax_scale": float(scale) if scale else None,
            "qk_ln": bool(attention.get("qk_ln", False)),
        },
    )


def mpt_class(config: dict[str, Any]) -> type:
    """The class that computes the MPT of ``config``: transformers' own, or one that also
    normalises queries and keys where the configuration asks for it."""
    has_norms = _mpt_form(config)["attn_config"].get("qk_ln", False)
    return _normed_class() if has_norms else flamingo_classes().MptForCausalLM


def _mpt_form(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with MosaicGPT's names for settings, if it has them, turned into MPT's."""
    if config["model_type"] == "mpt":
        return {**config, "attn_config": config.get("attn_config") or {}}
    names = ("softmax_scale", "alibi_bias_max", "prefix_lm")
    return {
        **config,
        "expansion_ratio": config.get("mlp_ratio", 4),
        "no_bias": config.get("no_bias", False),
        "attn_config": {
            "clip_qkv": config.get("attn_clip_qkv"),
            "qk_ln": config.get("attn_qk_ln", False),
            "alibi": config.get("alibi", False),  # like no_bias off unless said
            **{name: config[name] for name in names if name in config},
        },
    }


def _check_served(config: dict[str, Any]) -> None:
    for setting, served in _SERVED.items():
        *parts, name = setting.split(".")
        group = config
        for part in parts:
            group = group.get(part) or {}
        if name in group and group[name] not in served:
            raise MfvError(
                "MFV7240",
                f"this MPT has {setting} = {group[name]!r}, which is served only as {served[0]!r}",
                help="OpenFlamingo's published models stand on MPTs that are served",
            )
    attention = config["attn_config"]
    if attention.get("qk_ln") and attention.get("clip_qkv"):
        raise MfvError(
            "MFV7240",
            "this MPT both clips and normalises its queries and keys, which is not served",
            help="OpenFlamingo's published models stand on MPTs that do one or neither",
        )


@lru_cache(maxsize=1)
def _normed_class() -> type:
    """transformers' MPT with layer norms on queries and keys, which its own leaves out."""
    import torch
    from torch import nn

    class NormedProjection(nn.Linear):
        """Queries, keys and values (..., 3 d_model), the queries and keys each normalised over
        d_model, before they are split into heads (arXiv:2302.05442, section 2)."""

        def __init__(self, d_model: int, eps: float) -> None:
            super().__init__(d_model, 3 * d_model, bias=False)
            self.q_ln = nn.LayerNorm(d_model, eps=eps, bias=False)
            self.k_ln = nn.LayerNorm(d_model, eps=eps, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            queries, keys, values = super().forward(x).chunk(3, dim=-1)
            return torch.cat([self.q_ln(queries), self.k_ln(keys), values], dim=-1)

    class NormedMptForCausalLM(flamingo_classes().MptForCausalLM):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            for block in self.transformer.blocks:
                block.attn.Wqkv = NormedProjection(config.d_model, config.layer_norm_epsilon)
            self.post_init()  # the new weights' initial values

    return NormedMptForCausalLM
