"""Families of language models under a Flamingo: where each keeps its parts, and its sizes.

No torch, so that a model's facts can be had from its configuration alone.  A new family is one
entry here; one whose attention is not called through transformers' attention interface also needs
its last tokens' attention in :mod:`mfv_dsl.models.parallel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mfv_dsl.base.errors import MfvError


@dataclass(frozen=True)
class Family:
    """Paths of modules, and names of sizes in the configuration.

    In the language model: ``core``, all but the output head; ``layers``, the list of decoder
    layers; ``final_norm``.  In a decoder layer: ``attention``; ``projection``, whose input are the
    outputs of all heads side by side; ``mlp``, whose output is what the MLP adds to the residual
    stream.  ``alibi``: positions are biases of the attention, not rotations.
    """

    core: str
    layers: str
    final_norm: str
    attention: str
    projection: str
    mlp: str
    n_layers: str
    n_heads: str
    d_model: str
    max_positions: str
    alibi: bool = False


_GPT_NEOX = Family(
    core="gpt_neox",
    layers="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    attention="attention",
    projection="attention.dense",
    mlp="mlp",
    n_layers="num_hidden_layers",
    n_heads="num_attention_heads",
    d_model="hidden_size",
    max_positions="max_position_embeddings",
)
_MPT = Family(
    core="transformer",
    layers="transformer.blocks",
    final_norm="transformer.norm_f",
    attention="attn",
    projection="attn.out_proj",
    mlp="ffn.down_proj",  # ``ffn`` itself gives the sum with the residual stream
    n_layers="n_layers",
    n_heads="n_heads",
    d_model="d_model",
    max_positions="max_seq_len",
    alibi=True,
)

#: ``model_type`` of a configuration -> family.
FAMILIES: Mapping[str, Family] = {"gpt_neox": _GPT_NEOX, "mpt": _MPT, "mosaic_gpt": _MPT}


def family_of(model_type: str) -> Family:
    """The family of language models whose configurations say ``model_type``."""
    if model_type not in FAMILIES:
        raise MfvError(
            "MFV7241",
            f"language models of the kind `{model_type}` are not served under a Flamingo",
            help=f"these are: {', '.join(FAMILIES)}",
        )
    return FAMILIES[model_type]


def facts_from_config(config: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """(layers, heads, head_dim, d_model) of the language model whose config.json is ``config``."""
    family = family_of(config.get("model_type", ""))
    layers, heads, d_model = (
        int(config[name]) for name in (family.n_layers, family.n_heads, family.d_model)
    )
    return layers, heads, d_model // heads, d_model
