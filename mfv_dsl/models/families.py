"""Families of language models: where each keeps its parts, and what its configuration calls sizes.

The one table of architectures: a model's facts, the sites of a Flamingo and those of a user's own
model (:mod:`mfv_dsl.models.sites`) all come from it.  No torch, so that facts can be had from a
configuration alone.

A new family is one row here.  It may stand under a Flamingo (``under_flamingo``) as it is where its
attention is called through transformers' attention interface; another one also needs a function
that runs its layers on copies of last tokens in :mod:`mfv_dsl.models.flamingo_layers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mfv_dsl.base.errors import MfvError


@dataclass(frozen=True)
class ModulePaths:
    """Where a model keeps the modules that sites are at.

    ``layers`` is the path of the list of decoder layers.  In a decoder layer: ``projection``, whose
    input are the outputs of all heads side by side; ``mlp``, whose output is what the MLP adds to
    the residual stream.  None where there is no such module, or it is not known.
    """

    layers: str
    projection: str | None = None
    mlp: str | None = None


@dataclass(frozen=True)
class Family(ModulePaths):
    """A row of the table: paths of modules, and names of sizes in the configuration.

    In the language model: ``core``, all but the output head; ``layers``; ``final_norm``.  In a
    decoder layer: ``attention``, ``projection``, ``mlp``.  ``copies`` is the function of
    :mod:`mfv_dsl.models.flamingo_layers` that runs a decoder layer on copies of last tokens;
    without one it runs itself, its attention called through transformers' interface.
    """

    core: str = "model"
    final_norm: str = "model.norm"
    attention: str = "self_attn"
    n_layers: str = "num_hidden_layers"
    n_heads: str = "num_attention_heads"
    d_model: str = "hidden_size"
    max_positions: str = "max_position_embeddings"
    copies: str = ""
    under_flamingo: bool = False

    @property
    def hookpoint(self) -> str:
        """The path of a decoder layer, with ``{layer}``, in the model without its output head,
        which transformers calls ``base_model``."""
        return f"{self.layers.removeprefix(f'{self.core}.')}.{{layer}}"


_GPT_NEOX = Family(
    core="gpt_neox",
    layers="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    attention="attention",
    projection="attention.dense",
    mlp="mlp",
    copies="gpt_neox",
    under_flamingo=True,
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
    copies="mpt",
    under_flamingo=True,
)
_LLAMA = Family(layers="model.layers", projection="self_attn.o_proj", mlp="mlp")
_PHI = Family(
    layers="model.layers",
    final_norm="model.final_layernorm",
    projection="self_attn.dense",
    mlp="mlp",
)
_OPT = Family(
    layers="model.decoder.layers",
    final_norm="model.decoder.final_layer_norm",
    projection="self_attn.out_proj",  # no ``mlp``: its output is (prompts · length, d_model)
)
_GPT2 = Family(
    core="transformer",
    layers="transformer.h",
    final_norm="transformer.ln_f",
    attention="attn",
    projection="attn.c_proj",
    mlp="mlp",
    n_layers="n_layer",
    n_heads="n_head",
    d_model="n_embd",
    max_positions="n_positions",
)
_GPTJ = replace(_GPT2, projection="attn.out_proj")
_GPT_NEO = replace(
    _GPT2,
    projection="attn.attention.out_proj",
    n_layers="num_layers",
    n_heads="num_heads",
    d_model="hidden_size",
    max_positions="max_position_embeddings",
)
_FALCON = Family(
    core="transformer",
    layers="transformer.h",
    final_norm="transformer.ln_f",
    attention="self_attention",
    projection="self_attention.dense",
    mlp="mlp",
)
_BLOOM = replace(
    _FALCON,
    mlp="mlp.dense_4h_to_h",  # ``mlp`` itself gives the sum with the residual stream
    n_layers="n_layer",
    n_heads="n_head",
)

#: ``model_type`` of a configuration -> family.
FAMILIES: Mapping[str, Family] = {
    "gpt_neox": _GPT_NEOX,
    "mpt": _MPT,
    "mosaic_gpt": _MPT,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "phi3": _LLAMA,
    "phi": _PHI,
    "opt": _OPT,
    "gpt2": _GPT2,
    "gptj": _GPTJ,
    "codegen": _GPTJ,
    "gpt_neo": _GPT_NEO,
    "falcon": _FALCON,
    "bloom": _BLOOM,
}


def family_of(model_type: str) -> Family:
    """The family of language models whose configurations say ``model_type``.

    Raises MfvError (MFV7241) for one that cannot stand under a Flamingo.
    """
    family = FAMILIES.get(model_type)
    if family is None or not family.under_flamingo:
        served = [name for name, row in FAMILIES.items() if row.under_flamingo]
        raise MfvError(
            "MFV7241",
            f"language models of the kind `{model_type}` are not served under a Flamingo",
            help=f"these are: {', '.join(served)}",
        )
    return family


def facts_from_config(config: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """(layers, heads, head_dim, d_model) of the language model whose config.json is ``config``.

    ``head_dim`` is what the configuration gives, else d_model / heads.  Raises MfvError (MFV7241)
    as :func:`family_of`, and KeyError, TypeError or ValueError where a size is not there.
    """
    family = family_of(config.get("model_type", ""))
    names = family.n_layers, family.n_heads, family.d_model
    layers, heads, d_model = (whole(config[name]) for name in names)
    return layers, heads, whole(config.get("head_dim") or d_model // heads), d_model


def whole(value: Any) -> int:
    """A size in a configuration.  Raises TypeError or ValueError for what is none.

    >>> whole(64)
    64
    """
    try:
        size = int(value)
    except OverflowError:  # an infinity
        size = 0
    if not 0 < size < 1 << 40:
        raise ValueError(f"{value!r:.40} is no size")
    return size
