"""The architectures of vision-language models that are served, one row each; no torch.

What is the same everywhere is not in the table: the decoder layers are ``<text>.layers``, the final
norm is ``<text>.norm``, the head ``lm_head``; in a layer the heads are the input of
``self_attn.o_proj``, and attention is called through transformers' attention interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mfv_dsl.base.errors import MfvError


@dataclass(frozen=True)
class Architecture:
    """One ``model_type`` of a configuration.

    ``text`` is the path of the language model.  ``features`` says in which form the encoded
    pictures enter: a ``list`` or ``tensor`` that takes the place of picture tokens, the
    ``cross_states`` of cross-attention layers, or a ``perceiver``'s output.  ``positions`` are
    ``plain``, counted ``from_one``, or ``mrope``: one row each for time, height and width.
    ``mark`` stands for a picture in plain text.  ``attention_output`` and ``mlp_output`` are the
    modules, in a layer, whose outputs are added to the residual stream.  ``between`` names the
    list of cross-attention blocks that run between layers.  ``prompt_sees_itself``: earlier tokens
    of a prompt see later ones, so that the shared prefix is not exact.  ``prompt_ending`` is what
    its processor writes behind every prompt.  ``vision`` is the path of the vision tower,
    ``projector`` of what makes the language model's features of its output.

    ``sizes``: a processor brings pictures to ``one`` size, leaves them nearly ``any`` size between
    two bounds, or shrinks them only where they are larger than a ``bounded`` side.  ``tiling`` is
    the way in which it cuts them into tiles: to the size that fits best of some ``pinpoints``, into
    ``quarters``, into ``squares`` of one side, into ``patches`` or overlapping ``crops`` of the
    tower's size.  ``tiles_lone_pictures``: it would cut a prompt's only picture, and leave several
    whole.
    """

    text: str
    features: Literal["list", "tensor", "cross_states", "perceiver"] = "list"
    positions: Literal["plain", "from_one", "mrope"] = "plain"
    mark: str = "<image>"
    attention_output: str = "self_attn.o_proj"
    mlp_output: str = "mlp"
    between: str | None = None
    prompt_sees_itself: bool = False
    prompt_ending: str = ""
    vision: str = "model.vision_tower"
    projector: str = "model.multi_modal_projector"
    sizes: Literal["one", "any", "bounded"] = "one"
    tiling: Literal["pinpoints", "quarters", "squares", "patches", "crops"] | None = None
    tiles_lone_pictures: bool = False

    @property
    def norm_behind_heads(self) -> bool:
        """Whether a norm stands between a head's projection and the residual stream, so that what
        a head writes is not linear in its output and has to be made so."""
        return self.attention_output != "self_attn.o_proj"

    @property
    def looks_back_at_pictures(self) -> bool:
        """Whether text looks at the pictures by cross-attention, so that they are no tokens."""
        return self.features in ("cross_states", "perceiver")


_QWEN_MARK = "<|vision_start|><|image_pad|><|vision_end|>"
_QWEN = Architecture(
    "model.language_model",
    positions="mrope",
    mark=_QWEN_MARK,
    vision="model.visual",
    projector="model.visual.merger",
    sizes="any",
)
_IDEFICS = Architecture(
    "model.text_model", vision="model.vision_model", projector="model.connector", tiling="squares"
)
_GEMMA_NORMS = {
    "attention_output": "post_attention_layernorm",
    "mlp_output": "post_feedforward_layernorm",
}

ARCHITECTURES: Mapping[str, Architecture] = {
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "llava": Architecture("model.language_model"),
    "llava_next": Architecture("model.language_model", tiling="pinpoints"),
    "llava_onevision": Architecture(
        "model.language_model", tiling="pinpoints", tiles_lone_pictures=True
    ),
    "mistral3": Architecture("model.language_model", mark="[IMG]", sizes="bounded"),
    "idefics2": replace(_IDEFICS, tiling="quarters"),
    "idefics3": _IDEFICS,
    "smolvlm": _IDEFICS,
    "gemma3": Architecture(
        "model.language_model", "tensor", mark="<start_of_image>", **_GEMMA_NORMS
    ),
    "paligemma": Architecture(
        "model.language_model",
        "tensor",
        "from_one",
        prompt_sees_itself=True,
        prompt_ending="\n",
        **_GEMMA_NORMS,
    ),
    "internvl": Architecture(
        "model.language_model", "tensor", mark="<IMG_CONTEXT>", tiling="patches"
    ),
    "molmo2": Architecture(
        "model.language_model",
        mark="<|image|>",
        projector="model.multi_modal_projector.image_projector",
        tiling="crops",
    ),
    "mllama": Architecture(
        "model.language_model", "cross_states", mark="<|image|>", vision="model.vision_model"
    ),
    "idefics": Architecture(
        "model",
        "perceiver",
        between="gated_cross_attn_layers",
        vision="model.vision_model",
        projector="model.perceiver_resampler",
    ),
}

#: Architectures that are refused by name, each with the reason.
REFUSED: Mapping[str, str] = {
    "qwen3_5": "its layers with linear attention keep a state instead of keys and values",
    "qwen3_5_moe": "its layers with linear attention keep a state instead of keys and values",
    "qwen3_next": "its layers with linear attention keep a state instead of keys and values",
    "gemma3n": "its layers share keys and values",
}


def check_served(config: Mapping[str, Any], path: str) -> None:
    """Refuse (MFV7260) a model whose config.json says that passes of it would be wrong; ``path`` is
    what the user calls it."""
    model_type = str(config.get("model_type", ""))
    text = config.get("text_config") or config
    reason = REFUSED.get(model_type)
    if reason is None and "linear_attention" in (text.get("layer_types") or ()):
        reason = "its layers with linear attention keep a state instead of keys and values"
    if reason is None and int(text.get("num_kv_shared_layers") or 0) > 0:
        reason = "its layers share keys and values"
    if reason is not None:
        raise MfvError(
            "MFV7260", f"models of the kind `{model_type}` are not served: {reason}", notes=[path]
        )


def architecture_of(config: Mapping[str, Any], path: str) -> Architecture:
    """The row of the model whose config.json is ``config``; ``path`` is what the user calls it.

    Raises MfvError: MFV7260 for an architecture that is refused, MFV7261 for one that has no row.
    """
    check_served(config, path)
    model_type = str(config.get("model_type", ""))
    if model_type not in ARCHITECTURES:
        raise MfvError(
            "MFV7261",
            f"{path} is of the kind `{model_type}`, which is not in the table of architectures"
            if model_type
            else f"{path} has a config.json without `model_type`",
            help=f"these are: {', '.join(ARCHITECTURES)}; for a model of another kind give a file "
            'that says how it is built, as in hf("…", architecture="mine.toml"): '
            "`mfv explain MFV7261` has one, docs/models.md says more",
        )
    return ARCHITECTURES[model_type]
